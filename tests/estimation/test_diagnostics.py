"""Residuals and shrinkage against their definitions, in NumPy, on one-compartment data."""

import numpy as np
import oracle
import pytest

from pbpk.estimation.methods import get_method
from pbpk.estimation.residuals import diagnose_fit, find_post_hoc_etas
from pbpk.estimation.run import run_fit

TEXT = """
model = "iv_one_compartment"
[parameters]
CL = {{ initial = 2.0, iiv = {iiv} }}
V = {{ initial = 20.0, iiv = {iiv} }}
[error.cp]
model = "combined2"
add = 0.1
prop = 0.1
"""
TIMES = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 12.0])


def predict(eta):
    return oracle.bolus(TIMES, [(0.0, 100.0)], 2 * np.exp(eta[0]), 20 * np.exp(eta[1]))


@pytest.fixture(scope="module")
def lines():
    """120 subjects simulated from the model itself; the third lacks two samples."""
    rng = np.random.default_rng(5)
    lines = ["ID,TIME,AMT,DV"]
    for who in range(1, 121):
        f = predict(0.3 * rng.normal(size=2))
        y = f + np.sqrt(0.01 + (0.1 * f) ** 2) * rng.normal(size=6)
        kept = 4 if who == 3 else 6
        lines += [f"{who},0,100,.", *(f"{who},{t},.,{v}" for t, v in zip(TIMES[:kept], y[:kept], strict=True))]
    return lines


@pytest.fixture(scope="module")
def study(make, lines):
    return make(TEXT.format(iiv=0.09), *lines)


@pytest.fixture(scope="module")
def found(study):
    problem = study.problem
    eta = np.asarray(find_post_hoc_etas(problem, problem.initial_unconstrained, np.zeros((2, 120))))
    return problem, eta, diagnose_fit(problem, problem.initial_unconstrained, eta)


def test_predictions_and_weighted_residuals(found):
    problem, eta, d = found
    for i in range(8):
        seen, f = problem.observed_mask[:, i], predict(eta[:, i])[: problem.observed_mask[:, i].sum()]
        np.testing.assert_allclose(d.pred[seen, i], predict(np.zeros(2))[: len(f)], rtol=1e-10)
        np.testing.assert_allclose(d.ipred[seen, i], f, rtol=1e-10)
        sd = np.sqrt(0.01 + (0.1 * f) ** 2)
        np.testing.assert_allclose(d.iwres[seen, i], (problem.y[seen, i] - f) / sd, rtol=1e-10, atol=1e-10)


def test_conditional_weighted_residuals(found):
    """Hooker 2007: y − f(η̂) + Aη̂, whitened by the symmetric square root of AΩA' + R."""
    problem, eta, d = found
    for i in range(8):
        n = problem.observed_mask[:, i].sum()
        a = oracle.slopes(predict, eta[:, i])[:n]
        f = predict(eta[:, i])[:n]
        cov = 0.09 * a @ a.T + np.diag(0.01 + (0.1 * f) ** 2)
        residual = problem.y[problem.observed_mask[:, i], i] - f + a @ eta[:, i]
        white = d.cwres[problem.observed_mask[:, i], i]
        assert white @ white == pytest.approx(residual @ np.linalg.solve(cov, residual), rel=1e-8)
        values, vectors = np.linalg.eigh(cov)
        np.testing.assert_allclose(white, vectors @ ((vectors.T @ residual) / np.sqrt(values)), rtol=1e-7)


def test_shrinkage(found):
    problem, eta, d = found
    np.testing.assert_allclose(d.eta_shrinkage, 1 - eta.std(axis=1, ddof=1) / 0.3, rtol=1e-10)
    assert d.epsilon_shrinkage == pytest.approx(1 - np.std(d.iwres[problem.observed_mask], ddof=1))


def test_individual_parameters(found):
    problem, eta, d = found
    at = problem.structure.system.parameter_index
    np.testing.assert_allclose(d.parameters[at("CL")], 2 * np.exp(eta[0]), rtol=1e-14)
    np.testing.assert_allclose(d.parameters[at("V")], 20 * np.exp(eta[1]), rtol=1e-14)


def test_without_variability_all_residuals_are_one(make, lines):
    problem = make(TEXT.format(iiv=1e-12), *lines).problem
    d = diagnose_fit(problem, problem.initial_unconstrained, np.zeros((2, 120)))
    seen = problem.observed_mask
    np.testing.assert_allclose(d.cwres[seen], d.iwres[seen], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(d.pred[seen], d.ipred[seen], rtol=1e-14)


def test_residuals_of_a_right_model_are_standard_normal(found):
    """CWRES leave out what FOCE leaves out, so the tolerance is not only the sample's."""
    problem, _, d = found
    white = d.cwres[:6, problem.observed_mask[:6].all(axis=0)]
    assert white.mean() == pytest.approx(0, abs=0.1)
    assert white.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.corrcoef(white) - np.eye(6)).max() < 0.2


def test_posterior_objective(study, evaluate):
    """The MAP objective: −2 log p(y, η̂)."""
    problem, method = study.problem, get_method("map")
    objective = evaluate(method, problem).objective
    for i in (0, 1, 3, 4):  # the subjects with all six samples
        wanted = oracle.subject_objective(
            "map", problem.y[problem.observed_mask[:, i], i], predict, lambda f: 0.01 + (0.1 * f) ** 2, 0.09 * np.eye(2)
        )
        assert objective[i] == pytest.approx(wanted, abs=1e-6)


def test_table_has_a_line_per_observation(study, lines):
    fit = run_fit(study, get_method("map"))
    assert len(fit.table) == fit.observations == 718
    given = [line.split(",") for line in lines[1:] if not line.endswith(".")]
    assert list(fit.table["ID"]) == [g[0] for g in given]
    np.testing.assert_allclose(fit.table["DV"], [float(g[3]) for g in given], rtol=1e-14)
    np.testing.assert_allclose(fit.table["RES"], fit.table["DV"] - fit.table["PRED"], atol=1e-12)
    assert list(fit.individual.columns) == ["ID", "CL", "V", "ETA_CL", "ETA_V"]
    np.testing.assert_allclose(fit.individual["CL"], 2 * np.exp(fit.individual["ETA_CL"]), rtol=1e-10)
