"""From a validated fit.toml, its model and its records to the pieces of a `Problem`: one idea a file, `problem.py` the last."""
