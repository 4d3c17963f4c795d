"""R-hat, effective sample sizes and k̂ against ArviZ, on chains with and without trouble."""

import warnings

import numpy as np
import pytest

from pbpk.estimation.bayes import convergence
from pbpk.estimation.bayes.psis import pareto_k

# R-hat, and the effective sizes of bulk, tails and mean, by ArviZ 0.23.4 of the chains below.
ARVIZ = {
    "independent": (0.9997447763924634, 1985.2403185595117, 1969.98387032409, 1988.6894290593393),
    "correlated": (1.0154213333955466, 139.40129079790353, 327.91370117160557, 138.89309500642432),
    "antithetic": (1.0006278832772897, 6549.889193354324, 1958.4752985933133, 6478.089873480027),
    "apart": (1.522357418263004, 7.296481238621712, 44.29187329973722, 7.128012995345346),
    "unequal": (1.3177028000726594, 1848.0684496881506, 94.12594287544505, 1973.1829168534375),
    "skewed": (0.999847305528388, 1985.2403185595117, 1969.98387032409, 2018.5926076682977),
}
ARVIZ_K = {0.1: 0.07700770386089625, 0.5: 0.48334609544156015, 0.9: 0.8911938587452579}


@pytest.fixture
def arviz():
    """The library itself, where it is installed: it is no dependency."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ announces its next version by a warning
        return pytest.importorskip("arviz")


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


def weights(shape):
    """Logarithms of weights with a generalised Pareto tail of that shape."""
    return np.log((np.random.default_rng(2).uniform(size=20_000) ** -shape - 1) / shape + 1e-12)


@pytest.mark.parametrize("kind", ARVIZ)
def test_as_arviz_printed(kind):
    x = chains(kind)
    diagnostics = [f(x) for f in (convergence.rhat, convergence.ess_bulk, convergence.ess_tail, convergence.ess_mean)]
    assert diagnostics == pytest.approx(ARVIZ[kind], rel=1e-10)


@pytest.mark.parametrize("shape", ARVIZ_K)
def test_pareto_k_as_arviz_printed(shape):
    assert pareto_k(weights(shape)) == pytest.approx(ARVIZ_K[shape], rel=1e-10)


@pytest.mark.parametrize("kind", ARVIZ)
def test_as_arviz(arviz, kind):
    x = chains(kind)
    assert convergence.rhat(x) == pytest.approx(float(arviz.rhat(x)), rel=1e-10)
    assert convergence.ess_bulk(x) == pytest.approx(float(arviz.ess(x, method="bulk")), rel=1e-6)
    assert convergence.ess_tail(x) == pytest.approx(float(arviz.ess(x, method="tail")), rel=1e-6)
    assert convergence.ess_mean(x) == pytest.approx(float(arviz.ess(x, method="mean")), rel=1e-6)


@pytest.mark.parametrize("shape", ARVIZ_K)
def test_pareto_k_as_arviz(arviz, shape):
    logs = weights(shape)
    assert pareto_k(logs) == pytest.approx(float(arviz.psislw(logs)[1]), abs=0.02)


@pytest.mark.parametrize("shape", ARVIZ_K)
def test_pareto_k_of_a_known_tail(shape):
    assert pareto_k(weights(shape)) == pytest.approx(shape, abs=0.12)


def test_constant_draws_have_no_diagnostics():
    assert np.isnan(convergence.rhat(np.ones((4, 100))))
    assert np.isnan(convergence.ess_bulk(np.ones((4, 100))))
