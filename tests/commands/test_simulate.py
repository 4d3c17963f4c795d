"""`pbpk simulate`: one patient, a virtual population, or the records of a data file."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from .invoke import tree

ORAL = ("simulate", "oral_one_compartment", "--dose", "100 mg oral")
ICRP137 = {  # retention after intravenous I-131, decay included, of the ICRP 137 model
    "whole_body": [0.969, 0.694, 0.324, 0.197],
    "thyroid": [0.0523, 0.169, 0.266, 0.191],
}


def test_iodide_gives_the_figures_of_icrp_137(pbpk, tmp_path):
    words = ("--nuclide", "I-131", "--dose", "1 MBq to blood", "--times", "1,6,24,120 h")
    ran = pbpk("simulate", "iodide", *words, "--observe", "whole_body,thyroid", "--json")
    assert ran.code == 0 and ran.err == ""
    found = ran.json
    assert found["schema_version"] == 1 and found["nuclide"] == "I-131"
    assert found["time"] == {"unit": "h", "values": [1.0, 6.0, 24.0, 120.0]}
    assert list(found["observables"]) == ["whole_body", "thyroid"]
    assert found["units"] == {"whole_body": "MBq", "thyroid": "MBq"}
    for name, expected in ICRP137.items():
        assert [float(f"{x:.3g}") for x in found["observables"][name]] == expected
    assert tree(tmp_path) == {}, "one patient is printed and nothing is written"


def test_a_patient_is_made_by_setting_covariates(pbpk):
    """No thyroid, half the renal clearance: whole-body residence of radioiodine as in hormone withdrawal (22 h)."""
    words = ("simulate", "iodide", "--set", "ATHYREOTIC=1", "--set", "RENAL=0.5", "--dose", "1 MBq iv", "--times", "24")
    ran = pbpk(*words, "--integrate", "--observe", "whole_body,thyroid", "--json")
    assert ran.code == 0 and ran.err == ""
    assert ran.json["to_infinity"]["whole_body"] == pytest.approx(22.08, abs=0.01)
    assert ran.json["observables"]["thyroid"] == [0.0] and ran.json["to_infinity"]["thyroid"] == 0.0


def test_the_table_holds_the_same_numbers(pbpk):
    words = (*ORAL, "--times", "0:4:1 h")
    found, text = pbpk(*words, "--json").json, pbpk(*words)
    assert text.code == 0 and text.err == ""
    lines = text.out.splitlines()
    assert lines[0].split() == ["time", "(h)", "cp"] and lines[1].split() == ["(mg/L)"]
    read = np.array([[float(x) for x in line.split()] for line in lines[2:]])
    np.testing.assert_allclose(read[:, 0], found["time"]["values"])
    np.testing.assert_allclose(read[:, 1], found["observables"]["cp"], rtol=1e-4)


def test_several_doses_in_any_words_add_up(pbpk):
    times = ("--times", "1,7,30 h", "--json")

    def cp(*doses):
        words = [w for d in doses for w in ("--dose", d)]
        return np.array(pbpk("simulate", "oral_one_compartment", *words, *times).json["observables"]["cp"])

    first, second = cp("100 mg to depot"), cp("50 mg iv at 6 h")
    np.testing.assert_allclose(cp("100 mg oral", "50 mg iv at 6 h"), first + second, rtol=1e-10)
    np.testing.assert_allclose(cp("100 mg oral; 50 mg to central at 0.25 d"), first + second, rtol=1e-10)
    repeated = cp("100 mg oral every 12 h x 3")
    np.testing.assert_allclose(repeated, cp("100 mg oral", "100 mg oral at 12 h", "100 mg oral at 24 h"), rtol=1e-10)
    np.testing.assert_allclose(cp("100 mg oral every 12 h x 1"), first, rtol=1e-12)
    with_unit = cp("0.1 g orally")
    np.testing.assert_allclose(with_unit, first, rtol=1e-12)


def test_an_infusion_has_its_closed_form(pbpk):
    set_ = ("--set", "CL=3", "--set", "V=30")
    words = ("simulate", "oral_one_compartment", "--dose", "60 mg iv over 2 h", "--times", "1,2,5 h", *set_, "--json")
    cp = pbpk(*words).json["observables"]["cp"]
    plateau = 30 / 3
    end = plateau * (1 - math.exp(-0.2))
    assert cp == pytest.approx([plateau * (1 - math.exp(-0.1)), end, end * math.exp(-0.3)], rel=1e-9)


def test_set_takes_any_unit(pbpk):
    words = (*ORAL, "--times", "1,6 h", "--json", "--set")
    assert pbpk(*words, "CL=50 mL/min").json["observables"] == pbpk(*words, "CL=3").json["observables"]


def test_out_takes_one_patients_table(pbpk, refused, tmp_path):
    ran = pbpk(*ORAL, "--times", "0:3:1", "--out", "a/b", "--json")
    assert ran.code == 0 and ran.json["folder"] == "a/b" and "wrote a/b" in ran.err
    names = ("command.txt", "curves.png", "run.json", "simulation.csv")
    assert set(tree(tmp_path)) == {"a", "a/b"} | {f"a/b/{n}" for n in names}
    table = pd.read_csv(tmp_path / "a/b/simulation.csv")
    assert table["cp"].tolist() == pytest.approx(ran.json["observables"]["cp"], rel=1e-12)
    assert json.loads((tmp_path / "a/b/run.json").read_text())["units"] == {"cp": "mg/L"}
    refused(3, "a/b", "never overwritten")(*ORAL, "--times", "0:3:1", "--out", "a/b")


def test_a_population_is_written_as_tables_and_a_figure(pbpk, tmp_path):
    words = (*ORAL, "--times", "0:24:2 h", "--patients", "40", "--seed", "3")
    ran = pbpk(*words, "--json")
    assert ran.code == 0
    found = ran.json
    assert (found["patients"], found["failed"], found["seed"]) == (40, 0, 3)
    folder = tmp_path / found["folder"]
    assert found["folder"] == "simulations/oral_one_compartment/001"
    names = {"bands.parquet", "command.txt", "cp.png", "curves.parquet", "patients.parquet", "run.json"}
    assert {p.name for p in folder.iterdir()} == names
    assert (folder / "cp.png").read_bytes().startswith(b"\x89PNG")

    curves = pd.read_parquet(folder / "curves.parquet")
    assert list(curves.columns) == ["patient", "time", "cp"] and len(curves) == 40 * 13
    by_time = curves.groupby("time")["cp"]
    bands = pd.read_parquet(folder / "bands.parquet").set_index("time")
    quantiles = ["q05", "q25", "q50", "q75", "q95"]
    assert list(bands.columns) == ["observable", *quantiles]
    assert (np.diff(bands[quantiles].to_numpy(), axis=1) >= 0).all(), "a higher quantile is nowhere lower"
    for q, name in zip((0.05, 0.25, 0.5, 0.75, 0.95), quantiles, strict=True):
        np.testing.assert_allclose(bands[name], by_time.quantile(q), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found["quantiles"]["cp"][name], bands[name], rtol=1e-12)
    np.testing.assert_allclose(found["observables"]["cp"], bands["q50"], rtol=1e-12)

    patients = pd.read_parquet(folder / "patients.parquet")
    assert patients["patient"].tolist() == list(range(1, 41)) and (patients["result"] == 0).all()
    one, patient = curves[curves["patient"] == 7], patients.set_index("patient").loc[7]
    ka, k = patient["KA"], patient["CL"] / patient["V"]
    closed = 100 * ka / patient["V"] / (ka - k) * (np.exp(-k * one["time"]) - np.exp(-ka * one["time"]))
    np.testing.assert_allclose(one["cp"], closed, rtol=1e-9, atol=1e-12)

    before = tree(tmp_path)
    assert pbpk(*words, "--json").json["folder"] == "simulations/oral_one_compartment/002"
    assert {k: v for k, v in tree(tmp_path).items() if k in before} == before


def patients(pbpk, tmp_path, *words):
    ran = pbpk(*ORAL, "--times", "1,6 h", "--json", *words)
    assert ran.code == 0, ran.err
    folder = tmp_path / ran.json["folder"]
    return [pd.read_parquet(folder / f"{name}.parquet") for name in ("patients", "curves")]


def test_patient_n_is_the_same_whatever_the_number_of_patients(pbpk, tmp_path):
    few, few_curves = patients(pbpk, tmp_path, "--patients", "10", "--seed", "2")
    many, many_curves = patients(pbpk, tmp_path, "--patients", "50", "--seed", "2")
    pd.testing.assert_frame_equal(few, many.head(10), check_exact=True)
    pd.testing.assert_frame_equal(few_curves, many_curves.head(20), rtol=1e-12)
    others, _ = patients(pbpk, tmp_path, "--patients", "10", "--seed", "4")
    assert (others["CL"] != few["CL"]).all()


def test_draws_do_not_depend_on_the_solver(pbpk, tmp_path):
    exact, exact_curves = patients(pbpk, tmp_path, "--patients", "8")
    general, general_curves = patients(pbpk, tmp_path, "--patients", "8", "--solver", "tsit5")
    pd.testing.assert_frame_equal(exact, general, check_exact=True)
    np.testing.assert_allclose(general_curves["cp"], exact_curves["cp"], rtol=1e-5)


def test_keep_bands_leaves_the_curves_out(pbpk, tmp_path):
    folder = tmp_path / "kept"
    assert pbpk(*ORAL, "--times", "1,6", "--patients", "5", "--keep", "bands", "--out", "kept").code == 0
    assert "curves.parquet" not in {p.name for p in folder.iterdir()} and (folder / "bands.parquet").exists()


def test_a_dose_per_kg_is_each_patients_own(pbpk, tmp_path):
    words = ("--times", "0,24 h", "--observe", "whole_body", "--json")
    population = ("--patients", "6", "--seed", "5")
    per_kg = pbpk("simulate", "iodide", "--dose", "2 MBq/kg to blood", *words, *population).json
    whole = pbpk("simulate", "iodide", "--dose", "2 MBq to blood", *words, *population).json
    weight = pd.read_parquet(tmp_path / per_kg["folder"] / "patients.parquet")["WT"].to_numpy()
    assert weight.std() > 1
    per_kg, whole = (pd.read_parquet(tmp_path / r["folder"] / "curves.parquet") for r in (per_kg, whole))
    np.testing.assert_allclose(per_kg["whole_body"], whole["whole_body"] * np.repeat(weight, 2), rtol=1e-10)
    np.testing.assert_allclose(per_kg["whole_body"][per_kg["time"] == 0], 2 * weight, rtol=1e-10)


def test_a_patient_who_cannot_be_solved_is_named_and_the_exit_code_is_1(pbpk, tmp_path):
    """An infusion of a modelled duration of nothing: refused for that patient, before any solver is asked again."""
    (tmp_path / "d.csv").write_text("ID,TIME,AMT,RATE,CMT\n7,0,100,-2,central\n7,1,.,.,.\n7,2,.,.,.\n")
    ran = pbpk("simulate", "oral_one_compartment", "--data", "d.csv", "--set", "D2=0", "--json")
    assert ran.code == 1 and ran.json["failed"] == 1 and ran.json["solved_again"] == 0
    assert "ID 7" in ran.err and "a modelled rate or duration is not above zero" in ran.err
    assert ran.json["observables"] == {"cp": [None, None, None]}


# -- data files ----------------------------------------------------------------------------------------------------------


def bolus(t, dose, lag, volume=31.82, clearance=2.751):
    """The model's typical patient after `dose` into `central`, `lag` h late."""
    t = np.asarray(t) - lag
    return np.where(t >= 0, dose / volume * np.exp(-clearance / volume * t), 0.0)


@pytest.fixture
def from_data(pbpk, tmp_path):
    def run(text, *words):
        (tmp_path / "records.csv").write_text(text)
        ran = pbpk("simulate", "oral_one_compartment", "--data", "records.csv", *words, "--json")
        assert ran.code == 0, ran.err
        return ran.json

    return run


LAGGED = "ID,TIME,AMT,EVID,CMT,lagt\n" + "".join(
    f"{i},0,{dose},1,2,{lag}\n" + "".join(f"{i},{t},0,0,2,{lag}\n" for t in (0.5, 1, 2, 8))
    for i, dose, lag in ((1, 100, 0.75), (2, 200, 0))
)


def test_a_column_may_hold_a_parameter_under_another_name(from_data):
    found = from_data(LAGGED, "--column", "ALAG2=lagt")
    assert found["schema_version"] == 1
    assert found["ID"] == ["1"] * 5 + ["2"] * 5
    assert found["time"] == {"unit": "h", "values": [0.0, 0.5, 1.0, 2.0, 8.0] * 2}
    t = np.array([0.5, 1, 2, 8])
    cp = np.array(found["observables"]["cp"])
    np.testing.assert_allclose(cp[1:5], bolus(t, 100, 0.75), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(cp[6:], bolus(t, 200, 0), rtol=1e-9)
    without = from_data(LAGGED)
    np.testing.assert_allclose(without["observables"]["cp"][1:5], bolus(t, 100, 0), rtol=1e-9)


@pytest.mark.parametrize(
    ("given", "words"), [("3", ()), ("50", ("--unit", "CL=mL/min")), ("0.05", ("--unit", "cl=L/min"))]
)
def test_a_column_named_like_a_parameter_overrides_it(from_data, given, words):
    text = f"ID,TIME,AMT,CMT,CL\n1,0,100,central,{given}\n1,4,.,,{given}\n2,0,100,central,.\n2,4,.,,.\n"
    cp = from_data(text, *words)["observables"]["cp"]
    assert cp[1] == pytest.approx(float(bolus(4, 100, 0, clearance=3.0)), rel=1e-9)
    assert cp[3] == pytest.approx(float(bolus(4, 100, 0)), rel=1e-9), "an empty cell leaves the model's own value"


def test_units_of_columns(from_data):
    text = "ID,TIME,AMT,CMT\n1,0,0.1,central\n1,240,.,\n"
    found = from_data(text, "--unit", "AMT=g", "--unit", "TIME=min")
    assert found["time"]["values"] == [0.0, 4.0], "times are shown in the model's unit"
    assert found["observables"]["cp"][1] == pytest.approx(float(bolus(4, 100, 0)), rel=1e-9)


@pytest.mark.parametrize(("weight", "words"), [("1.3", ()), ("1300", ("--unit", "WGT=g"))])
def test_a_covariates_unit_is_turned_into_the_models(pbpk, tmp_path, weight, words):
    (tmp_path / "d.csv").write_text(f"ID,TIME,AMT,WGT\n1,0,20,{weight}\n1,24,.,{weight}\n")
    found = pbpk("simulate", "iv_one_compartment", "--data", "d.csv", "--json", *words).json
    expected = 20 / (0.9843 * 1.3) * math.exp(-0.004696 / 0.9843 * 24)
    assert found["observables"]["cp"][1] == pytest.approx(expected, rel=1e-9)


def test_data_print_a_table_and_out_writes_it(pbpk, tmp_path):
    (tmp_path / "records.csv").write_text(LAGGED)
    words = ("simulate", "oral_one_compartment", "--data", "records.csv")
    plain = pbpk(*words)
    assert plain.code == 0 and plain.out.splitlines()[0] == "ID,TIME,cp" and len(plain.out.splitlines()) == 11
    written = pbpk(*words, "--out", "written")
    assert written.out == plain.out
    assert {p.name for p in (tmp_path / "written").iterdir()} == {"command.txt", "simulation.csv"}
    assert (tmp_path / "written/simulation.csv").read_text() == plain.out


RISING = "ID,TIME,AMT,CMT,CL\n1,0,100,central,3\n1,4,.,,6\n1,8,.,,1\n"


@pytest.mark.parametrize(("words", "area"), [((), 6 * 4 + 1 * 4), (("--covariates-over-time", "locf"), 3 * 4 + 6 * 4)])
def test_which_records_values_hold_between_two(from_data, words, area):
    cp = from_data(RISING, *words)["observables"]["cp"]
    assert cp[2] == pytest.approx(100 / 31.82 * math.exp(-area / 31.82), rel=1e-9)


def test_a_void_empties_the_depot_with_words_and_with_data(pbpk, from_data):
    """At 2 h all but a tenth of what is not absorbed yet leaves: from then on cp is that of the two parts."""
    words = ("--void", "depot at 2 h leaving 10 %")
    ka, k = 1.591, 2.751 / 31.82

    def cp(t, a):
        return a / 31.82 * ka / (ka - k) * (math.exp(-k * t) - math.exp(-ka * t))

    left = 100 * math.exp(-2 * ka)
    expected = [cp(2, 100), cp(2, 100) * math.exp(-6 * k) + cp(6, 0.1 * left)]
    by_words = pbpk(*ORAL, "--times", "2,8 h", *words, "--json").json["observables"]["cp"]
    assert by_words == pytest.approx(expected, rel=1e-9)
    text = "ID,TIME,AMT,CMT\n1,0,100,depot\n1,2,.,\n1,8,.,\n"
    assert from_data(text, *words)["observables"]["cp"][1:] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*ORAL, "--times", "1 h", "--void", "depot now and then"), "every INTERVAL"),
        ((*ORAL, "--times", "1 h", "--void", "dept every 2 h"), "did you mean `depot`"),
    ],
)
def test_voids_that_cannot_be_meant(refused, words, said):
    refused(3, said)(*words)


@pytest.mark.parametrize(
    ("row", "words", "said"),
    [
        ("1,0,100,depot,1,.,1", (), "SS 1 needs an interval"),
        ("1,0,0,depot,1,12,1", (), "EVID 1 needs a dose"),
        ("1,0,100,depot,1,12,1", ("--covariates-over-time", "linear"), "nocb"),
        ("1,0,100,depot,1,12,1", ("--void", "depot every 5 h"), "cannot be combined with voids"),
    ],
)
def test_dosing_that_cannot_be_meant(refused, tmp_path, row, words, said):
    (tmp_path / "d.csv").write_text(f"ID,TIME,AMT,CMT,EVID,II,SS\n{row}\n1,8,.,.,0,.,.\n")
    refused(3, said)("simulate", "oral_one_compartment", "--data", "d.csv", *words)


def test_a_modelled_rate_of_nothing_is_a_warning_and_a_failure(pbpk, tmp_path):
    (tmp_path / "d.csv").write_text("ID,TIME,AMT,CMT,RATE\n1,0,100,central,-1\n1,8,.,,.\n")
    words = ("simulate", "oral_one_compartment", "--data", "d.csv")
    failed = pbpk(*words)
    assert failed.code == 1 and "ID 1: a modelled rate or duration is not above zero" in failed.err
    assert pbpk(*words, "--set", "R2=50").code == 0


def test_a_rate_that_the_model_has_no_parameter_for(refused, tmp_path):
    (tmp_path / "d.csv").write_text("ID,TIME,AMT,RATE\n1,0,100,-2\n1,8,.,.\n")
    refused(3, "row 2 (ID 1)", "modelled duration, but the compartment")(
        "simulate", "iv_one_compartment", "--data", "d.csv"
    )


# -- time-integrals, precision, processes, failures ----------------------------------------------------------------------


def test_integrals_of_one_patient(pbpk, tmp_path):
    words = (*ORAL, "--times", "0:24:8 h", "--integrate")
    found = pbpk(*words, "--json", "--out", "one").json
    ka, k, v = 1.591, 2.751 / 31.82, 31.82
    t = np.array([0, 8, 16, 24])
    expected = 100 * ka / v / (ka - k) * ((1 - np.exp(-k * t)) / k - (1 - np.exp(-ka * t)) / ka)
    assert found["integrals"]["cp"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found["integral_units"] == {"cp": "mg/L·h"}
    assert found["to_infinity"] == {"cp": pytest.approx(100 / 2.751, rel=1e-9)}
    table = pd.read_csv(tmp_path / "one/simulation.csv")
    assert table["cp_integral"].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert table["cp_to_infinity"].tolist() == pytest.approx([100 / 2.751] * 4, rel=1e-9)
    printed = pbpk(*words).out.splitlines()
    assert printed[0].split()[-1] == "cp_integral" and printed[-1] == "cp, integral to infinity: 36.35 mg/L·h"
    assert "integrals" not in pbpk(*ORAL, "--times", "0:24:8 h", "--json").json


def test_integrals_of_a_population_in_single_precision(pbpk, tmp_path):
    words = (*ORAL, "--times", "0,8 h", "--patients", "20", "--integrate", "--json", "--precision")
    found, rough = (pbpk(*words, precision).json for precision in ("float64", "float32"))
    folder = tmp_path / found["folder"]
    patients, curves = pd.read_parquet(folder / "patients.parquet"), pd.read_parquet(folder / "curves.parquet")
    np.testing.assert_allclose(patients["cp_to_infinity"], 100 / patients["CL"], rtol=1e-9)
    assert (patients["solved_again"] == 0).all()
    assert found["to_infinity"]["cp"] == pytest.approx(patients["cp_to_infinity"].median())
    assert found["integrals"]["cp"] == pytest.approx(curves.groupby("time")["cp_integral"].median().tolist())
    assert rough["to_infinity"]["cp"] == pytest.approx(found["to_infinity"]["cp"], rel=2e-5)
    assert rough["to_infinity"] != found["to_infinity"]


def test_why_there_is_no_integral_to_infinity(pbpk):
    ran = pbpk(*ORAL, "--times", "0,8 h", "--integrate", "--void", "depot every 2 h", "--json")
    assert ran.code == 0 and ran.json["to_infinity"] is None and "go on for ever" in ran.err


def test_those_solved_again_are_counted(pbpk, tmp_path):
    words = ("--times", "1,6", "--solver", "tsit5", "--json", "--set")
    ran = pbpk(*ORAL, *words, "KA=100000")
    assert (ran.code, ran.json["failed"], ran.json["solved_again"]) == (0, 0, 1)
    assert "1 patient solved again by a stricter method, 1 with success" in ran.err
    (tmp_path / "d.csv").write_text("ID,TIME,AMT,CMT\n1,0,100,depot\n1,1,.,\n1,6,.,\n")
    data = pbpk(
        "simulate", "oral_one_compartment", "--data", "d.csv", "--solver", "tsit5", "--json", "--set", "KA=100000"
    )
    assert (data.code, data.json["failed"], data.json["solved_again"]) == (0, 0, 1)
    assert data.json["observables"]["cp"][1:] == pytest.approx(ran.json["observables"]["cp"], rel=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--precision", "float16"), "float64 or float32"),
        (("--data", "d.csv", "--integrate"), "leave them out"),
        (("--data", "d.csv", "--processes", "2"), "leave them out"),
    ],
)
def test_options_that_cannot_be_meant(refused, words, said):
    refused(2, said)("simulate", "oral_one_compartment", *words)
