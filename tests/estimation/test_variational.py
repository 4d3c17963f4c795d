"""The optimiser of the bound, its convergence, and what is said of the approximation."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.errors import ScienceFailed
from pbpk.estimation.bayes import variational
from pbpk.estimation.bayes.variational import VariationalInference, _has_stalled, _NormalApproximation
from pbpk.estimation.run import run_fit
from pbpk.estimation.state import CONVERGED, ITERATION_LIMIT
from pbpk.study.load import load_study


def test_draws_of_q_have_its_mean_and_covariance():
    lower = np.array([[0.5, 0.0], [0.3, 0.2]])
    raw = jnp.asarray(np.where(np.eye(2) > 0, np.log(np.maximum(lower, 1e-9)), lower))
    e = jax.random.normal(jax.random.key(0), (100_000, 2))
    x = np.asarray(jax.vmap(lambda k: _NormalApproximation.draw(jnp.array([1.0, -2.0]), raw, k))(e))
    np.testing.assert_allclose(x.mean(axis=0), [1.0, -2.0], atol=0.01)
    np.testing.assert_allclose(np.cov(x.T), lower @ lower.T, atol=0.005)
    assert float(_NormalApproximation.log_scale(raw)) == pytest.approx(np.log(0.5 * 0.2))


def test_a_bound_that_rises_has_not_stalled():
    assert not _has_stalled(np.arange(6.0), np.full(6, 0.1))
    assert _has_stalled(np.zeros(6), np.full(6, 0.1))
    assert not _has_stalled(np.zeros(5), np.full(5, 0.1))  # too few blocks to say


def test_too_many_coordinates_for_a_full_covariance(monkeypatch):
    monkeypatch.setattr(variational, "_MOST_FULL_RANK", 40)
    with pytest.raises(ScienceFailed, match="43 coordinates") as caught:
        VariationalInference().init(load_study("theophylline").problem)
    assert "mean_field" in caught.value.hint


@pytest.fixture(scope="module")
def study():
    return load_study("theophylline")


@pytest.fixture(scope="module")
def fit(study):
    return run_fit(study, VariationalInference(), seed=1)


@pytest.mark.slow
def test_theophylline_is_near_its_likelihood(fit):
    """Published FOCEI estimates, within half a standard error; the OFV near the least."""
    assert fit.successful and fit.cause == CONVERGED
    for name, mle, relative in (("KA", 1.591, 0.2), ("CL", 2.751, 0.08), ("V", 31.81, 0.045), ("add", 0.694, 0.05)):
        assert abs(np.log(fit.estimates[name] / mle)) < 0.6 * relative
    assert 116.5 < fit.ofv < 125
    assert 0.1 < fit.standard_errors["posterior"]["CL"] < 0.4


@pytest.mark.slow
def test_it_is_called_an_approximation(fit):
    assert "a variational approximation" in fit.verdict
    assert fit.extra["notes"][0].startswith("An approximation")
    assert np.isfinite(fit.extra["pareto_k"]) and fit.extra["importance_weighted_elbo"] >= fit.extra["elbo"]
    assert fit.extra["assumed"]["CL"].startswith("log-normal around 2.5 L/h")


@pytest.mark.slow
def test_it_goes_on_from_its_checkpoint_to_the_same_digits(study, tmp_path):
    from pbpk.run_folders.checkpoint import load_state, save_state
    from pbpk.run_folders.claim import OutputFolder

    method, problem = VariationalInference(most_steps=300), study.problem
    states = [method.init(problem)]
    while not states[-1].finished:
        states.append(method.step(problem, states[-1])[0])
    assert states[-1].status == ITERATION_LIMIT and states[-1].iteration == 300
    folder = OutputFolder(tmp_path / "done", tmp_path)
    save_state(folder, states[1], [])
    again, _ = load_state(folder)
    while not again.finished:
        again, _ = method.step(problem, again)
    np.testing.assert_array_equal(again.more["mean"], states[-1].more["mean"])
    np.testing.assert_array_equal(again.more["bound"], states[-1].more["bound"])
    assert again.ofv == states[-1].ofv
    bound = states[-1].more["bound"]  # an estimate from a few draws, so it need not rise each time
    assert (bound[1:] > bound[0] + 1.0).all()
    other = replace(method, seed=5)
    assert not np.array_equal(other.step(problem, other.init(problem))[0].more["mean"], states[1].more["mean"])
