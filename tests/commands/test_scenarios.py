"""`pbpk simulate --vary`: several scenarios in one call, each the same as when it is simulated alone."""

import importlib.util
import json
import sys

import numpy as np
import pandas as pd
import pytest

from pbpk.commands.scenarios import read_doses
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide
from pbpk.report.curves import COLOURS, DASHES, CurvesPanel, _choose_looks, _choose_scale, _panel_kind, draw_curves

from .invoke import ROOT, tree

ORAL = ("simulate", "oral_one_compartment")
DOSE = ("--dose", "100 mg oral")
AT = ("--times", "1,6,24 h")


@pytest.fixture
def scenarios(pbpk):
    """`scenarios(*words)`: by name, what `--json` gives of each."""

    def run(*words):
        ran = pbpk(*words, "--json")
        assert ran.code == 0, ran.err
        return {s["name"]: s for s in ran.json["scenarios"]}

    return run


def cp(pbpk, *words):
    return pbpk(*ORAL, *AT, *words, "--json").json["observables"]["cp"]


def test_each_scenario_is_what_it_is_alone(pbpk, scenarios):
    found = scenarios(*ORAL, *DOSE, *AT, "--vary", "CL=1|50 mL/min")
    assert list(found) == ["CL=1", "CL=50 mL/min"]
    for name, s in found.items():
        assert s["settings"] == {"CL": name.removeprefix("CL=")}
        assert s["observables"]["cp"] == cp(pbpk, *DOSE, "--set", name)


def test_two_cross(pbpk, scenarios):
    found = scenarios(*ORAL, *DOSE, *AT, "--vary", "CL=1|2", "--vary", "V = 20 | 30 | 40")
    assert len(found) == 6 and list(found)[:2] == ["CL=1, V=20", "CL=1, V=30"]
    assert found["CL=2, V=30"]["settings"] == {"CL": "2", "V": "30"}
    assert found["CL=2, V=30"]["observables"]["cp"] == cp(pbpk, *DOSE, "--set", "CL=2", "--set", "V=30")


def test_doses_are_given_beside_those_of_every_scenario(pbpk, scenarios):
    found = scenarios(*ORAL, *DOSE, *AT, "--vary", "dose=none|50 mg iv at 2 h + 1e+1 mg oral at 3 h")
    assert found["dose=none"]["observables"]["cp"] == cp(pbpk, *DOSE)
    more = ("--dose", "50 mg iv at 2 h", "--dose", "10 mg oral at 3 h")
    assert found["dose=50 mg iv at 2 h + 1e+1 mg oral at 3 h"]["observables"]["cp"] == cp(pbpk, *DOSE, *more)
    alone = scenarios(*ORAL, *AT, "--vary", "dose=100 mg iv|100 mg oral")
    assert alone["dose=100 mg oral"]["observables"]["cp"] == cp(pbpk, *DOSE)


def test_doses_are_joined_by_plus_or_semicolon():
    assert read_doses("1 mg iv+2 mg oral") == read_doses("1 mg iv ; 2 mg oral")
    assert read_doses("1e+2 mg iv").doses[0].amount == 100
    assert read_doses("None").doses == ()


def test_nuclides_and_covariates(pbpk, scenarios):
    words = ("simulate", "iodide", "--dose", "1 MBq iv", "--times", "24 h", "--observe", "whole_body")
    nuclides = scenarios(*words, "--vary", "nuclide=I-131|I-123")
    assert [s["nuclide"] for s in nuclides.values()] == ["I-131", "I-123"]
    a, b = (s["observables"]["whole_body"][0] for s in nuclides.values())
    decay = load_nuclide("I-123").decay_constant - load_nuclide("I-131").decay_constant
    assert b == pytest.approx(a * np.exp(-24 * decay), rel=1e-9)
    patients = scenarios(*words, "--vary", "RENAL=1|0.5")
    alone = pbpk(*words, "--set", "RENAL=0.5", "--json").json
    assert patients["RENAL=0.5"]["observables"] == alone["observables"] != patients["RENAL=1"]["observables"]


def test_options_and_observables_that_only_some_scenarios_have(pbpk, tmp_path):
    words = ("simulate", "nis_body", "--dose", "1 MBq iv", "--times", "0,6 h", "--observe", "blood,lesion_2,lesion_1")
    ran = pbpk(*words, "--vary", "option.lesions=none|neck,lung", "--out", "two", "--json")
    assert ran.code == 0, ran.err
    none, both = ran.json["scenarios"]
    assert none["name"] == "lesions=none" and none["settings"] == {"option.lesions": "none"}
    assert list(none["observables"]) == ["blood"] and list(both["observables"]) == ["blood", "lesion_2", "lesion_1"]
    assert "lesion_2 is left out where there is none: lesions=none" in ran.err
    assert len(ran.json["notes"]) == 2 and set(ran.json["units"]) == {"blood", "lesion_1", "lesion_2"}
    table = pd.read_csv(tmp_path / "two/simulation.csv")
    assert list(table.columns) == ["scenario", "time", "blood", "lesion_2", "lesion_1"]
    assert table.loc[table["scenario"] == "lesions=none", "lesion_1"].isna().all()
    assert table.loc[table["scenario"] == "lesions=neck,lung", "lesion_1"].tolist() == both["observables"]["lesion_1"]


def test_the_table_has_a_scenario_column(pbpk):
    ran = pbpk(*ORAL, *DOSE, *AT, "--vary", "CL=1|20", "--integrate")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["scenario", "time", "(h)", "cp", "cp_integral"]
    assert lines[1].split() == ["(mg/L)", "(mg/L·h)"]
    assert [line.split()[:2] for line in lines[2:8]] == [[f"CL={c}", t] for c in (1, 20) for t in ("1", "6", "24")]
    assert lines[-1] == "CL=20: cp, integral to infinity: 5 mg/L·h"


def test_the_folder_of_scenarios(pbpk, tmp_path):
    ran = pbpk(*ORAL, *DOSE, *AT, "--vary", "CL=1|2", "--out", "both", "--json")
    assert ran.json["folder"] == "both" and "wrote both" in ran.err
    folder = tmp_path / "both"
    assert {p.name for p in folder.iterdir()} == {"command.txt", "curves.png", "run.json", "simulation.csv"}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((folder / "run.json").read_text())
    assert [s["settings"] for s in record["scenarios"]] == [{"CL": "1"}, {"CL": "2"}]
    assert "--vary" in (folder / "command.txt").read_text()


def test_a_population_has_the_same_patients_in_every_scenario(pbpk, tmp_path):
    words = (*ORAL, *DOSE, *AT, "--patients", "30", "--seed", "4")
    ran = pbpk(*words, "--vary", "V=20|40", "--json")
    assert ran.code == 0, ran.err
    folder = tmp_path / ran.json["folder"]
    names = {"bands.parquet", "command.txt", "curves.parquet", "curves.png", "patients.parquet", "run.json"}
    assert {p.name for p in folder.iterdir()} == names
    patients = pd.read_parquet(folder / "patients.parquet")
    first, second = (g.reset_index(drop=True) for _, g in patients.groupby("scenario", sort=False))
    assert (first["CL"] == second["CL"]).all() and first["CL"].std() > 0
    bands = pd.read_parquet(folder / "bands.parquet")
    for s in ran.json["scenarios"]:
        q50 = bands.loc[bands["scenario"] == s["name"], "q50"]
        assert s["observables"]["cp"] == pytest.approx(q50.tolist()) and set(s["quantiles"]["cp"]) > {"q05", "q95"}
    assert (ran.json["patients"], ran.json["failed"], ran.json["seed"]) == (30, 0, 4)


def test_a_scenario_that_fails_is_named_and_the_others_stand(pbpk, model):
    """With Km = 0 the rate at a concentration of 0, before the dose, is 0/0."""
    model("mine", law="saturable")
    ran = pbpk("simulate", "mine", "--dose", "10 mg iv at 1 h", "--times", "0,2 h", "--vary", "Km=0|1", "--json")
    assert ran.code == 1 and ran.json["failed"] == 1
    assert "warning: Km=0: patient 0: " in ran.err
    failed, good = ran.json["scenarios"]
    assert (
        failed["observables"]["cp"] == [None] * 2 and good["observables"]["cp"][0] == 0 < good["observables"]["cp"][1]
    )


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, ["--vary", "CL"], 'write --vary "NAME=A|B|C"'),
        (2, ["--vary", "CL=1||2"], "has an empty value"),
        (2, ["--vary", "CL=1|2|1"], "gives 1 twice"),
        (2, ["--vary", "CL=1|1.0"], "CL=1 and CL=1.0 are the same"),
        (2, ["--vary", "CL=1|2", "--vary", "CL=3"], "varied twice"),
        (2, ["--vary", "CL=1|2", "--set", "CL=3"], "by --set and varied as well"),
        (2, ["--vary", "CL=1|2|3|4|5", "--vary", "V=1|2|3|4|5"], "5 x 5 = 25 scenarios; 24 is the most"),
        (2, ["--vary", "CL=1|2", "--data", "d.csv"], "leave --dose, --times"),
        (2, ["--vary", "CL=1|2", "--measure", "m.toml"], "one scenario at a time"),
        (3, ["--vary", "Cl=1|2", "--out", "here"], "did you mean `CL`?"),
        (3, ["--vary", "CL=1|fast"], "in the scenario CL=fast"),
        (3, ["--vary", "option.drivers=none|rhtsh"], "no option `drivers`"),
        (3, ["--vary", "dose=1 mg iv|1 mg rectal", "--patients", "3"], "no compartment or route `rectal`"),
        (3, ["--vary", "dose=1 mg iv|1 MBq iv"], "in the scenario dose=1 MBq iv"),
        (3, ["--vary", "nuclide=I-131|I-123"], "no physical decay"),
        (3, ["--vary", "CL=1|2", "--observe", "cpp", "--out", "here"], "did you mean `cp`?"),
    ],
)
def test_what_cannot_be_meant(refused, code, words, said):
    refused(code, said)(*ORAL, *DOSE, *AT, *words)


def test_what_cannot_be_meant_of_doses_and_options(refused):
    refused(2, "no dose is given", "in the scenario dose=none")(*ORAL, *AT, "--vary", "dose=none|1 mg iv")
    refused(2, "--dose is missing")(*ORAL, *AT, "--vary", "CL=1|2")
    body = ("simulate", "nis_body", "--dose", "1 MBq iv", *AT)
    refused(3, 'write --vary "option.drivers=none|rhtsh"')(*body, "--vary", "drivers=none|rhtsh")
    refused(3, "nothing of what is to be observed")(
        *body, "--vary", "option.lesions=none|neck", "--observe", "lesion_1"
    )


def test_the_commands_of_the_documentation_reach_the_solver(pbpk, monkeypatch):
    """Each figure of docs/nis_body.md has the name, the size and the words it should; docs/figures/make.py runs them."""
    spec = importlib.util.spec_from_file_location("make_figures", ROOT / "docs/figures/make.py")
    assert spec and spec.loader
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    commands = make.commands()
    assert len(commands) == (ROOT / "docs/nis_body.md").read_text().count("\n## ")
    images = {p.stem: p.stat().st_size for p in (ROOT / "docs/figures").glob("*.png")}
    assert images.keys() == commands.keys() and max(images.values()) <= make.LARGEST

    def reached(*_, **__):
        raise BadInput("reached the solver")

    monkeypatch.setattr("pbpk.population.simulate.solve_in_chunks", reached)
    for words in commands.values():
        ran = pbpk(*words)
        assert ran.code == 3 and ran.err.strip() == "error: reached the solver"


# -- the figure ----------------------------------------------------------------------------------------------------------

TIME = np.linspace(0, 48, 97)


def decaying(k, height=1.0):
    return height * (np.exp(-k * TIME) - np.exp(-2 * TIME))


def test_the_scale_is_logarithmic_where_the_fall_is_deep():
    """From the peak on: a curve that begins at nothing does not need it."""
    assert not _choose_scale([decaying(0.01)[None]])[0]
    log, low, high = _choose_scale([decaying(0.2)[None], decaying(0.1)[None]])
    assert log and 0 < low < decaying(0.2)[-1] and high > decaying(0.1).max()
    assert _choose_scale([decaying(0.01)[None], decaying(0.01, 1e-3)[None]])[0], "one is far below the other"
    assert _choose_scale([decaying(0.01)[None], 0 * TIME[None]]) == _choose_scale([decaying(0.01)[None]]), (
        "a zero is no range"
    )
    log, low, _ = _choose_scale([decaying(2.0)[None], np.sin(TIME)[None]])
    assert not log and low < 0
    assert _choose_scale([np.full((1, 97), np.nan)])[0] is False


def test_lines_are_told_apart():
    one = _choose_looks({f"CL={i}": {"CL": str(i)} for i in range(7)})
    assert [look.label for look in one.values()] == list("0123456")
    assert len({look.colour for look in one.values()}) == 7
    grid = _choose_looks({f"CL={i}, V={j}": {"CL": str(i), "V": str(j)} for i in range(6) for j in range(4)})
    assert grid["CL=2, V=3"] == (COLOURS[2], DASHES[3], "CL=2, V=3")
    many = _choose_looks({f"CL={i}": {"CL": str(i)} for i in range(24)})
    assert len({(str(look.colour), str(look.dash)) for look in many.values()}) == 24


def test_numbered_parts_share_a_scale():
    kinds = [
        _panel_kind(CurvesPanel(n, "", "MBq", {})) for n in ("lesion_1", "lesion_12", "lesion_1_nis", "stomach_wall")
    ]
    assert kinds == [("lesion", "MBq"), ("lesion", "MBq"), ("lesion_nis", "MBq"), ("stomach_wall", "MBq")]


def test_the_figure_bears_gaps_and_repeats():
    lines = {"CL=1": decaying(0.1), "CL=2": np.full(97, np.nan)}
    bands = {"CL=1": np.stack([q * decaying(0.3) for q in (0, 0.5, 1, 1.5, 3)])}
    panels = [CurvesPanel("cp", "plasma concentration", "mg/L", lines), CurvesPanel("урина", "", "", bands)]
    panels.append(CurvesPanel("nothing", "", "", {"CL=2": np.full(97, np.nan)}))
    settings = {"CL=1": {"CL": "1"}, "CL=2": {"CL": "2"}}
    made = draw_curves(TIME, "h", panels, settings, "CL (L/h)")
    assert made.startswith(b"\x89PNG") and made == draw_curves(TIME, "h", panels, settings, "CL (L/h)")
    assert draw_curves(TIME[:1], "", [CurvesPanel("cp", "", "", {"": np.ones(1)})], {"": {}}, "").startswith(b"\x89PNG")


def test_a_run_without_matplotlib_still_writes_its_table(pbpk, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = pbpk(*ORAL, *DOSE, *AT, "--vary", "CL=1|2", "--out", "plain")
    assert ran.code == 0 and "no figure" in ran.err
    assert set(tree(tmp_path)) == {"plain", *(f"plain/{n}" for n in ("command.txt", "run.json", "simulation.csv"))}
