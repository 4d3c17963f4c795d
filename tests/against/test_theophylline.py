"""Theophylline (12 subjects, 132 samples) against nlmixr2 7.0.1, NONMEM and pynlme 0.5.1, and our own derivatives.

nlmixr2's numbers: its qualification suite (nlmixr2qual), which NONMEM's 116.803 confirms (nlmixr2/nlmixr2est#666). Its
estimates come from finite differences; ours end 0.0004 lower.
"""

import math

import numpy as np
import pytest

from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import load_study

LIKELIHOODS = ("focei", "foce", "fo", "pooled", "laplace")


@pytest.fixture(scope="module")
def study():
    return load_study("theophylline")


@pytest.fixture(scope="module")
def fits(study):
    """Fits by method, each made once."""
    made = {}

    def fit(method):
        if method not in made:
            made[method] = run_fit(study, get_method(method))
        return made[method]

    return fit


# Estimates in natural parameters; pynlme prints no FO estimate of NONMEM's variant, so its own run stands.
PUBLISHED = {
    "focei": (
        116.803781,
        {
            "KA": math.exp(0.464451),
            "CL": math.exp(1.012047),
            "V": math.exp(3.459973),
            "OMEGA_KA": 0.404625,
            "OMEGA_CL": 0.068796,
            "OMEGA_V": 0.019222,
            "add": 0.693839,
        },
    ),
    "foce": (
        116.803666,
        {
            "KA": math.exp(0.464257),
            "CL": math.exp(1.012522),
            "V": math.exp(3.459785),
            "OMEGA_KA": 0.403243,
            "OMEGA_CL": 0.068740,
            "OMEGA_V": 0.019245,
            "add": 0.693961,
        },
    ),
    "fo": (
        103.8693,
        {
            "KA": math.exp(1.064999),
            "CL": math.exp(1.019407),
            "V": math.exp(3.504572),
            "OMEGA_KA": 0.841356,
            "OMEGA_CL": 0.090918,
            "OMEGA_V": 0.019103,
            "add": 0.614391,
        },
    ),
}


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_estimates(fits, method):
    ofv, published = PUBLISHED[method]
    fit = fits(method)
    assert fit.successful, fit.verdict
    assert fit.ofv == pytest.approx(ofv, abs=5e-3)
    for name, value in published.items():
        assert fit.estimates[name] == pytest.approx(value, rel=0.02 if name.startswith("OMEGA") else 0.005), name


# The exact marginal likelihood: an independent quadrature with 15 nodes a dimension, minimised. Laplace at nlmixr2's FOCEI
# estimates: the same oracle and pymixef, to eight digits.
EXACT = {
    **{"KA": math.exp(0.45930), "CL": math.exp(1.01167), "V": math.exp(3.45385)},
    **{"OMEGA_KA": 0.40509, "OMEGA_CL": 0.07032, "OMEGA_V": 0.01849, "add": 0.69591},
}
EXACT_SE = {
    "KA": 0.1930,
    "CL": 0.0843,
    "V": 0.0463,
    "OMEGA_KA": 0.192,
    "OMEGA_CL": 0.035,
    "OMEGA_V": 0.0109,
    "add": 0.0497,
}


@pytest.mark.slow(seconds=85)
def test_the_exact_marginal_likelihood(fits):
    fit = fits("agq")
    assert fit.successful, fit.verdict
    assert fit.ofv == pytest.approx(118.1010, abs=2e-3)
    assert fit.minus2ll == pytest.approx(360.7007, abs=2e-3)
    for name, value in EXACT.items():
        assert fit.estimates[name] == pytest.approx(value, rel=3e-4), name  # half a unit of 0.01849
    errors = fit.parameters.set_index("name")["se"]
    for name, value in EXACT_SE.items():  # of logarithms for KA, CL and V
        scale = 1.0 if name.startswith("OMEGA") or name == "add" else fit.estimates[name]
        assert errors[name] / scale == pytest.approx(value, rel=0.01), name


def test_laplace_at_given_estimates(study):
    _, published = PUBLISHED["focei"]
    problem = study.problem
    psi = problem.structure.layout.to_unconstrained(
        np.array([published[name] for name in problem.structure.layout.names])
    )
    found = get_method("laplace").evaluate(problem, psi, np.zeros((3, 12)))
    assert float(np.sum(found.objective)) == pytest.approx(
        118.530358, abs=5e-5
    )  # the estimates are printed to six digits


def test_constants_of_the_likelihood(fits):
    fit = fits("focei")
    assert (fit.subjects, fit.observations) == (12, 132)
    assert fit.minus2ll == pytest.approx(fit.ofv + 132 * math.log(2 * math.pi), abs=1e-9)
    assert fit.minus2ll == pytest.approx(359.4034, abs=1e-3)
    assert fit.aic == pytest.approx(fit.minus2ll + 14, abs=1e-9)
    assert fit.bic == pytest.approx(fit.minus2ll + 7 * math.log(132), abs=1e-9)


def objective(method, problem, psi, eta):
    return float(np.sum(method.evaluate(problem, psi, eta).objective))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradient_is_that_of_the_objective(study, name):
    method = get_method(name)
    problem = method.prepare(study.problem)
    psi = problem.initial_unconstrained + 0.1 * np.sin(
        np.arange(len(problem.initial_unconstrained))
    )  # away from any symmetry
    eta = np.zeros((len(problem.structure.layout.etas), problem.subjects))
    found = method.evaluate(problem, psi, eta)
    gradient, eta = np.asarray(found.gradient).sum(axis=1), np.asarray(found.eta)
    differences = []
    for step in 1e-3 * np.eye(len(psi)):
        ends = [objective(method, problem, psi + k * step, eta) for k in (-2, -1, 1, 2)]
        differences.append((ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * 1e-3))
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-5)


def test_standard_errors_are_the_curvature_of_the_objective(study, fits):
    """Second differences of OFV values in the natural parameters, without any gradient of ours: cov = 2 H⁻¹."""
    fit, problem, method = fits("focei"), study.problem, get_method("focei")
    names = problem.structure.layout.names
    at = np.array([fit.estimates[n] for n in names])
    step = 0.05 * np.array([fit.standard_errors["R"][n] for n in names])
    eta = np.asarray(method.evaluate(problem, problem.structure.layout.to_unconstrained(at), np.zeros((3, 12))).eta)

    def ofv(*moves):
        values = at.copy()
        for i, k in moves:
            values[i] += k * step[i]
        return objective(method, problem, problem.structure.layout.to_unconstrained(values), eta)

    centre, hessian = ofv(), np.zeros((len(at), len(at)))
    for i in range(len(at)):
        hessian[i, i] = (-ofv((i, 2)) + 16 * ofv((i, 1)) - 30 * centre + 16 * ofv((i, -1)) - ofv((i, -2))) / 12
        for j in range(i):
            corners = [ofv((i, a), (j, b)) * a * b for a in (1, -1) for b in (1, -1)]
            hessian[i, j] = hessian[j, i] = sum(corners) / 4
    hessian /= np.outer(step, step)
    se = np.sqrt(np.diag(2 * np.linalg.inv(hessian)))
    np.testing.assert_allclose([fit.standard_errors["R"][n] for n in names], se, rtol=0.01)


def test_standard_errors_against_nlmixr2(fits):
    """nlmixr2 prints the sandwich: 0.1979, 0.0756 and 0.0429 for the logarithms, 0.0925 for the residual SD."""
    fit = fits("focei")
    sandwich = fit.standard_errors["sandwich"]
    logs = {n: sandwich[n] / fit.estimates[n] for n in ("KA", "CL", "V")}
    assert logs == pytest.approx({"KA": 0.1979, "CL": 0.0756, "V": 0.0429}, rel=0.03)
    assert sandwich["add"] == pytest.approx(0.0925, rel=0.03)
