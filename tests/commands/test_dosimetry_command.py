"""`pbpk dosimetry`: organ doses from a model or from time-integrated activities, and what it refuses."""

import csv
import json

import pytest

from .invoke import tree


@pytest.fixture(scope="module")
def astatide(tmp_path_factory):
    from .invoke import invoke

    return invoke(
        "dosimetry", "astatide_reference", "--json", "--activity", "245 MBq", cwd=tmp_path_factory.mktemp("at")
    )


def test_one_object_with_what_scripts_rely_on(astatide):
    assert astatide.code == 0
    found = astatide.json
    assert found["schema_version"] == 1 and found["nuclide"] == "At-211" and found["phantom"] == "adult-male"
    assert found["tiac"]["thyroid"] == {"value": pytest.approx(0.439, rel=0.02), "unit": "h", "interval": None}
    dose = found["absorbed_dose_per_activity"]["thyroid"]
    assert dose["unit"] == "mGy/MBq" and dose["interval"] is None
    assert sum(dose["by_radiation"].values()) == pytest.approx(dose["value"], rel=1e-9)
    assert found["absorbed_dose"]["thyroid"]["value"] == pytest.approx(dose["value"] * 0.245, rel=1e-9)
    assert list(found["absorbed_dose_per_activity"])[:3] == ["adrenals", "airways", "bladder_wall"]
    assert list(found["absorbed_dose_per_activity"])[-1] == "total_body"
    assert any("Bi-207" in note for note in found["notes"])


def test_a_table_for_people(pbpk, tmp_path):
    ran = pbpk("dosimetry", "icrp78_iodine", "--nuclide", "I-131", "--phantom", "adult-female")
    assert ran.code == 0 and "mGy/MBq" in ran.out and "thyroid" in ran.out and "Xe-131m" in ran.err
    assert tree(tmp_path) == {}


def test_recoils_masses_and_lesions(pbpk, astatide):
    words = ("--recoil", "--mass", "thyroid=11.7 g", "--json")
    found = pbpk("dosimetry", "astatide_reference", *words).json
    ratio = (
        found["absorbed_dose_per_activity"]["thyroid"]["value"]
        / astatide.json["absorbed_dose_per_activity"]["thyroid"]["value"]
    )
    assert ratio == pytest.approx(1.0193 * 23.39 / 11.7, rel=5e-3) and found["mass"]["thyroid"]["value"] == 11.7


def test_virtual_patients_give_intervals(pbpk):
    found = pbpk("dosimetry", "astatide_reference", "--patients", "200", "--seed", "3", "--json").json
    low, high = found["absorbed_dose_per_activity"]["thyroid"]["interval"]
    assert low < found["absorbed_dose_per_activity"]["thyroid"]["value"] < high and high > 2 * low
    assert found["patients"] == 200 and found["seed"] == 3


def test_a_file_of_time_integrated_activities_and_what_is_written(pbpk, tmp_path):
    (tmp_path / "tiac.csv").write_text("region,value,unit\nthyroid,76.6,h\nnode,30,min\n", encoding="utf-8")
    words = ("--nuclide", "I-131", "--lesion", "node=2 g@muscle", "--out", "doses")
    ran = pbpk("dosimetry", "tiac.csv", *words)
    assert ran.code == 0
    written = tmp_path / "doses"
    files = {"command.txt", "tiac.csv", "dose.csv", "case.cas", "dosimetry.json", "dose.png"}
    assert {p.name for p in written.iterdir()} == files
    rows = list(csv.DictReader((written / "dose.csv").read_text(encoding="utf-8").splitlines()))
    assert {"node", "thyroid"} <= {r["target"] for r in rows}
    assert json.loads((written / "dosimetry.json").read_text(encoding="utf-8"))["nuclide"] == "I-131"


def test_a_model_with_lesions_of_its_own(pbpk):
    found = pbpk("dosimetry", "nis_body", "--json").json
    assert found["absorbed_dose_per_activity"]["lesion_1"]["value"] > 0 and "lesion_1" in found["tiac"]


def test_a_nonlinear_model_goes_to_the_end_of_the_decay(pbpk):
    words = ("--option", "competitors=kinetic", "--json")
    found = pbpk("dosimetry", "nis_body", *words)
    linear = pbpk("dosimetry", "nis_body", "--json").json
    assert found.code == 0 and any("no exact integral" in n for n in found.json["notes"])
    for target in ("salivary_glands", "kidneys"):
        mine, theirs = (x["absorbed_dose_per_activity"][target]["value"] for x in (found.json, linear))
        assert mine == pytest.approx(theirs, rel=0.02)


@pytest.mark.slow
def test_one_page_for_one_patient(pbpk, tmp_path):
    given = ("--dose", "3.5 MBq/kg iv", "--set", "WT=70", "--option", "lesions=neck,lung,bone")
    ran = pbpk("dosimetry", "nis_body", *given, "--report", "--out", "page", "--json")
    assert ran.code == 0
    page, found = ran.json["report"], ran.json
    assert found["activity"] == {"value": pytest.approx(245.0), "unit": "MBq"} == page["activity"]
    for name in ("red_marrow", "salivary_glands", "lesion_3"):
        whole = found["absorbed_dose"][name]["value"]
        assert page["organs"][name]["absorbed_dose"] == pytest.approx(whole, rel=1e-9)
        assert found["absorbed_dose_per_activity"][name]["value"] * 0.245 == pytest.approx(whole, rel=1e-9)
    assert [c["target"] for c in page["cells"]][:3] == ["marrow", "salivary duct", "gastric mucosa"]
    written = tmp_path / "page"
    text = (written / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# 245 MBq of At-211 in 70 kg (3.5 MBq/kg)") and "beta formalism" in text
    assert all((written / n).read_bytes().startswith(b"\x89PNG") for n in ("dose.png", "dose_rate.png"))


def test_what_is_not_known_of_a_file(pbpk, tmp_path):
    (tmp_path / "tiac.csv").write_text("region,value,unit\nthyroid,0.439,h\n", encoding="utf-8")
    given = ("--nuclide", "At-211", "--activity", "100 MBq", "--uncertain", "thyroid=20 %", "--uncertain", "mass=0")
    given = (*given, "--uncertain", "S.alpha=0.1")
    first = pbpk("dosimetry", "tiac.csv", *given, "--uncertainty", "propagate", "--json").json
    drawn = pbpk("dosimetry", "tiac.csv", *given, "--uncertainty", "montecarlo", "--draws", "5000", "--json").json
    one, other = (x["uncertainty"]["absorbed_dose"]["thyroid"] for x in (first, drawn))
    assert one["sd"] / one["mean"] == pytest.approx((1.04 * 1.01 - 1) ** 0.5, rel=2e-3)
    assert other["sd"] == pytest.approx(one["sd"], rel=0.05)
    assert one["share_of_variance"]["mass"] == 0
    assert first["absorbed_dose_per_activity"]["thyroid"]["interval"][0] == pytest.approx(one["interval"][0] * 10)
    ran = pbpk("dosimetry", "tiac.csv", *given, "--uncertainty", "propagate")
    assert "by kinetics" in ran.out and "RBE-weighted dose, Gy" in ran.out


def test_regions_are_listed(pbpk):
    ran = pbpk("dosimetry", "--regions", "--phantom", "adult-female", "--json")
    assert (
        ran.json["regions"]["thyroid"]["mass_g"] == pytest.approx(19.5, rel=0.01)
        and "testes" not in ran.json["regions"]
    )


@pytest.mark.parametrize(
    "code, words, args",
    [
        (3, ("no phantom `adult`",), ("dosimetry", "iodide", "--phantom", "adult")),
        (3, ("the mass of thyroid must be above 0 g",), ("dosimetry", "iodide", "--mass", "thyroid=0 g")),
        (3, ("cannot be used where",), ("dosimetry", "iodide", "--mass", "thyroid=30 mL")),
        (3, ("no region `thyrode`",), ("dosimetry", "iodide", "--mass", "thyrode=30 g")),
        (3, ("unknown nuclide",), ("dosimetry", "iodide", "--nuclide", "I-999")),
        (3, ("does not say which compartment",), ("dosimetry", "oral_one_compartment")),
        (3, ("cannot be read",), ("dosimetry", "iodide", "--activity", "a lot")),
        (2, ("which model?",), ("dosimetry",)),
        (2, ("cannot be read", "node=2 g@muscle"), ("dosimetry", "iodide", "--lesion", "node=2 g")),
        (3, ("no file",), ("dosimetry", "iodide", "--saf", ".")),
        (2, ("--report and --uncertainty of one",), ("dosimetry", "iodide", "--report", "--patients", "9")),
        (2, ("goes with --uncertainty",), ("dosimetry", "iodide", "--uncertain", "mass=0.1")),
        (2, ("is not known", "montecarlo"), ("dosimetry", "iodide", "--uncertainty", "luck")),
        (2, ("cannot be read",), ("dosimetry", "iodide", "--uncertainty", "propagate", "--uncertain", "mass=much")),
        (3, ("no parameter `CLX`",), ("dosimetry", "iodide", "--uncertainty", "propagate", "--uncertain", "CLX=0.1")),
        (3, ("no model",), ("dosimetry", "no_such_model")),
    ],
)
def test_refusals(refused, code, words, args):
    refused(code, *words)(*args)
