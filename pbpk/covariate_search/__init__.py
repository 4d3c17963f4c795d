"""Which covariates matter: stepwise search and the full model, on one program.

Every candidate effect is in one enlarged problem from the start, with its coefficient at 0, where all forms are 1. A model of
the search is that problem with some coefficients held at 0, so none of them is compiled anew and each is fitted with exact
gradients from its parent's estimates; and one evaluation at the parent gives the score statistic of every candidate.

relations.py says what is asked, covariate_table.py looks at the covariates, candidates.py makes the problem, refit.py fits one of its
models, score_test.py ranks the rest, stepwise.py and full_model.py are the two searches, run.py is the door.
"""
