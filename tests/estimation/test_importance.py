"""The likelihood by importance sampling: against integrals by SciPy, its gradient against differences, its randomness."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import oracle
import pytest
from scipy.integrate import quad

from pbpk.errors import WrongUsage
from pbpk.estimation.importance import IMP, evaluate_by_sampling, minus2ll_by_sampling, warn_few_samples
from pbpk.estimation.methods import get_method
from pbpk.estimation.stochastic.sobol_points import make_nodes
from pbpk.likelihood.columns import select_columns
from pbpk.study.load import load_study

STUDY = """
model = "iv_one_compartment"
[data]
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
observable = "cp"
dose_into = "central"
[parameters.CL]
initial = 2.0
iiv = 0.3
[parameters.V]
initial = 20.0
[error.cp]
model = "proportional"
prop = 0.3
"""
DATA = {1: (4.1, 2.2, 0.4), 2: (5.5, 4.0, 2.9), 3: (3.5, 1.1, 0.06)}
TIMES = (1.0, 6.0, 20.0)


@pytest.fixture(scope="module")
def problem(make):
    rows = [f"{who},{t},.,{y}" for who, ys in DATA.items() for t, y in zip(TIMES, ys, strict=True)]
    rows += [f"{who},0,100,." for who in DATA]
    rows.sort(key=lambda r: (int(r.split(",")[0]), float(r.split(",")[1])))
    return make(STUDY, "ID,TIME,AMT,DV", *rows).problem


@pytest.fixture(scope="module")
def theophylline():
    return load_study("theophylline").problem


def integral(ys):
    """−2 ln ∫ p(y | η) N(η; 0, 0.3) dη without n·ln 2π."""

    def density(eta):
        f = oracle.bolus(np.array(TIMES), [(0.0, 100.0)], 2.0 * np.exp(eta), 20.0)
        loss = np.sum(2 * np.log(0.3 * f) + ((np.array(ys) - f) / (0.3 * f)) ** 2) + eta**2 / 0.3
        return np.exp(-loss / 2) / np.sqrt(2 * np.pi * 0.3)

    return -2 * np.log(quad(density, -4, 4, epsabs=0, epsrel=1e-11, limit=500, points=[-1, 0, 1])[0])


def test_the_integral_itself(problem):
    found = minus2ll_by_sampling(problem, problem.initial_unconstrained, samples=8192)
    np.testing.assert_allclose(found.objective, [integral(y) for y in DATA.values()], atol=2e-3)
    assert found.minus2ll == pytest.approx(found.ofv + 9 * np.log(2 * np.pi), abs=1e-9)


def test_its_error_is_what_other_seeds_say(problem):
    exact = sum(integral(y) for y in DATA.values())
    found = [minus2ll_by_sampling(problem, problem.initial_unconstrained, samples=256, seed=s) for s in range(8)]
    off = np.array([f.ofv - exact for f in found])
    assert 0 < np.sqrt(np.mean(off**2)) < np.mean([f.error for f in found])


def test_gradient_is_that_of_the_objective(theophylline):
    problem = theophylline
    psi = problem.initial_unconstrained + 0.1 * np.sin(np.arange(len(problem.initial_unconstrained)))
    first = IMP.evaluate(problem, psi, np.zeros((3, 12)))
    assert np.asarray(first.good).all()

    def ofv(x):
        return float(np.sum(IMP.evaluate(problem, x, first.eta).objective))

    differences = []
    for step in 1e-3 * np.eye(len(psi)):
        ends = [ofv(psi + k * step) for k in (-2, -1, 1, 2)]
        differences.append((ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * 1e-3))
    np.testing.assert_allclose(np.asarray(first.gradient).sum(axis=1), differences, rtol=1e-6, atol=1e-6)


def test_same_seed_same_digits_whatever_the_batch(problem):
    eta = np.zeros((1, 3))
    whole = np.asarray(evaluate_by_sampling(problem, problem.initial_unconstrained, eta, 256, 7).evaluation.objective)
    np.testing.assert_array_equal(
        evaluate_by_sampling(problem, problem.initial_unconstrained, eta, 256, 7).evaluation.objective, whole
    )
    part = evaluate_by_sampling(
        select_columns(problem, np.arange(2)), problem.initial_unconstrained, eta[:, :2], 256, 7
    ).evaluation.objective
    np.testing.assert_allclose(part, whole[:2], rtol=1e-12)
    assert not np.allclose(
        evaluate_by_sampling(problem, problem.initial_unconstrained, eta, 256, 8).evaluation.objective, whole, atol=1e-6
    )


def test_nodes_are_of_the_density_they_say():
    """The t distribution with 4 degrees of freedom along any direction, and its density at the nodes."""
    from scipy.stats import multivariate_t, t

    given = make_nodes(4096, 2, 3, 5)
    for along in given.z[:, 0], given.z[:, 1], (given.z[:, 0] - given.z[:, 1]) / np.sqrt(2):
        for x in (-3.0, -1.0, 0.0, 0.5, 2.0):
            np.testing.assert_allclose((along < x).mean(axis=0), t.cdf(x, 4), atol=0.01)  # 1/√4096 is 0.016
    expected = multivariate_t(np.zeros(2), np.eye(2), df=4).logpdf(given.z[:5, :, 1])
    np.testing.assert_allclose(given.log_density[:5, 1], expected, rtol=1e-10)


def test_few_effective_samples_are_named():
    found = SimpleNamespace(effective=np.array([900.0, 12.0, 800.0]))
    (warning,) = warn_few_samples(found, 1024, ["a", "b", "c"])
    assert "ID b" in warning and "12 of 1024" in warning
    assert warn_few_samples(SimpleNamespace(effective=np.array([900.0])), 1024, ["a"]) == []


def test_settings_reach_it():
    estimation = load_study("theophylline", settings={"estimation.samples": "64"}).spec.estimation
    assert IMP.configure(estimation, 9) == replace(IMP, samples=64, seed=9)


def test_nothing_to_draw_is_refused():
    settings = {f"parameters.{n}.iiv": "none" for n in ("KA", "CL", "V")}
    with pytest.raises(WrongUsage, match="has none"):
        get_method("imp").prepare(load_study("theophylline", settings=settings).problem)
