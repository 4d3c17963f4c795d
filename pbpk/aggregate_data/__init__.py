"""Fits to published aggregates: means, SDs, medians, ranges, proportions and correlations, where individual data do not exist.

schema.py    what `[summary]` of a fit.toml says          rows.py      summary.csv, row by row
arms.py      groups as virtual patients                   quantities.py  what is measured of each of them
moments.py, order_statistics.py, proportions.py   the likelihood of each kind of statistic; likelihood.py puts them together
problem.py, method.py, assemble.py, run.py, result.py, identifiability.py   the same parts as any fit's
"""
