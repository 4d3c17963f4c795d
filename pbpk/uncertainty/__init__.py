"""How sure one may be of a finished fit, beyond its standard errors: bootstrap, likelihood profiles, SIR, derived quantities.

Each analysis is a file of its own: it takes a `FinishedFit` (finished_fit.py) and returns its result; nothing is printed or
written. All share the method's own objective, compiled once for many parameter vectors side by side (fit_objective.py), and
searches written for one vector, as generators that ask for evaluations, of which many are under way at a time
(estimation/weighted_descent.py, constrained_search.py).
"""
