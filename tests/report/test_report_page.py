"""The page: whole, self-contained, repeatable, and safe whatever a study is called."""

from __future__ import annotations

import json
import math
import re
import sys
from html.parser import HTMLParser

import pytest
from finished_run import individuals, observations

from pbpk.errors import BadInput, MissingExtra
from pbpk.report.fit_text import tabulate_estimates
from pbpk.report.page import choose_tone, write_report

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Every tag that opens closes, in order, and no id is used twice."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [v for k, v in attrs if k == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(folder) -> str:
    page = write_report(folder).read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert not {"script", "link", "iframe", "img"} & set(parser.tags)
    assert {a for a in re.findall(r"https?://[^\s\"'<]+", page)} <= {"http://www.w3.org/2000/svg"}
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert references <= set(parser.ids)
    return page


def test_the_page_holds_the_estimates_as_printed(make_run, parameters):
    page = read(make_run())
    for row in tabulate_estimates(parameters):
        for cell in row.values():
            assert cell in page
    for part in ("116.803", "359.403", "Converged; no problems detected.", "0.50", "Twelve subjects"):
        assert part in page
    for part in ("pbpk fit theophylline --method focei", "ab" * 32, "0.10.2", "oral_one_compartment&#34;"):
        assert part in page


def test_sections_in_order(make_run):
    page = read(make_run())
    names = [
        "verdict",
        "summary",
        "parameters",
        "correlations",
        "individual",
        "goodness",
        "fits",
        "etas",
        "iterations",
        "made",
    ]
    places = [page.index(f'id="{name}"') for name in names]
    assert places == sorted(places)


def test_two_writes_are_equal_and_leave_nothing_behind(make_run):
    folder = make_run()
    before = {p.name for p in folder.iterdir()}
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert {p.name for p in folder.iterdir()} - before == {"report.html"}


def test_names_are_escaped(make_run):
    page = read(make_run(study="<script>alert(1)</script>", verdict="Converged, but: <b>x</b>."))
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>x" not in page


@pytest.mark.parametrize(
    "parts",
    [
        {"table": observations(1), "individual": individuals(1)},
        {"individual": individuals(12, ())},
        {"table": observations(3, ("plasma", "thyroid")), "individual": individuals(3)},
        {"table": observations()[:0], "individual": individuals(0), "iterations": 0},
        {"covariance": False, "standard_errors": {}, "condition_number": math.nan},
        {"minimization_successful": False, "verdict": "NOT CONVERGED (iteration limit).", "seconds": None, "bic": None},
    ],
    ids=["one subject", "no random effects", "two endpoints", "no rows", "no covariance", "failed"],
)
def test_unusual_runs(make_run, parts):
    read(make_run(**parts))


def test_results_with_only_what_is_needed(make_run):
    folder = make_run()
    found = json.loads((folder / "results.json").read_text())
    needed = {k: found[k] for k in ("schema_version", "study", "model", "method", "ofv")}
    (folder / "results.json").write_text(json.dumps(needed))
    assert "116.803" in read(folder)


def test_a_run_without_its_record(make_run):
    folder = make_run()
    for name in ("run.json", "command.txt", "fit.toml"):
        (folder / name).unlink()
    assert "theophylline" in read(folder)


def test_a_tone_for_each_outcome(results):
    assert choose_tone(results) == "good"
    assert choose_tone(results | {"verdict": "Converged, but: S is singular."}) == "warn"
    assert choose_tone(results | {"minimization_successful": False}) == "bad"


@pytest.mark.parametrize("lost", ["results.json", "sdtab.csv", "parameters.csv"])
def test_a_folder_that_is_not_a_finished_run(make_run, lost):
    folder = make_run()
    (folder / lost).unlink()
    with pytest.raises(BadInput, match=f"not a finished run: it holds no {lost}"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_no_folder(tmp_path):
    with pytest.raises(BadInput, match="is not a folder"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("results.json", "{", "not valid JSON"),
        ("results.json", "[]", "not a JSON object"),
        ("results.json", "{}", "not the result of a fit"),
        ("sdtab.csv", "ID,TIME\n1,0\n", "has no column `DVID`"),
        ("iterations.csv", "", "has no column `iteration`"),
        ("fit.toml", "model =", "not valid TOML"),
    ],
)
def test_a_spoilt_file_is_named(make_run, name, text, said):
    folder = make_run()
    (folder / name).write_text(text)
    with pytest.raises(BadInput, match=said) as caught:
        write_report(folder)
    assert name in caught.value.where


def test_another_form_of_results(make_run):
    folder = make_run()
    found = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(found | {"schema_version": 2}))
    with pytest.raises(BadInput, match="form 2"):
        write_report(folder)


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_without_the_extra(make_run, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match="the report needs matplotlib and jinja2") as caught:
        write_report(make_run())
    assert caught.value.hint == 'pip install "pbpk[report]"'
