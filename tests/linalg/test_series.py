"""The series of Chebyshev functions on the whole negative axis, where its promise is made."""

from decimal import Decimal, getcontext
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.linalg.series import (
    SPANS,
    ResolventSeries,
    _phi2,
    design,
    double_integral_coefficients,
    estimate_effort,
    integral_coefficients,
    series_coefficients,
    series_vectors,
)

AXIS = -np.concatenate([[0.0], np.logspace(-8, 12, 400)])


def functions(series, z):
    """Tⱼ(w(z)), (J + 1, len(z))."""
    w = (1 + series.g * z) / (1 - series.g * z)
    return np.cos(np.arange(series.order + 1)[:, None] * np.arccos(np.clip(w, -1, 1)))


def summed(series, c, z=AXIS):
    return np.einsum("jt,jz->tz", np.asarray(c), functions(series, z))


@pytest.mark.parametrize("tolerance", [1e-9, 1e-13])
@pytest.mark.parametrize("span", SPANS)
def test_exponential_on_the_axis(span, tolerance):
    """At every time of the span, between those that the design was made at too; at 1e-13 rounding is added."""
    series, tau = design(span, tolerance), np.geomspace(1 / span, 1, 23)
    ours = summed(series, series_coefficients(series, jnp.asarray(tau)))
    assert np.abs(ours - np.exp(tau[:, None] * AXIS)).max() < 3 * tolerance + 2e-14


@pytest.mark.parametrize("shift", [0.0, 3e-7, 0.8, 40.0])
@pytest.mark.parametrize("span", [1.0, 10.0, 100.0])
def test_integrals_on_the_axis(span, shift):
    """Of exp(s(z − shift)), once and twice, in units of the window."""
    series, tau = design(span, 1e-13), np.geomspace(1 / span, 1, 7)[:, None]
    y = AXIS - shift
    at_zero = np.where(y == 0, -1.0, y)
    once = np.where(y == 0, tau, np.expm1(tau * y) / at_zero)
    twice = tau**2 * np.asarray(_phi2(jnp.asarray(tau * y)))
    t, s = jnp.asarray(tau[:, 0]), jnp.asarray(shift)
    assert np.abs(summed(series, integral_coefficients(series, t, s)) - once).max() < 5e-14
    assert np.abs(summed(series, double_integral_coefficients(series, t, s)) - twice).max() < 5e-14


def test_the_double_integrals_function():
    """(eˣ − 1 − x)/x², where the difference cancels and where it does not, against sixty digits."""
    getcontext().prec = 60
    x = -np.concatenate([np.logspace(-12, 9, 60), [0.4999, 0.5, 0.5001]])
    exact = [float((Decimal(v).exp() - 1 - Decimal(v)) / Decimal(v) ** 2) for v in x]
    np.testing.assert_allclose(_phi2(jnp.asarray(x)), exact, rtol=3e-15)
    assert float(_phi2(jnp.zeros(()))) == 0.5


def test_longer_windows_take_more_terms_and_each_pays():
    """Else no window would be longer than one time, and the choice in windows.py would be idle."""
    orders = [design(span, 1e-13).order for span in SPANS]
    assert orders == sorted(orders)
    assert orders[0] < 40
    assert all(estimate_effort(b) < 2 * estimate_effort(a) for a, b in pairwise(SPANS))


def test_a_tolerance_out_of_reach_takes_the_best_there_is():
    assert design(100.0, 1e-30).order == 72
    assert design(1.0, 1e-4).order < design(1.0, 1e-10).order


def test_vectors_follow_the_recurrence():
    """For a scalar A = z they are the functions themselves; the peak is the largest of them, weighted."""
    series, z = ResolventSeries(12, 0.1), np.array([0.0, -0.3, -7.0, -900.0])
    weight = np.linspace(1.0, 0.2, 13)
    found, peak = series_vectors(series, lambda x: x / (1 - series.g * z), jnp.ones((1, 4)), jnp.asarray(weight))
    np.testing.assert_allclose(found[:, 0], functions(series, z), atol=1e-13)
    np.testing.assert_allclose(
        peak, np.abs(weight[[0, *range(2, 13)], None] * functions(series, z)[[0, *range(2, 13)]]).max(0)
    )


def test_single_precision():
    series = design(3.0, 1e-6)
    c = series_coefficients(series, jnp.asarray([0.5, 1.0], jnp.float32))
    assert c.dtype == jnp.float32
    assert np.abs(summed(series, c) - np.exp(np.array([[0.5], [1.0]]) * AXIS)).max() < 1e-5
