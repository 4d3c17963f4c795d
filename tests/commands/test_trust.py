"""Whose Python the command line runs, and that a folder of data cannot have its own run unasked."""

import shutil

import pytest

from .invoke import ROOT

SPY = "\nimport pathlib; pathlib.Path({marker!r}).touch()\n"


@pytest.fixture(autouse=True)
def _own_memory(tmp_path, monkeypatch):
    """What this test trusts is remembered for this test alone."""
    from pbpk.runtime import trust

    monkeypatch.setattr(
        trust, "open_cache_folder", lambda kind: (tmp_path / kind).mkdir(exist_ok=True) or tmp_path / kind
    )


@pytest.fixture
def spied(tmp_path, model):
    """`spied(folder)`: a model written into `folder` that leaves a file behind when it runs; gives whether it has run."""

    def write(folder):
        marker = tmp_path / f"{folder.name}.ran"
        shutil.move(model(f"draft_{folder.name}"), folder)
        structure = folder / "structure.py"
        structure.write_text(structure.read_text() + SPY.format(marker=str(marker)))
        shutil.rmtree(tmp_path / "models")
        return marker.exists

    return write


def write_study(folder, model_name):
    shutil.copytree(ROOT / "fits/theophylline", folder, ignore=shutil.ignore_patterns("runs"))
    text = (folder / "fit.toml").read_text().replace('"oral_one_compartment"', f'"{model_name}"')
    (folder / "fit.toml").write_text(text)


@pytest.mark.parametrize("verb", [["check"], ["fit"], ["design"]])
def test_a_model_that_comes_with_data_is_not_run(pbpk, spied, tmp_path, verb):
    write_study(tmp_path / "mail", "m")
    ran = spied(tmp_path / "mail/m")
    refused = pbpk(*verb, "mail/")
    assert refused.code == 3 and not ran()
    assert "structure.py" in refused.err and "--trust" in refused.err and "your rights" in refused.err


def test_trust_is_remembered_for_exactly_that_code(pbpk, spied, tmp_path):
    write_study(tmp_path / "mail", "m")
    ran = spied(tmp_path / "mail/m")
    assert pbpk("check", "mail/").code == 3 and not ran()
    pbpk("check", "mail/", "--trust")
    assert ran()
    said = pbpk("check", "mail/")
    assert "--trust" not in said.err
    (tmp_path / "mail/m/helpers.py").write_text("x = 1\n")
    assert "--trust" in pbpk("check", "mail/").err


def test_a_model_elsewhere_is_not_run_and_one_of_the_project_is(pbpk, spied, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    ran = spied(tmp_path / "elsewhere/m")
    here = tmp_path / "here"
    here.mkdir()
    from .invoke import invoke

    assert invoke("check", "../elsewhere/m", cwd=here).code == 3 and not ran()
    (tmp_path / "models").mkdir()
    shutil.copytree(tmp_path / "elsewhere/m", tmp_path / "models/m")
    assert pbpk("check", "m").code == 0 and ran()


def test_the_list_runs_no_model_of_the_folder_and_says_which_shadows(pbpk, spied, tmp_path):
    (tmp_path / "keep").mkdir()
    ran = spied(tmp_path / "keep/iodide")
    shutil.move(tmp_path / "keep", tmp_path / "models")
    rows = {r["name"]: r for r in pbpk("models", "--json").json["models"]}
    assert not ran()
    assert rows["iodide"]["shadows"] and not rows["iodide"]["bundled"] and rows["iodide"]["compartments"] is None
    assert rows["nis_body"]["bundled"] and rows["nis_body"]["compartments"] > 5
    assert "in place of the bundled one" in pbpk("models").out


def test_a_model_that_shadows_a_bundled_one_is_noted(tmp_path, monkeypatch, model):
    from pbpk.errors import Note
    from pbpk.model import load

    model("iodide")
    monkeypatch.chdir(tmp_path)
    load._note_shadowing.cache_clear()
    with pytest.warns(Note, match="in place of the bundled model"):
        load.load_model("iodide")


def test_a_structure_that_exits_is_the_models_fault(pbpk, model):
    (model("leaves") / "structure.py").write_text("import sys\nsys.exit(0)\n")
    said = pbpk("check", "leaves")
    assert said.code == 3 and "structure.py:2" in said.err and "SystemExit" in said.err


def test_data_outside_the_study_are_noted(tmp_path):
    from pbpk.errors import Note
    from pbpk.study.load import load_study

    write_study(tmp_path / "study", "oral_one_compartment")
    shutil.move(tmp_path / "study/data.csv", tmp_path / "data.csv")
    text = (tmp_path / "study/fit.toml").read_text()
    (tmp_path / "study/fit.toml").write_text(text.replace('"data.csv"', '"../data.csv"'))
    with pytest.warns(Note, match="outside its folder"):
        load_study(tmp_path / "study")
