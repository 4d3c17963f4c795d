"""How sure one may be of a finished fit, beyond its standard errors: bootstrap, likelihood profiles, SIR, derived quantities.

Each is a file that takes a `Finished` (finished_fit.py) and returns its result; nothing is printed or written. What they share:
the method's own objective compiled once for many parameter vectors side by side (parallel_searches.py), and searches written for one,
as generators that ask for evaluations, of which many are under way at a time (descent.py, constrained_search.py).
"""
