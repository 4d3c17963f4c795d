"""Objective values of Wang 2007, table 3a, J Pharmacokinet Pharmacodyn 34:575 (doi 10.1007/s10928-007-9060-6).

y = 10 exp(−k t), k = 0.5 exp(η), ω² = 0.04, residual variances of 0.1; nothing is optimised. The published numbers are
NONMEM's, so they anchor every constant of the objective.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pbpk.estimation.methods import get_method
from pbpk.study.load import load_study

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wang2007.csv"
SD = 0.1**0.5

# model: (its standard deviations, published values by method)
PUBLISHED = {
    "proportional": (("prop",), {"fo": 39.213, "foce": 39.207, "focei": 39.458}),
    "additive": (("add",), {"fo": 0.026, "foce": -2.059, "focei": -2.059}),
    "combined2": (("add", "prop"), {"fo": 39.505, "foce": 39.499, "focei": 39.735}),
    "combined1": (("add", "prop"), {"fo": 43.398, "foce": 43.394, "focei": 43.554}),
}


# Laplace with the exact Hessian, and the integral itself; both by independent quadrature, the integral also by scipy's quad
# for the first two.
EXACT = {
    "proportional": {"laplace": 39.2268, "agq": 39.3548},
    "additive": {"laplace": -1.9361, "agq": -1.98961},
    "combined2": {"laplace": 39.5157, "agq": 39.6354},
    "combined1": {"laplace": 43.3587, "agq": 43.4425},
}


@pytest.fixture(scope="module", params=PUBLISHED)
def study(request, tmp_path_factory):
    """The study under one error model, and its published values."""
    if not DATA.exists():
        pytest.skip(f"the reference data are not here: shared/data/{DATA.name}")
    standard_deviations, published = PUBLISHED[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    rows = ["ID,TIME,AMT,DV"]
    for who, records in pd.read_csv(DATA).groupby("ID"):
        rows += [f"{who},0,10,.", *(f"{who},{r.Time},.,{r.Y}" for r in records.itertuples())]
    (folder / "data.csv").write_text("\n".join(rows))
    lines = ['model = "iv_one_compartment"', "[values]", "V = 1.0", "[parameters.CL]", "initial = 0.5", "iiv = 0.04"]
    lines += ["[error.cp]", f'model = "{request.param}"', *(f"{name} = {SD!r}" for name in standard_deviations)]
    (folder / "fit.toml").write_text("\n".join(lines))
    return load_study(folder), published | EXACT[request.param]


@pytest.mark.parametrize("method", ["fo", "foce", "focei"])
def test_published_to_the_printed_digit(study, method):
    problem, published = study[0].problem, study[1]
    assert (problem.subjects, problem.observations) == (10, 20)
    found = get_method(method).evaluate(problem, problem.initial_unconstrained, np.zeros((1, 10)))
    assert np.asarray(found.good).all()
    assert float(np.sum(found.objective)) == pytest.approx(published[method], abs=5e-4 + 1e-6)


@pytest.mark.parametrize("method", ["laplace", "agq"])
def test_the_exact_values(study, method):
    problem, published = study[0].problem, study[1]
    found = get_method(method).evaluate(problem, problem.initial_unconstrained, np.zeros((1, 10)))
    assert float(np.sum(found.objective)) == pytest.approx(published[method], abs=1e-3)


@pytest.mark.parametrize("method", ["laplace", "agq"])
def test_gradients_of_the_exact_values(study, method):
    problem, chosen = study[0].problem, get_method(method)

    def objective(psi):
        return float(np.sum(chosen.evaluate(problem, psi, np.zeros((1, 10))).objective))

    psi = problem.initial_unconstrained + 0.1
    gradient = np.asarray(chosen.evaluate(problem, psi, np.zeros((1, 10))).gradient).sum(axis=1)
    steps = 1e-4 * np.eye(len(psi))
    numerical = [(objective(psi + s) - objective(psi - s)) / 2e-4 for s in steps]
    np.testing.assert_allclose(gradient, numerical, rtol=1e-5, atol=1e-5)
