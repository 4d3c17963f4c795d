"""Fits to published aggregates where individual data do not exist: means, SDs, medians, ranges, proportions, correlations.

The section `[summary]` of a fit.toml is defined in study/summary_schema.py.

rows.py                reads summary.csv, row by row        quantities.py      what is measured of each patient
arms.py                groups as arms of virtual patients   virtual_patients.py   their fixed draws
blocks.py              which rows have a joint likelihood   likelihood.py      the likelihood of all rows, from that of
moments.py, order_statistics.py, proportions.py             each kind of statistic
study.py, assemble.py, problem.py                           from fit.toml to a differentiable problem
method.py, run.py, result.py, identifiability.py            the same parts as those of any fit
"""
