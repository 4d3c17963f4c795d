"""Finished fits to question, made once, and their compiled objectives; two of them with likelihoods known in closed form."""

from functools import cache

import numpy as np
import oracle

from pbpk.estimation.methods import get_method
from pbpk.estimation.standard_errors import compute_standard_errors
from pbpk.study.load import load_study
from pbpk.uncertainty.finished_fit import build_finished_fit
from pbpk.uncertainty.fit_objective import FitObjective

TIMES = np.array([1.0, 2.0, 4.0, 8.0, 12.0])
PER_F1 = oracle.oral(TIMES, [(0.0, 100.0)], 1.5, 2.8, 32.0)  # mg/L for F1 = 1
LINEAR = """
model = "oral_one_compartment"
[values]
KA = 1.5
CL = 2.8
V = 32.0
[data]
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
observable = "cp"
dose_into = "depot"
[parameters.F1]
initial = 0.8
distribution = "normal"
IIV
[error.cp]
model = "additive"
add = 0.3
"""


def fit(study, method="focei"):
    """A `FinishedFit` with its R matrix."""
    chosen = get_method(method)
    problem = chosen.prepare(study.problem)
    state = chosen.init(problem)
    while not state.finished:
        state, _ = chosen.step(problem, state)
    free = ~problem.structure.layout.fixed_mask
    errors = compute_standard_errors(chosen, problem, state).covariance["R"][np.ix_(free, free)]
    return build_finished_fit(study, chosen, state, errors)


@cache
def compiled_objective(fitted):
    return FitObjective.compile(fitted)


@cache
def theophylline(method="focei"):
    return fit(load_study("theophylline"), method)


def records(values, times=TIMES):
    """A line for each record of subjects with these concentrations (N, T) after 100 mg at 0."""
    yield "ID,TIME,AMT,DV"
    for i, row in enumerate(values, start=1):
        yield f"{i},0,100,."
        yield from (f"{i},{t},.,{float(y)!r}" for t, y in zip(times, row, strict=True))


def straight_line(make):
    """y = F1·k + ε in 4 subjects alike, no random effect: least squares. With its k (n,) and y (n,)."""
    y = 0.9 * PER_F1 + np.random.default_rng(3).normal(0, 0.2, (4, len(TIMES)))
    study = make(LINEAR.replace("IIV", ""), *records(y))
    return fit(study, "pooled"), np.tile(PER_F1, 4), y.ravel()


def one_way(make):
    """y_ij = F1_i·k + ε_ij, five samples at one time in each of 10 subjects: a one-way random-effects model of y/k."""
    random = np.random.default_rng(5)
    k = PER_F1[2]
    y = k * (0.9 + random.normal(0, 0.15, (10, 1))) + random.normal(0, 0.2, (10, 5))
    study = make(LINEAR.replace("IIV", "iiv = 0.02"), *records(y, [TIMES[2]] * 5))
    return fit(study), y, k
