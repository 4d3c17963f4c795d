"""BED and EQD2 against a published programme's formula and numerical double integrals (facts in docs/effect.md)."""

import jax
import numpy as np
import pytest

from pbpk.dosimetry.effect.bed import bed, bed_of, eqd2, rbe_bed
from pbpk.dosimetry.effect.protraction import uptake_and_washout, washout

# D Gy, α/β Gy, T_rep h, T_eff h, uptake h, G, BED, EQD2; the second row is what PyTheranostics' formula gives too
TABLE = [
    (23, 2.6, 2.8, 50, None, "0.05303", "33.790", "19.098"),
    (23, 2.6, 2.8, 50, 1.0, "0.052757", "33.7340", "19.067"),
    (10, 10, 1.5, 6.9, None, "0.17857", "11.786", "9.821"),
]


@pytest.mark.parametrize("row", TABLE)
def test_bed_table_to_its_digits(row):
    d, ab, rep, eff, up, g, b, e = row
    course = washout(float(d), eff) if up is None else uptake_and_washout(float(d), eff, up)
    found = bed_of(course, ab, rep)
    for ours, printed in ((course.protraction(rep), g), (found, b), (eqd2(found, ab), e)):
        assert f"{float(ours):.{len(printed.split('.')[1])}f}" == printed
    assert float(course.dose()) == pytest.approx(d, rel=1e-13)


def test_single_dose_and_slow_course_at_their_limits():
    assert float(bed(10.0, 10.0)) == 20.0
    assert float(washout(1.0, 1e-6).protraction(1.5)) == pytest.approx(1.0, rel=1e-5)
    # G of one exponential is T_rep/(T_rep + T_eff)
    assert float(washout(5.0, 7.0).protraction(1.5)) == pytest.approx(1.5 / 8.5, rel=1e-14)


def test_alpha_bed_of_dale_and_jones():
    # 2 Gy of alphas with RBE_max 5, 3 Gy of low LET, G 0.2, α/β 10: 10 + 3 + 0.2·25/10
    assert float(rbe_bed(2.0, 3.0, 5.0, 10.0, 0.2)) == pytest.approx(13.5, rel=1e-14)
    assert float(rbe_bed(2.0, 0.0, 5.0, 10.0, 0.2, rbe_min=0.0)) == pytest.approx(10.0, rel=1e-14)


def test_slope_of_bed_in_the_half_time():
    slope = jax.grad(lambda t: bed_of(washout(23.0, t), 2.6, 2.8))(50.0)
    expected = 23.0**2 / 2.6 * -2.8 / 52.8**2
    assert np.isclose(float(slope), expected, rtol=1e-12)
