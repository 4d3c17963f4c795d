"""`pbpk runs`: what is found, in which order, and that a spoilt folder is one line that says why."""

import json
import shutil

import pytest

import pbpk

from .written_runs import ESTIMATES, write_run

FIELDS = {"run", "number", "study", "model", "options", "method", "ofv", "parameters", "minimization_successful"}
FIELDS |= {"date", "seconds", "seed", "state", "remark", "asked"}


@pytest.fixture
def home(tmp_path):
    """Two studies: a whole run each, one not minimised, one interrupted."""
    runs = tmp_path / "fits" / "mine" / "runs"
    bound = {"settings": {"options.retention": "bound"}, "options": {"retention": "bound", "thyroid": "none"}}
    write_run(runs / "002", started="2026-11-23T07:00:00+00:00", held=("V",), **bound)
    write_run(runs / "001", started="2026-11-23T06:00:00+00:00", minimization_successful=False, ofv=float("nan"))
    write_run(tmp_path / "fits/other/runs/001", started="2026-11-23T07:30:00+01:00", study="other", method="fo")
    partial = write_run(runs / "003.partial", started="2026-11-23T08:00:00+00:00")
    (partial / "results.json").unlink()
    return tmp_path


def test_every_run_newest_last(pbpk, home):
    ran = pbpk("runs", "--json")
    assert ran.code == 0 and ran.err == ""
    found = ran.json["runs"]
    assert all(set(r) == FIELDS for r in found)
    assert [(r["study"], r["number"]) for r in found] == [
        ("mine", "001"),
        ("other", "001"),
        ("mine", "002"),
        ("mine", "003"),
    ]
    assert [r["state"] for r in found] == ["whole", "whole", "whole", "partial"]
    assert [r["date"] for r in found][1] == "2026-11-23T06:30:00+00:00"
    first, second, third, last = found
    assert (first["minimization_successful"], first["ofv"], first["method"]) == (False, None, "focei")
    assert (second["method"], second["ofv"], second["parameters"]) == ("fo", 100.0, len(ESTIMATES))
    assert (third["parameters"], third["seconds"], third["seed"], third["model"]) == (3, 3.25, 1, "two_pools")
    assert third["asked"] == {"retention": "bound"} and third["options"] == {"retention": "bound", "thyroid": "none"}
    assert (last["ofv"], last["minimization_successful"], last["seconds"]) == (None, None, None)
    assert last["remark"] == "go on with it:  pbpk fit fits/mine/runs/003.partial --resume"


def test_text(pbpk, home):
    ran = pbpk("runs")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split()[:4] == ["run", "model", "method", "OFV"]
    assert lines[2].split()[:5] == ["mine/001", "two_pools", "focei", "–", "4"] and " NO " in lines[2]
    assert "two_pools retention=bound" in lines[4] and "2026-11-23 07:00" in lines[4]
    assert lines[5].split()[-1] == "partial" and "--resume" in lines[-1]


@pytest.mark.parametrize("where", ["mine", "fits/mine", "fits/mine/runs", "/"])
def test_of_one_study(pbpk, home, where):
    """By its name, its folder, the folder of its runs, or a full path."""
    found = pbpk("runs", home / "fits" / "mine" if where == "/" else where, "--json").json["runs"]
    assert [r["number"] for r in found] == ["001", "002", "003"]


def test_of_a_folder_of_runs_and_of_one_run(pbpk, home):
    write_run(home / "tries" / "first")
    (home / "tries" / "letters").mkdir()
    assert [r["run"] for r in pbpk("runs", "tries", "--json").json["runs"]] == ["tries/first"]
    assert [r["run"] for r in pbpk("runs", "tries/first", "--json").json["runs"]] == ["tries/first"]


def test_a_study_kept_elsewhere(pbpk, home):
    """Its runs are under the current folder's fits/, where `pbpk fit` put them."""
    (home / "elsewhere" / "mine").mkdir(parents=True)
    (home / "elsewhere" / "mine" / "fit.toml").write_text("")
    assert len(pbpk("runs", "elsewhere/mine", "--json").json["runs"]) == 3


def test_none(pbpk, refused):
    for words in ((), ("theophylline",)):
        ran = pbpk("runs", *words)
        assert ran.code == 0 and ran.out == "" and "no runs yet" in ran.err
    assert pbpk("runs", "--json").json == {"schema_version": 1, "runs": []}
    refused(3, "no study or folder `theophyline`", "did you mean `theophylline`?")("runs", "theophyline")


SPOILT = {
    "results.json": [
        (None, "holds no results.json"),
        ("{", "results.json is not valid JSON"),
        ("[]", "results.json is not a JSON object"),
        ('{"schema_version": 9, "study": "", "model": "", "method": "", "ofv": 1}', "was written in form 9"),
        ('{"schema_version": 1, "study": "", "model": "", "method": "", "ofv": 1, "seconds": 3}', "AttributeError"),
    ],
    "parameters.csv": [(None, "parameters.csv no such file"), ("name\nCL\n", "has no column `fixed`")],
    "run.json": [("{", "run.json is not"), ('{"settings": []}', "is not the record of a run")],
    "fit.toml": [("model = ", "is not valid TOML"), ('modle = "x"\n', "`parameters` is missing")],
}


@pytest.mark.parametrize(("name", "text", "why"), [(n, *case) for n, cases in SPOILT.items() for case in cases])
def test_a_spoilt_folder_is_listed_with_why(pbpk, home, name, text, why):
    file = home / "fits/mine/runs/002" / name
    file.unlink() if text is None else file.write_text(text)
    ran = pbpk("runs", "--json")
    assert ran.code == 0 and len(ran.json["runs"]) == 4
    (spoilt,) = [r for r in ran.json["runs"] if r["state"] == "unreadable"]
    assert (spoilt["run"], spoilt["ofv"]) == ("fits/mine/runs/002", None)
    assert why in spoilt["remark"], spoilt
    text_ran = pbpk("runs")
    assert text_ran.code == 0 and spoilt["remark"] in text_ran.out and "Traceback" not in text_ran.err


def test_what_is_no_run_among_them(pbpk, home):
    runs = home / "fits/mine/runs"
    (runs / "notes").mkdir()
    (runs / "004.partial").mkdir()
    (runs / ".cache").mkdir()
    (runs / "plan.txt").write_text("later")
    found = {r["number"]: r for r in pbpk("runs", "--json").json["runs"] if r["state"] == "unreadable"}
    assert set(found) == {"notes", "004"}
    assert "cannot be resumed" in found["004"]["remark"]


def test_a_run_without_a_date_has_that_of_its_files(pbpk, home):
    path = home / "fits/mine/runs/002/run.json"
    record = json.loads(path.read_text())
    for change in ({}, {"started": "yesterday"}):
        path.write_text(json.dumps({k: v for k, v in record.items() if k != "started"} | change))
        dated = [r["date"] for r in pbpk("runs", "--json").json["runs"] if r["run"] == "fits/mine/runs/002"]
        assert len(dated[0]) == len("2026-11-23T07:00:00+00:00") and dated[0] > "2026"


def test_library(home, monkeypatch):
    monkeypatch.chdir(home)
    found = pbpk.runs()
    assert list(found.table["state"]) == ["whole", "whole", "whole", "partial"]
    assert [r["number"] for r in pbpk.runs("mine").to_dict()["runs"]] == ["001", "002", "003"]
    shutil.rmtree(home / "fits")
    assert pbpk.runs().table.empty
