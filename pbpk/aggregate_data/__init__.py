"""Fits to published aggregates: means, SDs, medians, ranges, proportions and correlations, where individual data do
not exist.

study/summary_schema.py   what `[summary]` of a fit.toml says      rows.py   summary.csv, row by row
arms.py      groups as virtual patients                   quantities.py  what is measured of each of them
moments.py, order_statistics.py, proportions.py   the likelihood of each kind of statistic; likelihood.py puts them together
blocks.py        which rows have a joint likelihood            virtual_patients.py   the fixed draws
study.py, assemble.py, problem.py, method.py, run.py, result.py, identifiability.py   the same parts as any fit's
"""
