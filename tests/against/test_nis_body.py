"""The whole body against the reference models it is to reduce to, and against what is known of its transport.

Reference retention: models/iodide (ICRP 137, Leggett 2010) and models/astatide_reference (surrogate of ICRP 151). rhTSH:
label of Thyrogen, peak 10 h (3 to 24) after 0.9 mg, 116 mU/L.
"""

import numpy as np
import pytest

import pbpk
from pbpk import load_model
from pbpk.errors import BadInput
from pbpk.population.patients import virtual_patients

PURE = {"purity": 1.0}
MATCHED = {"thyroid": "intact", "lesions": "none"}


def curves(model, doses, times, observe, **how):
    path = pbpk.simulate(model, doses, np.asarray(times, float), observe=observe, **how)
    assert not np.asarray(path.result).any()
    return {name: np.asarray(value).squeeze() for name, value in path.observables.items()}


@pytest.mark.parametrize("reference, tracer, days", [("iodide", "iodide", 5), ("astatide_reference", "astatide", 2)])
def test_reduces_to_the_reference_retention(reference, tracer, days):
    times = [1, 3, 6, 12, 24, 24 * days]
    seen = ["whole_body", "thyroid"]
    dose = pbpk.dose("1 MBq", into="iv")
    theirs = curves(load_model(reference), dose, times, seen)
    ours = curves(load_model("nis_body", options=MATCHED | {"tracer": tracer}, values=PURE), dose, times, seen)
    for name in seen:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0.10, err_msg=name)


VARIANTS = [
    {"lesions": "neck,lung,bone,liver,brain"},
    {"retention": "bound", "competitors": "kinetic", "drivers": "rhtsh,redifferentiation,damage,growth"},
    {"daughters": "bismuth"},
    {"daughters": "chain"},
    {"tracer": "pertechnetate", "thyroid": "intact"},
    {"tracer": "iodide", "thyroid": "none", "retention": "nis_and_other"},
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: ",".join(o.values()))
def test_nothing_is_lost(options):
    model = load_model("nis_body", options=options)
    seen = curves(model, pbpk.dose("245 MBq", into="iv"), [0.1, 1, 24, 200, 1000], ["balance"])
    np.testing.assert_allclose(seen["balance"], 245.0, rtol=1e-9)


def test_competitors_are_conserved_too():
    model = load_model("nis_body", options={"competitors": "kinetic"}, values={"diet.iodine": 1.0})
    regimen = pbpk.dose("1 umol", into="perchlorate_oral")
    seen = curves(model, regimen, [1, 24, 100], ["perchlorate_gut", "perchlorate", "perchlorate_excreted"])
    np.testing.assert_allclose(sum(seen.values()), 1000.0, rtol=1e-9)


def test_is_linear_at_tracer_mass_and_takes_the_fast_path():
    from pbpk.solve.choose import choose_solver

    system = load_model("nis_body").system
    assert not system.nonlinear and choose_solver(system).name == "resolvent"
    assert load_model("nis_body", options={"competitors": "kinetic"}).system.nonlinear


def test_uptake_does_not_depend_on_the_dose_of_a_tracer():
    """1 kBq to 10 GBq, with the tracer's own mass in the law (10 GBq of 131I are 17 nmol)."""
    options = {"tracer": "iodide", "thyroid": "intact", "competitors": "kinetic"}
    model = load_model("nis_body", options=options)
    seen = [
        curves(model, pbpk.dose(f"{size} MBq", into="iv"), [6, 24], ["thyroid", "lesion_1"])
        for size in (1e-3, 1.0, 1e4)
    ]
    for name in ("thyroid", "lesion_1"):
        share = [s[name] / size for s, size in zip(seen, (1e-3, 1.0, 1e4), strict=True)]
        np.testing.assert_allclose(share[1:], [share[0]] * 2, rtol=1e-4)


def test_constant_and_kinetic_competitors_agree_where_there_are_none():
    seen = [
        curves(
            load_model("nis_body", options={"competitors": kind}, values=PURE),
            pbpk.dose("245 MBq", into="iv"),
            [1, 6, 24],
            None,
        )
        for kind in ("constant", "kinetic")
    ]
    # The diet's iodide, some 24 nmol/L, is a thousandth of Km.
    for name in ("lesion_1", "thyroid", "salivary_glands", "whole_body"):
        np.testing.assert_allclose(seen[0][name], seen[1][name], rtol=2e-3)


def blocked(word, amounts):
    """Thyroid content 24 h after 131I, with the blocker an hour before."""
    model = load_model("nis_body", options={"tracer": "iodide", "thyroid": "intact", "competitors": "kinetic"})
    out = []
    for size in amounts:
        regimen = pbpk.dose(f"{size} umol", into=word) + pbpk.dose("1 MBq", into="iv", at="1 h")
        out.append(float(curves(model, regimen, [25], ["thyroid"])["thyroid"]))
    return np.array(out)


@pytest.mark.parametrize(
    "word, amounts", [("potassium_iodide", (1e-3, 10, 100, 790, 8000)), ("perchlorate_oral", (1e-3, 10, 100, 2000))]
)
def test_blockade_grows_with_the_dose_of_the_blocker(word, amounts):
    left = blocked(word, amounts)
    assert (np.diff(left) < 0).all()
    assert left[-1] < 0.5 * left[0]


def test_potassium_iodide_blocks_the_thyroid():
    """100 to 200 mg an hour before 131I prevent more than 98 % of its uptake (Blum & Eisenbud 1967, JAMA 200:1036)."""
    none, blocked_by_131_mg = blocked("potassium_iodide", (1e-3, 790))
    assert blocked_by_131_mg < 0.02 * none


def test_rhtsh_peaks_as_the_label_says():
    model = load_model("nis_body", options={"drivers": "rhtsh"})
    t = np.arange(0, 72.25, 0.25)
    level = curves(model, pbpk.dose("0.9 mg", into="rhtsh_im"), t, ["rhtsh"])["rhtsh"]
    assert t[level.argmax()] == pytest.approx(10, abs=0.5)
    assert level.max() * 10e3 == pytest.approx(116, rel=0.01)  # 10 IU/mg: mg/L to mU/L


def test_rhtsh_raises_uptake_of_lesions_and_not_of_glands():
    model = load_model("nis_body", options={"drivers": "rhtsh"})
    at = pbpk.dose("245 MBq", into="iv", at="48 h")
    with_it = curves(model, pbpk.dose("0.9 mg", into="rhtsh_im", ii="24 h", addl=1) + at, [54, 72], None)
    without = curves(model, at, [54, 72], None)
    assert (with_it["lesion_1"] > 1.1 * without["lesion_1"]).all()
    np.testing.assert_allclose(with_it["salivary_glands"], without["salivary_glands"], rtol=0.01)


def test_a_low_iodine_diet_raises_uptake():
    low, usual = (
        curves(load_model("nis_body", values={"diet.iodine": d}), pbpk.dose("245 MBq", into="iv"), [24], ["lesion_1"])[
            "lesion_1"
        ]
        for d in (394, 1182)
    )
    assert 1.3 * usual < low < 2 * usual


def test_impurity_is_not_taken_up():
    dose = pbpk.dose("245 MBq", into="iv")
    full, half = (
        curves(load_model("nis_body", values={"purity": x}), dose, [6], ["lesion_1", "salivary_glands"])
        for x in (1.0, 0.6)
    )
    for name in full:
        assert half[name] / full[name] == pytest.approx(0.6, rel=1e-9)


def test_207bi_left_behind():
    """10.9 Bq of 207Bi from a MBq of 211At: branch times the ratio of half-lives (facts of ENSDF: 7.214 h, 41.8 %)."""
    model = load_model("nis_body", options={"daughters": "bismuth"}, values={"bismuth.excretion": 0.0})
    left = curves(model, pbpk.dose("1 MBq", into="iv"), [200], ["bismuth_207"])["bismuth_207"]
    born_inside = 1 - curves(load_model("nis_body"), pbpk.dose("1 MBq", into="iv"), [1], ["urine"])["urine"]
    assert 0.3 * 10.4e-6 < float(left) < 10.9e-6 and born_inside > 0.9


def test_211po_is_in_equilibrium_and_207bi_is_left():
    """58.2 % of decays go by 211Po; 10.9 Bq of 207Bi come from a MBq of 211At: branch times the ratio of half-lives."""
    model = load_model("nis_body", options={"daughters": "chain"})
    seen = curves(
        model, pbpk.dose("1 MBq", into="iv"), [6, 200], ["polonium_211", "bismuth_207", "whole_body", "urine", "faeces"]
    )
    parent = seen["whole_body"][0] + seen["urine"][0] + seen["faeces"][0]
    assert seen["polonium_211"][0] / parent == pytest.approx(0.582, rel=1e-3)
    assert seen["bismuth_207"][1] == pytest.approx(10.9e-6, rel=5e-3)


def test_female_and_mouse_are_other_sizes_of_the_same_body():
    woman = load_model("nis_body", values={"SEX": 1, "WT": 60})
    p = pbpk.population.patients.build_typical_patient(woman).values[:, 0]
    assert p[woman.system.parameter_index("body.size")] == pytest.approx(1.0, rel=1e-12)
    assert p[woman.system.parameter_index("liver.V")] == pytest.approx(1.4 / 1.05, rel=1e-12)
    mouse = load_model("nis_body", values={"WT": 0.025}, options={"lesions": "none"})
    slow, fast = (
        curves(m, pbpk.dose("1 MBq", into="iv"), [3], ["urine"])["urine"] for m in (load_model("nis_body"), mouse)
    )
    assert fast > 1.5 * slow  # times of life are 7 times shorter


def test_lesion_uptake_is_nearly_in_proportion_to_expression():
    """While the lesion takes a small part of what flows by: elasticity just below 1."""
    low, high = (
        curves(
            load_model("nis_body", values=PURE | {"lesion_1.expression": x}),
            pbpk.dose("1 MBq", into="iv"),
            [6],
            ["lesion_1_cells"],
        )
        for x in (0.05, 0.0505)
    )
    assert 0.9 < np.log(high["lesion_1_cells"] / low["lesion_1_cells"]) / np.log(1.01) < 1.0


def test_virtual_patients_differ():
    model = load_model("nis_body")
    path = pbpk.simulate(
        model,
        pbpk.dose("245 MBq", into="iv"),
        np.array([24.0]),
        observe=["lesion_1", "balance"],
        patients=virtual_patients(model, 32),
    )
    assert not np.asarray(path.result).any()
    lesion = np.log(np.asarray(path.observables["lesion_1"]).ravel())
    assert 0.5 < lesion.std() < 3
    np.testing.assert_allclose(np.asarray(path.observables["balance"]).ravel(), 245.0, rtol=1e-9)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"plasma.V": -3}, "follows from other parameters"),
        ({"blood.mass": "-5 kg"}, "volume of"),
        ({"muscle.flow": 0.9}, "flows add up to more than the cardiac output"),
        ({"muscle.mass": "80 kg"}, "masses add up to more than the body"),
        ({"lesion_1.mass": "20 kg"}, "lesion 1 is heavier"),
        ({"purity": 1.2}, "between 0 and 1"),
    ],
)
def test_what_no_body_can_be(values, words):
    with pytest.raises(BadInput, match=words):
        load_model("nis_body", values=values)
