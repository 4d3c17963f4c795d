"""One patient on one page: doses of every organ, their effect, and cells hit by hit (report.py; text.py prints)."""
