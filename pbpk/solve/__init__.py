"""Trajectories: from a patient's events and parameters to amounts in compartments.

One interface (base.py), one scan over events (segments.py), one file per solver (resolvent.py, contour.py, rosenbrock.py,
general.py). Records become a timeline (events.py, timeline.py, windows.py), which under parameters becomes a schedule
(schedule.py). Solutions by one call of machine code are compiled_solution.py's and compiled_likelihood.py's.
"""
