"""`pbpk report`: a finished run's page, by folder or by the study's name."""

import shutil
import sys

import pytest


def test_report_of_a_folder(pbpk, finished):
    (finished / "report.html").unlink()
    others = {p.name: p.read_bytes() for p in finished.iterdir() if p.is_file()}
    ran = pbpk("report", "finished", "--json")
    assert ran.code == 0
    assert ran.json == {"schema_version": 1, "report": "finished/report.html"}
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "theophylline" in page and "<svg" in page
    left = {p.name: p.read_bytes() for p in finished.iterdir() if p.is_file()}
    left.pop("report.html")
    assert left == others, "only the page is written"


def test_report_of_a_study_is_of_its_latest_finished_run(pbpk, finished, tmp_path):
    runs = tmp_path / "fits" / "theophylline" / "runs"
    for name in ("001", "002", "003.partial"):
        shutil.copytree(finished, runs / name)
        (runs / name / "report.html").unlink()
    (runs / "003.partial" / "results.json").unlink()
    ran = pbpk("report", "theophylline")
    assert ran.code == 0 and ran.out == ""
    assert ran.err == "wrote fits/theophylline/runs/002/report.html\n"
    assert not (runs / "001" / "report.html").exists()


def test_no_such_run(refused, tmp_path):
    (tmp_path / "fits" / "theophylline" / "runs").mkdir(parents=True)
    refused(3, "no run `theophyline`", "did you mean `theophylline`?")("report", "theophyline")
    refused(3, "no run `theophylline`", "hint: ")("report", "theophylline")


def test_a_folder_that_is_no_run(refused, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    refused(3, "letters", "holds no results.json")("report", "letters")
    refused(3, "dear.txt", "holds no results.json")("report", "letters/dear.txt")


@pytest.mark.parametrize("name", ["sdtab.csv", "covariance.csv"])
def test_a_run_that_has_lost_a_file(refused, finished, name):
    (finished / name).unlink()
    refused(3, "finished", f"holds no {name}")("report", "finished")


def test_a_run_with_broken_results(refused, finished):
    (finished / "results.json").write_text("{")
    refused(3, "results.json", "is not valid JSON")("report", "finished")


@pytest.mark.parametrize("gone", ["matplotlib", "jinja2"])
def test_without_the_extra_the_command_says_what_to_install(refused, finished, monkeypatch, gone):
    monkeypatch.setitem(sys.modules, gone, None)
    refused(4, "matplotlib", 'pip install "pbpk[report]"')("report", "finished")
