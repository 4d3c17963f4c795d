"""What is observed and how likely it is: one file per kind of endpoint, `base.py` the page they share."""
