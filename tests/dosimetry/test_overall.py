"""Overall time and single cycles: closed forms, agreement with cycles_bed, and curves of some targets alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.dosimetry import compartments, dose_over_time, one_cycle
from pbpk.dosimetry.effect.bed import bed_of, rbe_bed
from pbpk.dosimetry.effect.cycles import cycles_bed, repeated
from pbpk.dosimetry.effect.defaults import radiobiology
from pbpk.dosimetry.effect.overall import recovery, repopulation, together
from pbpk.dosimetry.effect.protraction import washout
from pbpk.errors import BadInput

TIMES = [0, 0.25, 0.5, 1, 2, 4, 8, 16, 24, 48]


@pytest.fixture(scope="module")
def path():
    model = pbpk.load_model("astatide_reference")
    who = pbpk.virtual_patients(model, 3, seed=4)
    given = pbpk.dose("2 MBq/kg", into="iv")
    return pbpk.simulate(model, given, TIMES, patients=who, observe=compartments(model), integrate=True)


def test_repopulation_is_a_dose_per_doubling():
    """One doubling costs ln 2/α; nothing before the kick-off; Fowler's 3-day doubling at α 0.35 costs 0.66 Gy a day."""
    assert float(repopulation(4.0, 4.0, 0.3)) == pytest.approx(np.log(2) / 0.3, rel=1e-14)
    assert float(repopulation(20.0, 3.0, 0.35, kick_off=21.0)) == 0.0
    assert float(repopulation(22.0, 3.0, 0.35, kick_off=21.0)) == pytest.approx(0.660, abs=5e-4)
    assert np.exp(0.3 * repopulation(12.0, 4.0, 0.3)) == pytest.approx(2**3)


def test_recovery_has_its_half_time_and_its_most():
    assert float(recovery(4.0, 4.0)) == pytest.approx(0.5, rel=1e-14)
    assert float(recovery(8.0, 4.0, most=0.6)) == pytest.approx(0.45, rel=1e-14)
    assert float(recovery(0.0, 4.0)) == 0.0
    assert float(jax.grad(recovery)(0.0, 4.0)) == pytest.approx(np.log(2) / 4, rel=1e-14)


def test_cycles_weeks_apart_are_those_that_overlap():
    course = washout(5.0, 6.9)
    one = bed_of(course, 3.0, 1.5)
    scale = np.array([1.0, 0.7, 1.2])
    each = [bed_of(course.scaled(s), 3.0, 1.5) for s in scale]
    for recovered in (0.0, 0.3):
        _, exact = cycles_bed(repeated(course, scale), [0.0, 168.0, 336.0], 3.0, 1.5, recovered)
        assert float(together(each, recovered)) == pytest.approx(float(exact), rel=1e-6)
    assert float(together([one] * 3, 0.5)) == pytest.approx(1.75 * float(one), rel=1e-14)


def test_one_cycle_is_rbe_bed_of_exact_doses(path):
    dose = pbpk.absorbed_dose(path)
    found = one_cycle(path, {"salivary_glands": "salivary_glands", "red_marrow": "red_marrow"})
    glands = found["salivary_glands"]
    np.testing.assert_allclose(glands.alpha + glands.low, dose.gray()["salivary_glands"], rtol=1e-12)
    assert glands.rbe == radiobiology("salivary_glands").rbe.a and glands.alpha_beta == 3.0
    ours = rbe_bed(2 * glands.alpha, 2 * glands.low, 5.0, 3.0, glands.protraction)
    np.testing.assert_allclose(glands.bed(2.0), ours, rtol=1e-14)
    assert (
        (glands.protraction > 0.1) & (glands.protraction < 0.35)
    ).all()  # 211At and 1.5 h: 0.17 once all is in place


def test_protraction_settles_as_samples_get_dense(path):
    """Twice the samples change it by what the curve between them is worth, in times a thousandth."""
    model, who = path.model, path.patients
    between = np.sort(np.concatenate([TIMES, (np.array(TIMES[1:]) + TIMES[:-1]) / 2]))
    given = pbpk.dose("2 MBq/kg", into="iv")
    fine = pbpk.simulate(model, given, between, patients=who, observe=compartments(model), integrate=True)
    g = [one_cycle(p, {"salivary_glands": "salivary_glands"})["salivary_glands"].protraction for p in (path, fine)]
    np.testing.assert_allclose(g[0], g[1], rtol=5e-3)


def test_an_rbe_is_drawn_for_each_patient_and_target(path):
    tissues = {"salivary_glands": "salivary_glands", "kidneys": "kidneys"}
    drawn = one_cycle(path, tissues, key=jax.random.key(3))
    again = one_cycle(path, tissues, key=jax.random.key(3))
    rbe = np.concatenate([drawn[t].rbe for t in tissues])
    assert len(set(rbe.tolist())) == 6
    np.testing.assert_array_equal(drawn["kidneys"].rbe, again["kidneys"].rbe)


def test_curves_of_some_targets_are_those_of_all(path):
    every, some = dose_over_time(path), dose_over_time(path, targets=["kidneys", "red_marrow"])
    assert set(some.targets) == {"kidneys", "red_marrow"}
    for target in some.targets:
        np.testing.assert_allclose(some.rate(target), every.rate(target), rtol=1e-12)
        np.testing.assert_allclose(some.dose(target), every.dose(target), rtol=1e-12)
    with pytest.raises(BadInput, match="no target `kidney`"):
        dose_over_time(path, targets=["kidney"])


def test_after_the_last_time_a_curve_falls_as_before_it(path):
    course = dose_over_time(path, targets=["kidneys"])
    curve, decay = course.sampled("kidneys"), np.log(2) / 7.214
    rate = np.asarray(course.rate("kidneys"))
    np.testing.assert_allclose(curve.tail, np.log(rate[-2] / rate[-1]) / 24, rtol=1e-12)
    assert (np.asarray(curve.tail) >= decay * 0.999).all()
    # what the exact integral has and the curve has not is what lies between the samples
    np.testing.assert_allclose(curve.dose(), pbpk.absorbed_dose(path).gray()["kidneys"], rtol=0.05)
    rising = replace(course, rate_by_radiation={"alpha": {"kidneys": jnp.asarray(np.sort(rate, axis=0))}})
    np.testing.assert_allclose(rising.sampled("kidneys").tail, decay, rtol=1e-3)


def test_one_cycle_wants_a_linear_model(path):
    stuck = replace(path, to_infinity=None, no_infinity="fluxes are not linear: uptake")
    with pytest.raises(BadInput, match="no single cycle of a linear model") as caught:
        one_cycle(stuck, {"kidneys": "kidneys"})
    assert "not linear" in caught.value.render()
