"""R-hat, effective sample sizes and k̂ against ArviZ, on chains with and without trouble."""

import warnings

import numpy as np
import pytest

from pbpk.estimation.bayes import convergence
from pbpk.estimation.bayes.psis import pareto_k

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ArviZ announces its next version by a warning
    arviz = pytest.importorskip("arviz")


def chains(kind, c=4, n=500):
    rng = np.random.default_rng(11)
    x = rng.standard_normal((c, n))
    if kind == "correlated":
        for t in range(1, n):
            x[:, t] = 0.9 * x[:, t - 1] + np.sqrt(1 - 0.81) * x[:, t]
    if kind == "antithetic":
        for t in range(1, n):
            x[:, t] = -0.5 * x[:, t - 1] + np.sqrt(0.75) * x[:, t]
    if kind == "apart":
        x += np.arange(c)[:, None]
    if kind == "unequal":
        x *= 1 + 3 * np.arange(c)[:, None]
    return np.exp(x) if kind == "skewed" else x


@pytest.mark.parametrize("kind", ["independent", "correlated", "antithetic", "apart", "unequal", "skewed"])
def test_as_arviz(kind):
    x = chains(kind)
    assert convergence.rhat(x) == pytest.approx(float(arviz.rhat(x)), rel=1e-10)
    assert convergence.ess_bulk(x) == pytest.approx(float(arviz.ess(x, method="bulk")), rel=1e-6)
    assert convergence.ess_tail(x) == pytest.approx(float(arviz.ess(x, method="tail")), rel=1e-6)
    assert convergence.ess_mean(x) == pytest.approx(float(arviz.ess(x, method="mean")), rel=1e-6)


@pytest.mark.parametrize("shape", [0.1, 0.5, 0.9])
def test_pareto_k(shape):
    """Weights of a generalised Pareto tail, whose shape is known."""
    logs = np.log((np.random.default_rng(2).uniform(size=20_000) ** -shape - 1) / shape + 1e-12)
    found = pareto_k(logs)
    assert found == pytest.approx(float(arviz.psislw(logs)[1]), abs=0.02)
    assert found == pytest.approx(shape, abs=0.12)


def test_constant_draws_have_no_diagnostics():
    assert np.isnan(convergence.rhat(np.ones((4, 100))))
    assert np.isnan(convergence.ess_bulk(np.ones((4, 100))))
