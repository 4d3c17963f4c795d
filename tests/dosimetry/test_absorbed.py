"""Absorbed dose from activities: what must hold whatever the tables say; masses, lesions, daughters, bad input."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.dosimetry import Lesion, compartments, dose_over_time, sphere_s
from pbpk.dosimetry.absorbed import absorbed_dose
from pbpk.dosimetry.effective import effective_dose
from pbpk.dosimetry.progeny import count_in_situ_decays, find_omitted_daughters
from pbpk.dosimetry.region_map import read_region_map
from pbpk.dosimetry.svalues import list_targets, s_values
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide

pytestmark = pytest.mark.optimised
THYROID = {"thyroid": 0.439}


@pytest.fixture(scope="module")
def iodide():
    model = pbpk.load_model("iodide")
    return pbpk.simulate(
        model, pbpk.dose("100 MBq", into="iv"), [0, 1, 6, 24, 96, 400], observe=compartments(model), integrate=True
    )


def test_an_alpha_emitter_in_the_thyroid_is_energy_over_mass():
    dose = absorbed_dose(THYROID, "At-211")
    energy = 6.784 * 1.602176634e-13 / 23.39e-3
    assert float(dose.by_radiation["alpha"]["thyroid"][0]) == pytest.approx(0.439 * 3600 * energy * 1e9, rel=0.01)
    assert float(dose["thyroid"][0]) == pytest.approx(sum(float(v["thyroid"][0]) for v in dose.by_radiation.values()))


def test_recoils_are_a_choice():
    without, with_them = (float(absorbed_dose(THYROID, "At-211", recoil=r)["thyroid"][0]) for r in (False, True))
    assert with_them / without == pytest.approx(6.915 / 6.784, rel=2e-3)


def test_doses_add_up_over_regions():
    parts = [absorbed_dose({r: h}, "I-131") for r, h in {"thyroid": 5.0, "liver": 2.0, "blood": 1.0}.items()]
    whole = absorbed_dose({"thyroid": 5.0, "liver": 2.0, "blood": 1.0}, "I-131")
    for target in whole.targets:
        assert float(whole[target][0]) == pytest.approx(sum(float(p[target][0]) for p in parts), rel=1e-9)


def test_other_is_what_is_not_named():
    """The same activity per gram everywhere is `other` alone; naming an organ takes it out of it."""
    alone = absorbed_dose({"other": 5.0}, "At-211")
    assert float(alone["liver"][0]) == pytest.approx(float(alone["kidneys"][0]), rel=0.05)
    named = absorbed_dose({"other": 5.0, "liver": 0.0}, "At-211")
    assert float(named["liver"][0]) < 0.02 * float(alone["liver"][0])
    assert float(named["kidneys"][0]) > float(alone["kidneys"][0])


def test_mass_scaling_of_charged_particles_and_of_photons():
    small, large = (absorbed_dose({"thyroid": 10.0}, "I-131", masses={"thyroid": m}) for m in (10.0, 40.0))

    def ratio(radiation):
        return float(small.by_radiation[radiation]["thyroid"][0] / large.by_radiation[radiation]["thyroid"][0])

    assert ratio("electron") == pytest.approx(4.0, rel=1e-9)
    assert ratio("photon") == pytest.approx(4.0 ** (2 / 3), rel=1e-9)
    assert float(small["liver"][0]) == pytest.approx(float(large["liver"][0]), rel=1e-12)


def test_many_patients_at_once_are_the_same_as_one_by_one():
    hours, mass = np.array([1.0, 2.0, 5.0]), np.array([15.0, 20.0, 30.0])
    together = absorbed_dose({"thyroid": hours, "liver": 1.0}, "At-211", masses={"thyroid": mass})
    for i in range(3):
        one = absorbed_dose({"thyroid": hours[i], "liver": 1.0}, "At-211", masses={"thyroid": mass[i]})
        assert float(together["thyroid"][i]) == pytest.approx(float(one["thyroid"][0]), rel=1e-12)


def test_gradients_of_dose():
    """By hours, mass and, through the engine, by kinetics and activity."""

    def dose(hours, mass):
        return absorbed_dose({"thyroid": hours}, "At-211", masses={"thyroid": mass})["thyroid"][0]

    by_hours, by_mass = jax.grad(dose, (0, 1))(0.5, 20.0)
    assert float(by_hours) == pytest.approx(float(dose(1.0, 20.0)), rel=1e-9)
    assert float(by_mass) == pytest.approx(-float(dose(0.5, 20.0)) / 20.0, rel=0.01)
    assert float(jax.jit(dose)(0.5, 20.0)) == pytest.approx(float(dose(0.5, 20.0)), rel=1e-12)


def test_tables_are_made_while_tracing(_s_values_once, monkeypatch):
    """The first call may be under jit."""
    from pbpk.dosimetry import lesions, svalues

    monkeypatch.setattr(svalues, "_s_values", functools.cache(_s_values_once))
    lesions.tabulate_spheres.cache_clear()
    node = [Lesion("node", 2.0, "muscle")]

    def dose(hours):
        return absorbed_dose({"node": hours}, "At-211", lesions=node)["node"][0]

    assert float(jax.jit(dose)(0.01)) == pytest.approx(float(dose(0.01)), rel=1e-12)


def test_gradient_through_the_engine():
    model = pbpk.load_model("iodide")
    kept = compartments(model)

    def gray(k, activity):
        path = pbpk.simulate(
            *(model, pbpk.dose("1 MBq", into="iv"), [0.0]),
            observe=kept,
            integrate=True,
            values={"iodine.blood_to_thyroid_iodide": k},
            dose_amounts=activity[None],
        )
        return absorbed_dose(path).gray()["thyroid"][0]

    at = (jnp.array(7.26), jnp.array(100.0))
    by_uptake, by_activity = jax.grad(gray, (0, 1))(*at)
    assert float(by_activity) == pytest.approx(float(gray(*at)) / 100.0, rel=1e-6)
    h = 1e-3
    steps = float(gray(at[0] + h, at[1]) - gray(at[0] - h, at[1])) / (2 * h)
    assert float(by_uptake) == pytest.approx(steps, rel=1e-5)


def test_a_lesion_is_a_sphere_of_its_own_mass():
    lesion = Lesion("node", 2.0, "muscle")
    dose = absorbed_dose({"node": 0.01, "thyroid": 0.0}, "At-211", lesions=[lesion])
    alone = sphere_s("At-211", 2.0)["alpha"] * 0.01 * 3600 * 1e9
    assert float(dose.by_radiation["alpha"]["node"][0]) == pytest.approx(alone, rel=1e-3)
    assert float(dose.by_radiation["alpha"]["muscle"][0]) == 0.0
    assert float(dose.by_radiation["photon"]["muscle"][0]) > 0.0


def test_a_lesion_takes_photons_from_elsewhere():
    dose = absorbed_dose({"lungs": 5.0}, "I-131", lesions=[Lesion("metastasis", 5.0, "lungs")])
    photons = dose.by_radiation["photon"]
    assert float(photons["metastasis"][0]) == pytest.approx(float(photons["lungs"][0]), rel=1e-9)
    assert float(dose.by_radiation["electron"]["metastasis"][0]) == 0.0


def test_dose_over_time_adds_up_to_the_dose(iodide):
    course, whole = dose_over_time(iodide), absorbed_dose(iodide)
    last = float(course.dose("thyroid")[-1, 0])
    left = float(course.rate("thyroid")[-1, 0])
    assert last < float(whole.gray()["thyroid"][0]) < last + left * 24 * 12
    assert float(course.rate("thyroid")[0, 0]) == pytest.approx(0.0, abs=1e-3)
    rates = np.asarray(course.rate("thyroid")[:, 0])
    assert rates.argmax() == 3  # 24 h


def test_masses_over_time(iodide):
    steady = dose_over_time(iodide, masses={"thyroid": 20.0})
    shrinking = dose_over_time(iodide, masses={"thyroid": np.linspace(20.0, 10.0, 6)[:, None]})
    assert (
        float(steady.dose("thyroid")[-1, 0])
        < float(shrinking.dose("thyroid")[-1, 0])
        < 2 * float(steady.dose("thyroid")[-1, 0])
    )
    assert float(shrinking.rate("thyroid")[-1, 0]) == pytest.approx(2 * float(steady.rate("thyroid")[-1, 0]), rel=0.05)


def test_daughters_that_stay_and_those_that_do_not():
    assert count_in_situ_decays("At-211") == {"At-211": 1.0, "Po-211": 0.582} and find_omitted_daughters("At-211") == (
        "Bi-207",
    )
    assert count_in_situ_decays("Pb-212") == pytest.approx(
        {"Pb-212": 1.0, "Bi-212": 1.0, "Po-212": 0.6406, "Tl-208": 0.3594}
    )
    assert count_in_situ_decays("At-211", followed=("Po-211",)) == {"At-211": 1.0}
    assert "Bi-207" in absorbed_dose(THYROID, "At-211").notes[0]


@pytest.mark.slow
def test_a_chain_in_the_body_is_the_same_as_one_in_place():
    """211Po followed as a species, with none displaced, brings what it brings where its parent decays."""
    place = pbpk.load_model("nis_body")
    chain = pbpk.load_model("nis_body", options={"daughters": "chain"}, values={"po211.displaced": 0.0})
    assert set(read_region_map(chain, "adult-male").compartments) == {"At-211", "Po-211", "Bi-207"}
    one, other = absorbed_dose(place), absorbed_dose(chain)
    for target in ("salivary_glands", "stomach_wall", "kidneys", "lesion_1"):
        a, b = (float(x.by_radiation["alpha"][target][0]) for x in (one, other))
        assert b == pytest.approx(a, rel=2e-3)


def test_contents_wall_mucosa_and_target_layer_differ():
    """211At in the stomach: nothing reaches the stem cells from the contents, forty times more from the mucosa than the
    wall.
    """
    alpha = {}
    for region in ("stomach_contents", "stomach_wall", "stomach_mucosa"):
        alpha[region] = float(absorbed_dose({region: 1.0}, "At-211").by_radiation["alpha"]["stomach_wall"][0])
    assert alpha["stomach_contents"] < 1e-3 * alpha["stomach_wall"]
    assert alpha["stomach_mucosa"] / alpha["stomach_wall"] == pytest.approx(210 / 5.15, rel=0.08)


def test_alphas_of_urine_reach_little_of_the_bladder_wall():
    """ICRP 133, 6 MeV alphas in a man: wall from contents over wall from wall is 1/1680."""
    s = s_values("At-211", "adult-male").s[0]
    names = s_values("At-211", "adult-male").sources
    row = list_targets("adult-male").index("bladder_wall")
    ratio = s[row, names.index("bladder_contents")] / s[row, names.index("bladder_wall")]
    assert 1 / 2500 < ratio < 1 / 900


def test_effective_dose_is_kept_apart_and_of_both_sexes():
    doses = [absorbed_dose({"thyroid": 1.0, "liver": 1.0}, "At-211", p) for p in ("adult-male", "adult-female")]
    effective = float(effective_dose(*doses)[0])
    assert effective > 20 * 0.04 * float(doses[0]["thyroid"][0]) * 0.9
    assert not any("effective" in t for t in doses[0].targets)
    with pytest.raises(BadInput, match="mean of an adult male's and an adult female's"):
        effective_dose(doses[1], doses[0])


def test_photons_have_stated_statistics():
    dose = absorbed_dose({"thyroid": 76.0}, "I-131")
    assert 0 < dose.error["liver"] < 0.05 and dose.error["thyroid"] < 0.01


@pytest.mark.parametrize(
    "given, nuclide, words",
    [
        ({"thyriod": 1.0}, "I-131", "no region `thyriod`"),
        ({"testes": 1.0}, "I-131", "adult-female has no region `testes`"),
        ({"thyroid": "5 MBq"}, "I-131", "cannot be used where"),
        ({"thyroid": "a lot"}, "I-131", "cannot be read"),
        ({"thyroid": 300.0}, "I-131", "add up to 300 h"),
        ({"thyroid": 12.0}, "At-211", "At-211 decays within"),
        ({"thyroid": -1.0}, "I-131", "not a number from 0 on"),
        ({"thyroid": float("nan")}, "I-131", "not a number from 0 on"),
        ({}, "I-131", "no time-integrated activities"),
        ({"thyroid": 1.0}, "I-13", "unknown nuclide"),
        ({"thyroid": 1.0}, "Pb-207", "stable"),
    ],
)
def test_bad_activities(given, nuclide, words):
    with pytest.raises(BadInput) as caught:
        absorbed_dose(given, nuclide, "adult-female")
    assert words in caught.value.render() and caught.value.exit_code == 3


def test_units_of_time_are_read():
    by_text = absorbed_dose({"thyroid": "60 min", "liver": "0.5 d"}, "I-131")
    by_number = absorbed_dose({"thyroid": 1.0, "liver": 12.0}, "I-131")
    assert float(by_text["kidneys"][0]) == pytest.approx(float(by_number["kidneys"][0]), rel=1e-12)


def test_a_mass_of_zero():
    with pytest.raises(BadInput, match="the mass of thyroid must be above 0 g"):
        absorbed_dose(THYROID, "At-211", masses={"thyroid": 0.0})
    with pytest.raises(BadInput, match="a sphere of 0 g"):
        sphere_s("At-211", 0.0)


def test_a_simulation_without_what_doses_need(iodide):
    path = pbpk.simulate(pbpk.load_model("iodide"), pbpk.dose("1 MBq", into="iv"), [1.0])
    with pytest.raises(BadInput, match="lacks what doses need") as caught:
        absorbed_dose(path)
    assert "compartments(model)" in caught.value.hint
    with pytest.raises(BadInput, match="simulated with I-131, not I-123"):
        absorbed_dose(iodide, "I-123")


def test_a_simulation_says_what_to_add_to_it():
    model, given = pbpk.load_model("iodide"), pbpk.dose("1 MBq", into="iv")
    for options, lacking, hint in (
        ({"observe": compartments(model)}, "doses need: time-integrals", "add integrate=True to simulate"),
        ({"integrate": True}, "doses need: amount:", "add observe=pbpk.dosimetry.compartments(model) to simulate"),
    ):
        with pytest.raises(BadInput, match=lacking) as caught:
            absorbed_dose(pbpk.simulate(model, given, [1.0], **options))
        assert hint in caught.value.hint and "absorbed_dose(model, regimen, patients=" in caught.value.hint


def test_a_model_and_a_regimen_are_the_same_as_simulating_first(iodide):
    model, given = pbpk.load_model("iodide"), pbpk.dose("100 MBq", into="iv")
    in_one_call, by_name = absorbed_dose(model, given), absorbed_dose(model, regimen=given)
    explicit = absorbed_dose(iodide)
    for target in explicit.targets:
        assert float(in_one_call[target][0]) == pytest.approx(float(explicit[target][0]), rel=1e-9)
        assert float(by_name[target][0]) == float(in_one_call[target][0])
    assert float(in_one_call.gray()["thyroid"][0]) == pytest.approx(float(in_one_call["thyroid"][0]) * 0.1, rel=1e-12)
    assert absorbed_dose(model, given, "adult-female", nuclide="I-123").nuclide == "I-123"


def test_virtual_patients_have_doses_by_their_own_kinetics_and_masses():
    """In one call as in two; the mass of the thyroid remnant is a row of the model that differs between patients."""
    model, given = pbpk.load_model("nis_body"), pbpk.dose("1 MBq/kg", into="iv")
    patients = pbpk.virtual_patients(model, 4, seed=2)
    doses = absorbed_dose(model, given, patients=patients, masses={"kidneys": 300.0})
    path = pbpk.simulate(model, given, [0.0], patients=patients, observe=compartments(model), integrate=True)
    explicit = absorbed_dose(path, masses={"kidneys": 300.0})
    assert doses.targets == explicit.targets and "lesion_1" in doses.targets
    for radiation, by_target in explicit.by_radiation.items():
        for target, values in by_target.items():
            np.testing.assert_allclose(doses.by_radiation[radiation][target], values, rtol=1e-9)
    grams = np.asarray(doses.masses["thyroid"])
    row = patients.values[model.system.parameter_index("remnant.mass")]
    np.testing.assert_allclose(grams, row / 1e3, rtol=1e-12)
    assert len(np.unique(grams)) == 4 and doses["thyroid"].shape == (4,)


def test_a_model_whose_voids_have_no_end_is_followed_to_the_end_of_its_decay():
    """There is no exact integral to infinity then: one time after the dose would be refused."""
    model = pbpk.load_model("iodide", nuclide="I-123")
    given = pbpk.dose("1 MBq", into="iv") + pbpk.void("bladder_contents", into="urine", every="3.5 h")
    dose, free = absorbed_dose(model, given), absorbed_dose(model, pbpk.dose("1 MBq", into="iv"))
    assert any("decay alone" in note for note in dose.notes)
    assert float(dose["thyroid"][0]) == pytest.approx(float(free["thyroid"][0]), rel=0.05)
    assert not math.isclose(float(dose["bladder_wall"][0]), float(free["bladder_wall"][0]), rel_tol=0.01)


def test_patients_and_regimens_go_with_a_model(iodide):
    given = pbpk.dose("1 MBq", into="iv")
    with pytest.raises(BadInput, match="patients go with a model"):
        absorbed_dose(iodide, patients=iodide.patients)
    with pytest.raises(BadInput, match="a regimen goes with a model"):
        absorbed_dose(iodide, given)
    with pytest.raises(BadInput, match="two regimens are given"):
        absorbed_dose(pbpk.load_model("iodide"), given, regimen=given)
    with pytest.raises(BadInput, match="two nuclides are given"):
        absorbed_dose(THYROID, "At-211", nuclide="I-131")


def test_doses_of_lesions_have_as_many_values_as_there_are_patients():
    """Masses of a lesion alone differ: all targets have the axis of patients, and radiations add up."""
    dose = absorbed_dose({"node": 0.01}, "At-211", lesions=[Lesion("node", np.array([1.0, 2.0, 4.0]), "muscle")])
    assert {v.shape for v in dose.coefficient.values()} == {(3,)}
    alone = absorbed_dose({"node": 0.01}, "At-211", lesions=[Lesion("node", 2.0, "muscle")])
    for target in dose.targets:
        assert float(dose[target][1]) == pytest.approx(float(alone[target][0]), rel=1e-12)
        parts = sum(float(v[target][1]) for v in dose.by_radiation.values())
        assert parts == pytest.approx(float(dose[target][1]), rel=1e-12)


def test_some_targets_in_any_order_are_as_among_all(iodide):
    every = dose_over_time(iodide)
    some = dose_over_time(iodide, targets=("thyroid", "kidneys"))
    assert some.targets == ("thyroid", "kidneys")
    for target in some.targets:
        np.testing.assert_allclose(some.rate(target), every.rate(target), rtol=1e-12)


def test_a_model_without_decay_or_placement():
    with pytest.raises(BadInput, match="does not say which compartment"):
        absorbed_dose(pbpk.load_model("iv_one_compartment"))


def test_every_decay_is_counted_once():
    """Observables named like compartments (`liver`, with what it holds back) are not what is counted: in the body and out
    of it, every atom given decays once."""
    model = pbpk.load_model("nis_body")
    assert "liver" in model.system.observables and "liver" in model.system.names
    outside = tuple(f"amount:{n}" for n in ("urine", "faeces"))
    every = (*compartments(model), *outside)
    path = pbpk.simulate(model, pbpk.dose("1 MBq", into="iv"), [0.0], observe=every, integrate=True)
    assert path.to_infinity is not None
    inside = sum(float(v[0]) for v in absorbed_dose(path).tiac.hours["At-211"].values())
    out = sum(float(path.to_infinity[n][0]) for n in outside)
    assert inside + out == pytest.approx(1 / load_nuclide("At-211").decay_constant, rel=1e-9)
