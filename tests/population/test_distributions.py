"""Distributions of random effects against their definitions."""

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from pbpk.population.distributions import DISTRIBUTIONS, boxcox, student

ETA = np.array([-1.2, -0.1, 0.0, 0.3, 2.0])


def move(name, typical, shape=None, low=0.0, high=1.0):
    return np.asarray(DISTRIBUTIONS[name].move(typical, ETA, low, high, shape))


def test_bounded_ones_stay_between_their_ends():
    assert move("logit", 2.0, low=1.0, high=5.0) == pytest.approx(1 + 4 * expit(logit(0.25) + ETA), rel=1e-14)
    probit = 1 + 4 * stats.norm.cdf(stats.norm.ppf(0.25) + ETA)
    assert move("probit", 2.0, low=1.0, high=5.0) == pytest.approx(probit, rel=1e-12)


@pytest.mark.parametrize("shape", [-0.7, 0.5, 2.0])
def test_box_cox(shape):
    expected = 3 * np.exp((np.exp(shape * ETA) - 1) / shape)
    assert move("boxcox", 3.0, shape) == pytest.approx(expected, rel=1e-13)


def test_box_cox_at_zero_is_lognormal_and_smooth():
    assert move("boxcox", 3.0, 0.0) == pytest.approx(3 * np.exp(ETA), rel=1e-14)
    slope = jax.grad(lambda s: boxcox(0.8, s))
    assert float(slope(0.0)) == pytest.approx(0.32, rel=1e-12)  # η²/2
    assert float(slope(1.1e-4)) == pytest.approx(float(slope(1.4e-4)), rel=1e-3)


def test_t_as_its_quantiles_are():
    """The expansion is of a t quantile at the normal's own probability."""
    eta = np.array([-1.5, -0.5, 0.4, 1.0])
    exact = stats.t(20).ppf(stats.norm.cdf(eta))
    assert np.asarray(student(eta, 20.0)) == pytest.approx(exact, rel=1e-4)
    assert np.asarray(student(eta, 1e9)) == pytest.approx(eta, rel=1e-8)
