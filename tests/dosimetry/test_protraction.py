"""The Lea–Catcheside factor: closed forms against double integrals, and samples against the curves they were taken from."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.dosimetry.effect.phi_functions import phi, phi1_slope
from pbpk.dosimetry.effect.protraction import Exponentials
from pbpk.dosimetry.effect.sampled import Sampled


def double_integral(rate, t_repair, edges, order=40):
    """2/D² ∫ R(t) y(t) dt with y(t) = ∫_{w<t} R(w) e^(−μ(t−w)) dw, both by Gauss–Legendre on panels."""
    x, w = np.polynomial.legendre.leggauss(order)
    mu = np.log(2) / t_repair
    dose = pairs = before = 0.0
    for a, b in itertools.pairwise(edges):
        t = a + (b - a) * (x + 1) / 2
        inner = np.empty(order)
        for i, ti in enumerate(t):
            v = a + (ti - a) * (x + 1) / 2
            inner[i] = before * np.exp(-mu * (ti - a)) + (w * rate(v) * np.exp(-mu * (ti - v))).sum() * (ti - a) / 2
        dose += (w * rate(t)).sum() * (b - a) / 2
        pairs += (w * rate(t) * inner).sum() * (b - a) / 2
        before = before * np.exp(-mu * (b - a)) + (w * rate(t) * np.exp(-mu * (b - t))).sum() * (b - a) / 2
    return 2 * pairs / dose**2


@pytest.mark.parametrize(
    ("amplitudes", "half_times", "t_repair"),
    [((1.0, 0.4), (3.0, 40.0), 1.5), ((2.0, -1.9), (6.9, 0.7), 2.8), ((1.0, -1.0), (50.0, 1.0), 2.8)],
)
def test_two_exponentials_against_a_double_integral(amplitudes, half_times, t_repair):
    rates = np.log(2) / np.array(half_times)
    course = Exponentials(np.array(amplitudes), rates)
    end = 60 * max(half_times)
    edges = np.concatenate([[0.0], np.geomspace(1e-3, end, 160)])
    direct = double_integral(lambda t: np.array(amplitudes) @ np.exp(-np.outer(rates, t)), t_repair, edges)
    assert float(course.protraction(t_repair)) == pytest.approx(direct, rel=1e-8)


def test_functions_of_entire_pieces():
    x = np.array([-30.0, -1.5, -1e-9, 0.0, 0.3, 2.0])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u = (nodes + 1) / 2
    for k, fact in ((1, 1), (2, 1), (3, 2), (4, 6)):
        direct = (weights / 2 * np.exp(np.outer(x, 1 - u)) * u ** (k - 1) / fact).sum(1)
        assert np.allclose(phi(k, x), direct, rtol=1e-10, atol=1e-15)
    apart = (phi(1, 0.7) - phi(1, -2.0)) / 2.7
    assert float(phi1_slope(0.7, -2.0)) == pytest.approx(float(apart), rel=1e-13)
    assert float(phi1_slope(0.7, 0.7 + 1e-9)) == pytest.approx(float(phi(1, 0.7) - phi(2, 0.7)), rel=1e-8)


@pytest.mark.parametrize("t_repair", [0.5, 6.9, 30.0])  # 6.9: the repair's rate meets the decay's
def test_samples_of_one_exponential_give_its_factor(t_repair):
    lam = np.log(2) / 6.9
    time = np.array([0.0, 0.3, 2.0, 7.0, 50.0])
    seen = Sampled(time, np.exp(-lam * time), lam)
    truth = Exponentials(np.ones(1), np.array([lam]))
    assert float(seen.protraction(t_repair)) == pytest.approx(float(truth.protraction(t_repair)), rel=1e-12)
    assert float(seen.dose()) == pytest.approx(float(truth.dose()), rel=1e-12)


def test_lines_against_a_double_integral():
    time, rate, tail = np.array([0.0, 1.0, 4.0, 20.0]), np.array([0.0, 2.0, 1.0, 0.2]), 0.1
    seen = Sampled(time, rate, tail, "linear")
    edges = np.concatenate(
        [np.linspace(0, 1, 3), np.linspace(1, 4, 5)[1:], np.linspace(4, 20, 9)[1:], 20 + np.geomspace(1, 400, 40)]
    )

    def curve(t):
        return np.where(t < 20, np.interp(t, time, rate), rate[-1] * np.exp(-tail * (t - 20)))

    assert float(seen.protraction(2.0)) == pytest.approx(double_integral(curve, 2.0, edges), rel=1e-10)


def test_samples_for_many_patients_differentiable():
    time = jnp.linspace(0.0, 40.0, 30)
    rates = jnp.stack([jnp.exp(-0.1 * time) - jnp.exp(-time), jnp.exp(-0.3 * time)], 1)
    both = Sampled(time, rates, 0.1).protraction(1.5)
    one = Sampled(time, rates[:, 1], 0.1).protraction(1.5)
    assert float(both[1]) == pytest.approx(float(one), rel=1e-12)
    slope = jax.grad(lambda s: Sampled(time, rates[:, 0] ** s, 0.1).protraction(1.5))(1.0)
    h = 1e-5
    step = [float(Sampled(time, rates[:, 0] ** s, 0.1).protraction(1.5)) for s in (1 + h, 1 - h)]
    assert float(slope) == pytest.approx((step[0] - step[1]) / (2 * h), rel=1e-6)


def test_long_gaps_do_not_overflow():
    time = np.array([0.0, 5.0, 2000.0])
    assert np.isfinite(float(Sampled(time, np.exp(-0.1 * time), 0.1).protraction(0.5)))
