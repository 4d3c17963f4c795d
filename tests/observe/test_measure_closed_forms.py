"""Every kind of measurement against its closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.nuclides import load_nuclide
from pbpk.nuclides.photons import load_photons
from pbpk.observe.blood import BloodMeasurement
from pbpk.observe.counting import CountingNoise
from pbpk.observe.counts import CountMeasurement
from pbpk.observe.decay import decay_correction, effective_counting_time
from pbpk.observe.exposure import DoseRateMeasurement, geometry_factor
from pbpk.observe.measure import measure
from pbpk.observe.noise import GaussianNoise
from pbpk.observe.recovery import RecoveryCurve
from pbpk.observe.urine import UrineMeasurement
from pbpk.observe.voi import Voi, build_spill_matrix

AT = load_nuclide("At-211").decay_constant


def one(path, m, **how):
    return np.asarray(measure(path, [m], nuclide="At-211", **how)[m.name])


def voi(**how):
    return Voi(**{"name": "v", "region": "thyroid", "decay_corrected": False} | how)


# decay


def test_decay_correction_undoes_decay(simulated):
    """At the reference nothing changes; a day later an activity of At-211 is a tenth, and corrected it is itself again."""
    t = simulated().time[:, None]
    path = simulated(thyroid=np.exp(-AT * t) * np.ones((1, 2)))
    np.testing.assert_allclose(one(path, voi(decay_corrected=True, reference=0.0)), 1.0, rtol=1e-13)
    at_8 = one(path, voi(decay_corrected=True, reference="8 h"))
    np.testing.assert_allclose(at_8, np.exp(-AT * 8), rtol=1e-13)
    np.testing.assert_array_equal(one(path, voi()), path.observables["thyroid"])
    assert float(decay_correction(AT, 7.214, 0.0)) == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("duration", [0.5, 1e-3, 1e-7, 24.0])
def test_counting_time_is_the_integral_of_decay(duration):
    steps = (np.arange(10_000) + 0.5) / 10_000 * duration
    assert float(effective_counting_time(AT, duration)) == pytest.approx(
        np.exp(-AT * steps).mean() * duration, rel=1e-8
    )


def test_counting_time_without_decay_is_the_time_and_has_a_slope():
    assert float(effective_counting_time(0.0, 0.5)) == 0.5
    slope = jax.grad(lambda rate: effective_counting_time(rate, 0.5))
    assert float(slope(0.0)) == pytest.approx(-(0.5**2) / 2)
    assert float(slope(1e-3)) == pytest.approx(-(0.5**2) / 2, rel=1e-3)


# blood


def blood(**how):
    return BloodMeasurement(**{"name": "b", "region": "blood", "decay_corrected": False, "region_is": "blood"} | how)


def test_blood_concentration_is_activity_over_volume(simulated):
    path = simulated()
    found = measure(path, [blood(sample="blood", volume="5.6 L")])
    np.testing.assert_allclose(found["b"], path.observables["blood"] / 5.6, rtol=1e-14)
    assert found.unit["b"] == "(MBq)/L"
    per_ml = measure(path, [blood(sample="blood", volume="5600 mL", unit="kBq/mL")])
    np.testing.assert_allclose(per_ml["b"], found["b"], rtol=1e-12)


def test_plasma_cells_and_whole_blood_share_what_there_is(simulated):
    """Whole blood is its plasma and its cells, each in its share of the volume."""
    h, r = 0.42, 0.7
    each = {m: one(simulated(), blood(sample=m, volume="5 L", haematocrit=h, red_cells=r)) for m in ("plasma", "cells")}
    whole = one(simulated(), blood(sample="blood", volume="5 L"))
    np.testing.assert_allclose((1 - h) * each["plasma"] + h * each["cells"], whole, rtol=1e-13)
    np.testing.assert_allclose(each["cells"], r * each["plasma"], rtol=1e-13)


def test_without_cells_plasma_holds_it_all_and_with_as_much_nothing_differs(simulated):
    whole = one(simulated(), blood(sample="blood", volume="5 L"))
    for red_cells, ratio in ((0.0, 1 / 0.6), (1.0, 1.0)):
        plasma = one(simulated(), blood(sample="plasma", volume="5 L", haematocrit=0.4, red_cells=red_cells))
        np.testing.assert_allclose(plasma, whole * ratio, rtol=1e-13)


def test_a_concentration_needs_no_volume(simulated):
    path = simulated(unit="kBq/mL")
    found = measure(path, [blood(sample="blood")])
    np.testing.assert_allclose(found["b"], path.observables["blood"], rtol=1e-14)
    assert found.unit["b"] == "kBq/mL"


def test_rats_red_cells_hold_36_per_cent_of_bloods_radioiodine(simulated):
    """36.2 % in red cells at 15 min ("Role of Erythrocyte in Blood Iodine Transport Using Radioiodine I131", rats): the ratio
    that gives this share at any haematocrit gives it back."""
    h = 0.45
    ratio = 0.362 / (1 - 0.362) * (1 - h) / h
    path = simulated()
    cells = one(path, blood(sample="cells", volume="5 L", haematocrit=h, red_cells=ratio))
    np.testing.assert_allclose(cells * h * 5 / path.observables["blood"], 0.362, rtol=1e-12)


# volumes of interest


def test_a_volume_shows_what_is_kept_and_what_spills_in(simulated):
    path = simulated()
    a = path.observables
    found = one(path, voi(recovery=0.8, blood="blood", blood_share=0.02, spill_in={"glands": 0.1, "whole_body": 0.003}))
    expected = 0.8 * (a["thyroid"] + 0.02 * a["blood"]) + 0.1 * a["glands"] + 0.003 * a["whole_body"]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_what_spills_out_of_one_volume_spills_into_others(simulated):
    """Columns that sum to 1: all activity is shown somewhere."""
    share = np.array([[0.85, 0.05, 0.01], [0.10, 0.90, 0.04], [0.05, 0.05, 0.95]])
    regions = ["thyroid", "glands", "blood"]
    assert (share.sum(axis=0) == pytest.approx(1.0)) and regions
    vois = [
        voi(
            name=f"v{i}",
            region=regions[i],
            recovery=share[i, i],
            spill_in={regions[j]: share[i, j] for j in range(3) if j != i},
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(build_spill_matrix(vois, regions), share, rtol=1e-15)
    path = simulated()
    found = measure(path, vois, nuclide="At-211")
    shown = sum(np.asarray(found[v.name]) for v in vois)
    np.testing.assert_allclose(shown, sum(np.asarray(path.observables[r]) for r in regions), rtol=1e-13)


def test_recovery_has_its_limits():
    r = RecoveryCurve("2 mL", 1.3)
    volumes = np.geomspace(1e-12, 1e9, 200)
    found = np.asarray(r(volumes))
    assert found[0] < 1e-6 and found[-1] > 1 - 1e-6
    assert (np.diff(found) > 0).all()
    assert float(r(0.002)) == pytest.approx(0.5, rel=1e-12)
    np.testing.assert_allclose(found, 1 - 1 / (1 + (volumes / 0.002) ** 1.3), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(RecoveryCurve(0.002, 60.0)(np.array([0.0015, 0.0025])), [0, 1], atol=1e-5)


def test_a_volumes_recovery_is_that_of_its_size(simulated):
    path = simulated()
    found = one(path, voi(recovery={"half": "2 mL", "slope": 1.0}, volume="20 mL"))
    np.testing.assert_allclose(found, path.observables["thyroid"] * (20 / 22), rtol=1e-12)


def test_units_of_a_volume(simulated):
    path = simulated()
    a = path.observables["thyroid"]
    np.testing.assert_allclose(one(path, voi(unit="kBq")), a * 1e3, rtol=1e-12)
    np.testing.assert_allclose(one(path, voi(unit="kBq/cc", volume="20 mL")), a * 1e3 / 20, rtol=1e-12)
    np.testing.assert_allclose(one(path, voi(unit="pct_IA", administered="200 MBq")), a / 2, rtol=1e-12)


# urine


def urine(collected, **how):
    return UrineMeasurement(**{"name": "u", "region": "urine", "collected": collected, "decay_corrected": False} | how)


def test_voids_add_up_to_the_cumulative_excretion(simulated):
    corrected = {"decay_corrected": True, "reference": 0.0}
    voids = one(simulated(), urine("void", **corrected))
    so_far = one(simulated(), urine("cumulative", **corrected))
    np.testing.assert_allclose(np.cumsum(voids, axis=0), so_far, rtol=1e-12)
    expected = 100 * -np.diff(np.exp(-0.05 * np.array([0.0, *simulated().time])))
    np.testing.assert_allclose(voids[:, 0], expected, rtol=1e-10)


def test_a_void_is_what_came_since_the_last_as_it_is_at_its_own_time(simulated):
    """Of urine that came at 4 h nothing belongs to the void at 8 h, though it has decayed meanwhile."""
    t = simulated().time[:, None]
    path = simulated(urine=np.where(t >= 4, 7 * np.exp(-AT * (t - 4)), 0.0) * np.ones((1, 2)))
    np.testing.assert_allclose(one(path, urine("void"))[:, 0], [0, 0, 7, 0, 0], atol=1e-12)


def test_voids_are_at_the_times_asked_for(simulated):
    voids = one(simulated(), urine("void", at=[2, "8 h"], decay_corrected=True, reference=0.0))
    expected = 100 * -np.diff(np.exp(-0.05 * np.array([0.0, 2.0, 8.0])))
    np.testing.assert_allclose(voids[:, 0], expected, rtol=1e-10)


# counts


def test_counts_are_rate_times_time_less_decay(simulated):
    path = simulated()
    counting = CountingNoise("10 min", "301 count/min/MBq", background="2 cps")
    found = measure(
        path,
        [CountMeasurement(name="c", region="whole_body", counting=counting, decay_corrected=False)],
        nuclide="At-211",
    )
    lost = (1 - np.exp(-AT / 6)) / AT
    np.testing.assert_allclose(found["c"], path.observables["whole_body"] * 301 * 60 * lost, rtol=1e-12)
    assert found.unit["c"] == "count"


def test_ratios_of_counts_are_retention(simulated):
    m = CountMeasurement(
        name="c",
        region="whole_body",
        counting=CountingNoise("10 min", "5 cps/MBq"),
        decay_corrected=True,
        reference="0 h",
    )
    found = one(simulated(), m)[:, 0]
    np.testing.assert_allclose(found / found[0], np.exp(-0.05 * (simulated().time - 1)), rtol=1e-12)


def test_a_probe_sees_a_share_of_the_rest(simulated):
    path, counting = simulated(), CountingNoise("1 h", "1 cps/MBq")
    m = CountMeasurement(name="c", region="thyroid", also={"blood": 0.1}, counting=counting, decay_corrected=False)
    a = path.observables
    np.testing.assert_allclose(measure(path, [m])["c"], 3600 * (a["thyroid"] + 0.1 * a["blood"]), rtol=1e-12)


@pytest.mark.parametrize(
    ("nuclide", "photons"), [("At-211", 0.4216), ("I-131", 0.815), ("Tc-99m", 0.8907), ("I-123", 0.836)]
)
def test_efficiency_is_per_photon_of_the_imaged_range(simulated, nuclide, photons):
    assert load_photons(nuclide).imaged_per_decay == pytest.approx(photons, rel=1e-12)
    counting = CountingNoise("1 s", efficiency=1e-4)
    m = CountMeasurement(name="c", region="thyroid", counting=counting, decay_corrected=False)
    found = measure(simulated(), [m], nuclide=nuclide)["c"]
    np.testing.assert_allclose(found, simulated().observables["thyroid"] * 1e6 * photons * 1e-4, rtol=1e-4)


# dose rate


def test_dose_rate_falls_with_the_square_of_distance(simulated):
    path = simulated()
    near, far = (
        DoseRateMeasurement(name="d", region="whole_body", decay_corrected=False, distance=d) for d in ("1 m", "3 m")
    )
    found = measure(path, [near], nuclide="I-131")
    np.testing.assert_allclose(found["d"], path.observables["whole_body"] * 52.2e-3, rtol=1e-12)
    assert found.unit["d"] == "µGy/h"
    np.testing.assert_allclose(measure(path, [far], nuclide="I-131")["d"], found["d"] / 9, rtol=1e-12)


def test_a_line_is_the_sum_of_its_points():
    points = (np.arange(200_000) + 0.5) / 200_000 - 0.5
    for length in (0.5, 1.74, 10.0):
        expected = np.mean(1 / (1 + (points * length) ** 2))
        assert float(geometry_factor(1.0, length)) == pytest.approx(expected, rel=1e-9)
    assert float(geometry_factor(2.0, 0.0)) == 0.25
    assert float(geometry_factor(2.0, 1e-6)) == pytest.approx(0.25, rel=1e-12)
    assert float(jax.grad(lambda x: geometry_factor(1.0, x))(0.0)) == 0.0


def test_transmission_and_constant_may_be_given(simulated):
    m = DoseRateMeasurement(
        name="d",
        region="whole_body",
        decay_corrected=False,
        distance="1 m",
        transmission=0.55,
        constant="10 µGy*m^2/(GBq*h)",
        unit="mGy/h",
    )
    found = measure(simulated(), [m])["d"]
    np.testing.assert_allclose(found, simulated().observables["whole_body"] * 0.55 * 1e-5, rtol=1e-12)


def test_what_is_assumed_is_said(simulated):
    m = DoseRateMeasurement(name="d", region="whole_body", decay_corrected=False, distance="1 m")
    told = measure(simulated(), [m, voi(recovery=RecoveryCurve("2 mL"), volume="20 mL")], nuclide="At-211").notes
    assert told[0] == "d: the air kerma rate constant of At-211 is assumed, not published"
    assert told[1:] == (
        "d: the patient attenuates nothing (transmission 1)",
        "v: recovery is a logistic curve in ln(volume)",
    )


# derivatives


def test_expected_values_and_standard_deviations_are_differentiable(simulated):
    """In the simulation and in the measurements' own numbers, by reverse mode against differences."""

    def total(x):
        counting = CountingNoise(x[0], "68 cps/MBq", background="5 cps", scatter=x[1], background_ratio=x[2])
        path = simulated(thyroid=x[3] * simulated().observables["thyroid"])
        asked = [
            voi(recovery=RecoveryCurve(x[4], x[5]), volume=x[6], blood="blood", blood_share=x[7], noise=counting),
            voi(name="w", noise=GaussianNoise("combined2", add=x[8], prop=x[9]), decay_corrected=True, reference=x[10]),
            blood(sample="plasma", volume=x[11], haematocrit=x[12], red_cells=x[13]),
            DoseRateMeasurement(
                name="d", region="whole_body", decay_corrected=False, distance=x[14], length=x[15], transmission=x[16]
            ),
            CountMeasurement(name="c", region="whole_body", counting=counting, decay_corrected=False),
            urine("void"),
        ]
        found = measure(path, asked, nuclide="At-211")
        size = {"c": 1e-6}  # alike, or the differences drown in the rounding of the largest
        parts = [jnp.sum(found.expected[m.name]) * size.get(m.name, 0.1) for m in asked]
        return sum(parts) + jnp.sum(found.sd["v"]) + jnp.sum(found.sd["w"])

    x = jnp.array([0.4, 0.3, 2.0, 1.1, 0.002, 1.2, 0.02, 0.01, 0.5, 0.1, 1.0, 5.0, 0.4, 0.7, 10.0, 17.4, 0.55])
    slopes = np.asarray(jax.grad(total)(x))
    for i, slope in enumerate(slopes):
        step = 1e-5 * float(x[i])
        difference = (total(x.at[i].add(step)) - total(x.at[i].add(-step))) / (2 * step)
        assert slope == pytest.approx(float(difference), rel=1e-6, abs=1e-9), i
    assert (slopes != 0).all()


def test_no_activity_has_a_slope(simulated):
    """√(counts) has none at 0, but there is a background."""

    def sd(x):
        path = simulated(thyroid=x * simulated().observables["thyroid"])
        m = voi(noise=CountingNoise("30 min", "68 cps/MBq", background="5 cps"))
        return jnp.sum(measure(path, [m], nuclide="At-211").sd["v"])

    assert np.isfinite(float(jax.grad(sd)(0.0)))


def test_derivatives_go_through_a_whole_simulation():
    """From a model's parameter to the expected plasma concentration and its standard deviation, under jit."""
    model = pbpk.load_model("iv_one_compartment")
    noise = GaussianNoise("proportional", prop=0.1)
    m = blood(region="cp", sample="plasma", region_is="plasma", noise=noise, at=[6.0])

    def shown(clearance):
        path = pbpk.simulate(model, pbpk.dose("20 mg", into="iv"), [1.0, 6.0], values={"CL": clearance})
        found = pbpk.measure(path, [m])
        return found.expected["b"][0, 0] + found.sd["b"][0, 0]

    at = model.parameters["CL"].value
    step = 1e-4 * at
    difference = (shown(at + step) - shown(at - step)) / (2 * step)
    assert float(jax.jit(jax.grad(shown))(at)) == pytest.approx(float(difference), rel=1e-6)
