"""Which covariates matter: stepwise search and the full model, on one program.

Every candidate effect is in one enlarged problem from the start, with its coefficient at 0, where all forms are 1. A model of
the search (a submodel) is that problem with some coefficients fixed at 0. So no submodel is compiled anew, and each is fitted
with exact gradients from its parent's estimates. One evaluation at the parent gives the score statistic of every candidate.

relations.py         reads which relations are asked for     options.py       the options of a search
covariate_table.py   one column for each covariate           candidates.py    the enlarged problem
refit.py             fits one submodel                       fitted_models.py the submodels of one search
score_test.py        ranks candidates before they are fitted
stepwise.py, full_model.py   the two ways to search          run.py           a search from study to result
result.py, forest.py, final_model.py   the result, the size of its effects, the final model as a study
"""
