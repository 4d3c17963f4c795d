"""`pbpk design`: what it prints, its JSON, its folder, and the questions it refuses."""

import json
from pathlib import Path

import pytest

STUDY = """
model = "iv_one_compartment"
data = { file = "data.csv", observable = "cp" }
[parameters]
CL = { iiv = 0.1 }
V = { iiv = 0.1 }
[error.cp]
model = "proportional"
prop = 0.1
"""


@pytest.fixture
def planned(tmp_path) -> Path:
    folder = tmp_path / "fits" / "planned"
    folder.mkdir(parents=True)
    (folder / "fit.toml").write_text(STUDY)
    (folder / "data.csv").write_text("ID,TIME,AMT\n1,0,100\n1,1,\n1,2,\n1,6,\n")
    return folder


def test_times_errors_and_patients(pbpk, planned, tmp_path):
    asked = ("--samples", "3", "--times", "1,2,6,12,24", "--subjects", "20", "--rse", "CL=5%", "--interest", "CL")
    ran = pbpk("design", "planned", *asked, "--json", "--out", "found")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["schema_version"] == 1 and found["criterion"] == "Ds" and found["subjects"] == 20
    assert found["value"] >= found["own_value"]
    assert len(found["schedules"][0]["times"]) == 3 and set(found["schedules"][0]["times"]) <= {1, 2, 6, 12, 24}
    rse, needed = found["relative_standard_errors"]["CL"], found["needed"][0]["subjects"]
    assert needed == pytest.approx(20 * (rse / 5) ** 2, abs=1)
    kept = json.loads((tmp_path / "found" / "design.json").read_text())
    assert kept["value"] == found["value"] and (tmp_path / "found" / "parameters.csv").exists()
    text = pbpk("design", "planned", *asked)
    assert text.code == 0 and "CL: an RSE of 5 % takes" in text.out and "RSE % as it stands" in text.out


def test_refusals(refused, planned):
    refused(3, "no study")("design", "nothing")
    refused(3, "none of the parameters", "did you mean `CL`")("design", "planned", "--interest", "Cl")
    refused(2, "exclude one another")("design", "planned", "--times", "1,2,3", "--window", "1:3")
    refused(2, "cannot be read")("design", "planned", "--samples", "many", "--times", "1,2")
    refused(2, "cannot be read")("design", "planned", "--window", "soon")
    refused(2, "no criterion `E`")("design", "planned", "--criterion", "E")
    refused(3, "do not fit")("design", "planned", "--samples", "4", "--times", "1,2,3")
