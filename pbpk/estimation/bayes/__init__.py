"""The whole posterior of a study, population parameters and random effects together: by sampling (nuts.py), or by the normal
distribution nearest to it (variational.py). Both work on one density, target.py, with the priors of the study and, where it has
none, those of default_priors.py.
"""
