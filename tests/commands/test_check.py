"""`pbpk check`: a model, a data file or a study, and the row of the first fault."""

import pytest

from .invoke import tree

GOOD = (
    "ID,TIME,AMT,DV,EVID,CMT,WT\n1,0,100,.,1,depot,70\n1,1,.,2.0,0,central,70\n2,0,100,.,1,depot,80\n2,1,.,.,0,2,80\n"
)


@pytest.mark.parametrize("name", ["iodide", "iv_two_compartment"])
def test_a_good_model(pbpk, tmp_path, name):
    ran = pbpk("check", name, "--json")
    assert ran.code == 0 and ran.json["good"] is True and ran.json["model"] == name
    assert ran.json["schema_version"] == 1
    assert pbpk("check", name).out.endswith("no problems found\n")
    assert tree(tmp_path) == {}, "check writes nothing"


def test_a_good_data_file_is_counted(pbpk, tmp_path):
    (tmp_path / "trial.csv").write_text(GOOD)
    ran = pbpk("check", "trial.csv", "--model", "oral_one_compartment", "--json")
    assert ran.code == 0
    assert (ran.json["subjects"], ran.json["doses"], ran.json["observations"]) == (2, 2, 1)
    assert ran.json["covariates"] == "WT"
    assert any("DV is missing on 1" in note for note in ran.json["note"])


def test_a_faulty_data_file_names_its_row_in_words_and_in_json(pbpk, tmp_path):
    (tmp_path / "trial.csv").write_text(GOOD.replace("2,1,.,.,0,2", "2,1,.,two,0,2"))
    ran = pbpk("check", "trial.csv", "--model", "oral_one_compartment")
    assert ran.code == 3 and ran.out == ""
    assert ran.err.startswith('error: trial.csv row 5 (ID 2): DV "two" is not a number')
    told = pbpk("check", "trial.csv", "--model", "oral_one_compartment", "--json")
    assert told.code == 3 and told.err == ""
    assert told.json["good"] is False and told.json["where"] == "trial.csv row 5 (ID 2)"
    assert told.json["schema_version"] == 1


def test_a_study_says_what_its_data_can_tell(pbpk, tmp_path):
    ran = pbpk("check", "theophylline", "--json")
    assert ran.code == 0 and ran.json["good"] is True
    assert (ran.json["subjects"], ran.json["observations"]) == (12, 132)
    hints = ran.json["identifiability"]
    assert [h.split(":")[0] for h in hints[:3]] == ["KA", "CL", "V"]
    assert all("expected RSE" in h for h in hints[:3])
    assert tree(tmp_path) == {}


def test_a_data_file_needs_its_model(refused):
    refused(2, "--model is missing")("check", __file__)
