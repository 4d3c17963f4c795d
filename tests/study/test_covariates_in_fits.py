"""Covariates that change in time and columns that override parameters, against the same done by hand."""

import jax
import numpy as np
import oracle
import pytest

TIMES = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 12.0])
TEXT = """
model = "iv_one_compartment"
[parameters]
CL = {{ initial = 2.0, iiv = 0.1{effect} }}
V = {{ initial = 20.0, iiv = 4.0, distribution = "normal"{more} }}
[error.cp]
model = "additive"
add = 0.5
"""
EFFECT = ', covariates = [{{ covariate = "X", form = "{}", reference = 2.0, estimate = "B", initial = 0.3 }}]'
ETA = np.array([[0.2, -0.1], [1.5, -2.0]])

FACTORS = {
    "power": lambda x: (x / 2) ** 0.3,
    "linear": lambda x: 1 + 0.3 * (x - 2),
    "exponential": lambda x: np.exp(0.3 * (x - 2)),
    "below": lambda x: 1 + 0.3 * (x < 2),
    "above": lambda x: 1 + 0.3 * (x > 2),
    "equals": lambda x: 1 + 0.3 * (x == 2),
    "linear_below": lambda x: 1 + 0.3 * np.minimum(x - 2, 0),
    "linear_above": lambda x: 1 + 0.3 * np.maximum(x - 2, 0),
}


def rows(column, values):
    """Two subjects, a dose at 0 and a sample at each later time; `values` (subjects, records)."""
    lines = [f"ID,TIME,AMT,DV,{column}"]
    for who, row in enumerate(values, start=1):
        lines.append(f"{who},0,100,.,{row[0]}")
        lines += [f"{who},{t},.,1.0,{v}" for t, v in zip(TIMES[1:], row[1:], strict=True)]
    return lines


@jax.jit
def run(problem, u):
    return problem.predict(u)[0]


def predict(problem, eta=ETA):
    theta, _, _ = problem.unpack(problem.initial_unconstrained)
    return np.asarray(run(problem, problem.individual_parameters(theta, eta)))[:5]


def piecewise(cl, v):
    """100 mg at 0; the CL of a record holds over the interval that ends at it. (5,)"""
    k = np.cumsum(np.asarray(cl)[1:] / v * np.diff(TIMES))
    return 100 / v * np.exp(-k)


@pytest.mark.parametrize("form", FACTORS)
def test_constant_covariates(make, form):
    x = np.array([1.4, 2.0])
    problem = make(TEXT.format(effect=EFFECT.format(form), more=""), *rows("X", np.repeat(x[:, None], 6, 1))).problem
    assert problem.covariates.shape[0] == 1
    cl, v = 2 * FACTORS[form](x) * np.exp(ETA[0]), 20 + ETA[1]
    wanted = np.stack(
        [oracle.bolus(TIMES[1:], [(0.0, 100.0)], *parameters) for parameters in zip(cl, v, strict=True)], axis=1
    )
    np.testing.assert_allclose(predict(problem), wanted, rtol=1e-10)


CHANGING = np.array([[2.0, 2.0, 1.0, 3.0, 1.5, 2.0], [1.0, 4.0, 4.0, 2.0, 2.0, 2.5]])


@pytest.mark.parametrize("form", FACTORS)
def test_covariates_that_change_in_time(make, form):
    problem = make(TEXT.format(effect=EFFECT.format(form), more=""), *rows("X", CHANGING)).problem
    cl, v = 2 * FACTORS[form](CHANGING) * np.exp(ETA[0])[:, None], 20 + ETA[1]
    wanted = np.stack([piecewise(*parameters) for parameters in zip(cl, v, strict=True)], axis=1)
    np.testing.assert_allclose(predict(problem), wanted, rtol=1e-10)


def test_a_normal_effect_is_added_after_factors_that_change(make):
    more = ', covariates = [{ covariate = "X", form = "linear", reference = 2.0, coefficient = 0.1 }]'
    problem = make(TEXT.format(effect="", more=more), *rows("X", CHANGING)).problem
    cl, v = 2 * np.exp(ETA[0]), 20 * (1 + 0.1 * (CHANGING - 2)) + ETA[1][:, None]
    k = np.cumsum(cl[:, None] / v[:, 1:] * np.diff(TIMES), axis=1)
    np.testing.assert_allclose(predict(problem), (100 / v[:, 1:] * np.exp(-k)).T, rtol=1e-10)


REPLACED = TEXT.replace(
    "[parameters]", '[data]\ncolumns = {{ CL = "cl" }}\n[parameters]'
)  # the study says that it is meant


def test_a_column_overrides_a_parameter(make):
    """Record by record; it replaces the typical value, its η and its factors alike."""
    cl = np.array([[2.0, 1.0, 3.0, 2.5, 0.5, 1.0], [4.0, 4.0, 4.0, 1.0, 1.0, 1.0]])
    problem = make(REPLACED.format(effect="", more=""), *rows("cl", cl)).problem
    wanted = np.stack([piecewise(*parameters) for parameters in zip(cl, 20 + ETA[1], strict=True)], axis=1)
    np.testing.assert_allclose(predict(problem), wanted, rtol=1e-10)


def test_an_empty_override_leaves_the_model(make):
    lines = rows("CL", np.full((2, 6), 3.0))
    lines = [line.removesuffix("3.0") + "." if line.startswith("2,") else line for line in lines]
    problem = make(REPLACED.replace('"cl"', '"CL"').format(effect="", more=""), *lines).problem
    wanted = np.stack([piecewise([3.0] * 6, 21.5), piecewise([2 * np.exp(-0.1)] * 6, 18.0)], axis=1)
    np.testing.assert_allclose(predict(problem), wanted, rtol=1e-10)
