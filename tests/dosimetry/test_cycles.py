"""Cycles: far apart they add, together they are one, and between that a double integral says what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.dosimetry.effect.bed import bed_of, rbe_bed_of
from pbpk.dosimetry.effect.cycles import cycles_bed, repeated
from pbpk.dosimetry.effect.protraction import Exponentials, washout

SMOOTH = Exponentials(np.array([0.5, -0.5]), np.array([0.1, 0.8]))  # begins at 0, as trapezia like it
COURSE = Exponentials(np.array([0.5, -0.4]), np.array([0.1, 0.8]))


def test_far_apart_they_add_and_at_once_they_are_one():
    one = float(bed_of(COURSE, 3.0, 1.5))
    dose, far = cycles_bed(repeated(COURSE, jnp.ones(3)), [0.0, 1e3, 2e3], 3.0, 1.5)
    assert float(far) == pytest.approx(3 * one, rel=1e-12)
    assert float(dose) == pytest.approx(3 * float(COURSE.dose()), rel=1e-13)
    _, together = cycles_bed(repeated(COURSE, jnp.ones(3)), [0.0, 0.0, 0.0], 3.0, 1.5)
    assert float(together) == pytest.approx(float(bed_of(COURSE.scaled(3.0), 3.0, 1.5)), rel=1e-12)


@pytest.mark.parametrize("t_repair", [1.5, float(np.log(2) / 0.1)])  # the second has μ = λ
def test_overlapping_against_the_damage_not_yet_repaired(t_repair):
    _, ours = cycles_bed(repeated(SMOOTH, jnp.array([1.0, 0.7])), [0.0, 5.0], 3.0, t_repair)
    t = np.linspace(0, 250, 500_001)
    a, r, mu = np.asarray(SMOOTH.amplitude), np.asarray(SMOOTH.rate), np.log(2) / t_repair

    def curve(s):
        return np.where(s >= 0, a @ np.exp(-np.outer(r, np.maximum(s, 0))), 0.0)

    rate, h = curve(t) + 0.7 * curve(t - 5.0), t[1] - t[0]
    y, unrepaired, decay = np.zeros_like(t), 0.0, np.exp(-mu * h)
    for i in range(1, len(t)):
        unrepaired = unrepaired * decay + h / 2 * (rate[i - 1] * decay + rate[i])
        y[i] = unrepaired
    direct = np.trapezoid(rate, t) + 2 * np.trapezoid(rate * y, t) / 3.0
    assert float(ours) == pytest.approx(direct, rel=1e-7)


def test_what_is_forgotten_between_cycles():
    one = float(bed_of(COURSE, 3.0, 1.5))
    _, left = cycles_bed(repeated(COURSE, jnp.ones(3)), [0.0, 1e3, 2e3], 3.0, 1.5, recovered=0.2)
    assert float(left) == pytest.approx(one * (1 + 0.8 + 0.64), rel=1e-12)


def test_six_weeks_with_fast_repair_stay_finite():
    _, found = cycles_bed(repeated(COURSE, jnp.ones(2)), [0.0, 2000.0], 3.0, 0.5)
    assert np.isfinite(float(found))


def test_mixed_courses_of_one_shape_are_one_course():
    alpha, low = washout(2.0, 7.0), washout(3.0, 7.0)
    g = 1.5 / 8.5
    assert float(rbe_bed_of(alpha, low, 5.0, 10.0, 1.5)) == pytest.approx(13 + g * 25 / 10, rel=1e-13)


def test_patients_at_once_and_slope_in_the_interval():
    many = Exponentials(np.array([[0.5, 0.2], [-0.4, 0.1]]), np.array([[0.1, 0.05], [0.8, 0.3]]))
    _, both = cycles_bed(repeated(many, jnp.array([1.0, 0.7])), [0.0, 5.0], 3.0, 1.5)
    _, scaled = cycles_bed(repeated(many, jnp.array([[1.0, 1.0], [0.7, 0.7]])), [0.0, 5.0], 3.0, 1.5)
    for i in range(2):
        one = Exponentials(many.amplitude[:, i], many.rate[:, i])
        _, alone = cycles_bed(repeated(one, jnp.array([1.0, 0.7])), [0.0, 5.0], 3.0, 1.5)
        assert float(both[i]) == pytest.approx(float(alone), rel=1e-13)
        assert float(scaled[i]) == pytest.approx(float(alone), rel=1e-13)
    _, spread = cycles_bed(repeated(COURSE, jnp.ones((2, 3))), [0.0, 5.0], 3.0, 1.5)
    assert spread.shape == (3,)

    def of(gap):
        return cycles_bed(repeated(COURSE, jnp.ones(3)), jnp.array([0.0, 1.0, 2.0]) * gap, 3.0, 1.5)[1]

    slope, h = float(jax.jit(jax.grad(of))(4.0)), 1e-5
    assert slope < 0 and slope == pytest.approx(float((of(4 + h) - of(4 - h)) / (2 * h)), rel=1e-6)
