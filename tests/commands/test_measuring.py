"""`pbpk simulate --measure` and `pbpk check` of VOI tables and of measurements, as typed."""

import json
import math
import re

import pandas as pd
import pytest

from pbpk.nuclides import load_nuclide

from .invoke import ROOT, tree

MEASUREMENTS = """
[neck]
kind = "voi"
region = "thyroid"
spill_in = { salivary_glands = 0.05 }
recovery = { half = "2 mL", slope = 1.0 }
volume = "20 mL"
decay_corrected = false
at = [6, 24]
noise = { model = "poisson", sensitivity = "68 cps/MBq", duration = "20 min", background = "3 cps" }

[plasma]
kind = "blood"
region = "blood_total"
region_is = "blood"
sample = "plasma"
volume = "5.6 L"
haematocrit = 0.42
red_cells = 0.7
decay_corrected = true
reference = "0 h"

[meter]
kind = "dose_rate"
region = "whole_body"
distance = "1 m"
decay_corrected = false
"""
SIMULATE = ("simulate", "iodide", "--nuclide", "I-131", "--dose", "100 MBq to blood", "--times", "1,6,24 h")
VOI = """subject,voi,time_h,activity[kBq/cc],sd,volume_ml,administered_MBq
1,thyroid,6,500,20,20,100
1,thyroid,24,900,40,20,100
"""


@pytest.fixture
def measurements(tmp_path):
    (tmp_path / "m.toml").write_text(MEASUREMENTS)
    return "m.toml"


@pytest.fixture
def voi(tmp_path):
    def write(text=VOI):
        (tmp_path / "voi.csv").write_text(text)
        return "voi.csv"

    return write


def test_measurements_stand_beside_the_plain_observables(pbpk, measurements, tmp_path):
    plain = pbpk(*SIMULATE, "--observe", "thyroid,salivary_glands,blood_total,whole_body", "--json").json["observables"]
    ran = pbpk(*SIMULATE, "--observe", "thyroid", "--measure", measurements, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert list(found["observables"]) == ["thyroid"], "what only measurements need is not shown"
    assert found["observables"]["thyroid"] == plain["thyroid"]
    neck, plasma, meter = (found["measurements"][n] for n in ("neck", "plasma", "meter"))
    expected = [20 / 22 * a + 0.05 * g for a, g in zip(plain["thyroid"], plain["salivary_glands"], strict=True)]
    assert neck["expected"] == pytest.approx(expected[1:], rel=1e-12) and neck["unit"] == "MBq"
    assert neck["time"] == {"unit": "h", "values": [6.0, 24.0]}
    assert all(0 < abs(v - e) < 5 * s for v, e, s in zip(neck["value"], neck["expected"], neck["sd"], strict=True))
    rate = load_nuclide("I-131").decay_constant
    ratio = [math.exp(rate * t) / 5.6 / (0.58 + 0.7 * 0.42) for t in (1, 6, 24)]
    assert plasma["value"] == pytest.approx(
        [b * r for b, r in zip(plain["blood_total"], ratio, strict=True)], rel=1e-12
    )
    assert plasma["decay_corrected"] and plasma["reference"] == 0.0 and "sd" not in plasma
    assert meter["value"] == pytest.approx([w * 0.0522 for w in plain["whole_body"]], rel=1e-12)
    assert "note: meter: the patient attenuates nothing" in ran.err and len(found["notes"]) == 2
    assert set(tree(tmp_path)) == {"m.toml"}


def test_noise_is_seeded_and_text_says_what_was_done(pbpk, measurements):
    first, again, other = (pbpk(*SIMULATE, "--measure", measurements, "--seed", s).out for s in ("1", "1", "2"))
    assert first == again != other
    assert "neck" in first and "decay-corrected to 0 h" in first and "µGy/h" in first


def test_files_of_one_patient_and_of_many(pbpk, measurements, tmp_path):
    assert pbpk(*SIMULATE, "--measure", measurements, "--out", "one").code == 0
    one = pd.read_csv(tmp_path / "one/measurements.csv")
    assert one.groupby("measurement").size().to_dict() == {"neck": 2, "plasma": 3, "meter": 3}
    assert (
        pbpk(*SIMULATE, "--measure", measurements, "--observe", "thyroid", "--patients", "3", "--out", "many").code == 0
    )
    many = pd.read_parquet(tmp_path / "many/measurements.parquet")
    assert len(many) == 3 * 8 and set(many["patient"]) == {1, 2, 3}
    assert many[many["measurement"] == "neck"]["value"].nunique() == 6


def test_measurements_that_cannot_be_taken(refused, measurements, tmp_path):
    (tmp_path / "data.csv").write_text("ID,TIME,AMT,DV\n")
    refused(2, "--measure goes with --dose")("simulate", "iodide", "--data", "data.csv", "--measure", measurements)
    short = (*SIMULATE[:-1], "1,6 h")
    refused(3, "measurement `neck`", "24 h is not among", "simulate that time too")(*short, "--measure", measurements)
    (tmp_path / "m.toml").write_text(MEASUREMENTS.replace('region = "thyroid"', 'region = "thyroyd"'))
    refused(3, "nothing called `thyroyd`", "did you mean `thyroid`")(*SIMULATE, "--measure", measurements)


def test_check_of_measurements(pbpk, refused, measurements, tmp_path):
    ran = pbpk("check", measurements, "--model", "iodide")
    assert ran.code == 0 and "measurement: neck: voi of thyroid, salivary_glands" in ran.out
    refused(3, "nothing called `thyroid`")("check", measurements, "--model", "oral_one_compartment")
    (tmp_path / "m.toml").write_text(MEASUREMENTS.replace("decay_corrected = true", ""))
    refused(3, "m.toml [plasma]", "must be said")("check", measurements)


def test_check_of_a_voi_table_says_what_was_assumed(pbpk, voi):
    ran = pbpk("check", voi(), "--nuclide", "At-211")
    assert ran.code == 0
    assert "warning: nothing says whether values are decay-corrected: taken as not" in ran.err
    assert "a factor of 10.03" in ran.err
    assert "row 3: the VOIs of this time hold 18 MBq" in ran.err  # so they were corrected
    assert "thyroid" in ran.out and "activity_MBq" in ran.out and "no fault found, but 2 warnings" in ran.out
    found = pbpk("check", voi(), "--nuclide", "At-211", "--decay-corrected", "--json").json
    assert found["good"] and found["warning"] == []
    rate = load_nuclide("At-211").decay_constant
    assert [r["activity_MBq"] for r in found["rows"]] == pytest.approx(
        [10 * math.exp(-6 * rate), 18 * math.exp(-24 * rate)]
    )


def test_check_of_a_voi_table_that_is_wrong(refused, voi):
    refused(2, "--nuclide is missing")("check", voi())
    refused(3, "voi.csv row 3 (ID 1)", "volume -2", "above 0")(
        "check", voi(VOI.replace("40,20", "40,-2")), "--nuclide", "At-211"
    )
    words = ("VOI `thyroyd`", "did you mean `thyroid`")
    refused(3, *words)("check", voi(VOI.replace("thyroid", "thyroyd")), "--model", "iodide", "--nuclide", "I-131")
    refused(2, "--events and --into go together")("check", voi(), "--nuclide", "I-131", "--events", "e.csv")
    refused(3, "no compartment `blod`", "did you mean `blood`")(
        *("check", voi(), "--model", "iodide", "--not-decay-corrected", "--events", "e.csv", "--into", "blod")
    )
    refused(2, "--nuclide goes with a VOI table")("check", "iodide", "--nuclide", "I-131")


def test_a_voi_table_becomes_data_that_simulate_reads(pbpk, refused, voi, tmp_path):
    words = (
        "check",
        voi(VOI.replace("thyroid", "Gland")),
        "--model",
        "iodide",
        "--voi",
        "Gland=thyroid",
        "--not-decay-corrected",
    )
    ran = pbpk(*words, "--events", "data.csv", "--into", "iv", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["events"] == "data.csv" and ran.json["nuclide"] == "I-131"
    data = pd.read_csv(tmp_path / "data.csv")
    assert data["DVID"].tolist() == [".", "thyroid", "thyroid"] and data["CMT"].tolist() == ["blood", ".", "."]
    ran = pbpk("simulate", "iodide", "--data", "data.csv", "--unit", "AMT=MBq", "--observe", "thyroid", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["observables"]["thyroid"][1:] == pytest.approx([16.9, 26.6], rel=0.01)
    refused(3, "exists already")(*words, "--events", "data.csv", "--into", "iv")


def test_the_examples_of_the_docs_run(pbpk, tmp_path, monkeypatch):
    text = (ROOT / "docs/measuring.md").read_text()
    blocks = dict(re.findall(r"```(toml|csv|python)\n(.*?)```", text, re.DOTALL))
    (tmp_path / "measurements.toml").write_text(blocks["toml"])
    (tmp_path / "voi.csv").write_text(blocks["csv"])
    commands = [line.split("#")[0] for line in re.findall(r"^pbpk (.*)$", text, re.MULTILINE)]
    for line in commands:
        ran = pbpk(*[w.strip('"') for w in re.findall(r'"[^"]*"|\S+', line)])
        assert ran.code == 0, ran
    assert len(commands) >= 3
    monkeypatch.chdir(tmp_path)
    exec(blocks["python"], {})
