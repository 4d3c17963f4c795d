"""Checks of a fit by simulation: replicates of the study under its estimates, set against what was observed (VPC, NPDE).

Each check takes a `FittedStudy` (fitted_model.py) and its options (options.py) and returns its result; nothing is printed or
written. Both simulate with simulate_replicates.py and read what was observed by observations.py.
"""
