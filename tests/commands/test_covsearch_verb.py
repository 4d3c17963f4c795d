"""`pbpk covsearch`: what it writes, that an interrupted one goes on to the same digits, and what it refuses."""

import csv
import json
import tomllib

import pytest

from .invoke import invoke, tree

ASKED = ("--relation", "CL: WT power", "--relation", "V: WT linear", "--estimation", "fo")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search in theophylline, run once: what it gave, and where it was typed. Not to be written to."""
    home = tmp_path_factory.mktemp("searched")
    return invoke(
        "covsearch", "theophylline", *ASKED, "--forward", "0.5", "--backward", "0.4", "--json", cwd=home
    ), home


def test_what_is_printed_and_written(searched):
    ran, home = searched
    assert ran.code == 0, ran.err
    found = ran.json
    folder = home / found["folder"]
    assert found["folder"] == "fits/theophylline/covsearch/001"
    assert found["schema_version"] == 1
    assert (found["method"], found["estimation"], found["forward"], found["backward"]) == ("scm", "fo", 0.5, 0.4)
    assert found["references"] == {"CL-WT power": 70.5, "V-WT linear": 70.5}
    names = {
        "command.txt",
        "run.json",
        "covsearch.json",
        "steps.csv",
        "parameters.csv",
        "forest.csv",
        "tests.csv",
        "final",
    }
    assert {p.name for p in folder.iterdir()} == names
    steps = list(csv.DictReader((folder / "steps.csv").read_text().splitlines()))
    assert len(steps) == len(found["steps"]) >= 2
    assert {"relation", "delta_ofv", "df", "p", "estimate", "se", "converged"} <= set(steps[0])
    for row, step in zip(steps, found["steps"], strict=True):
        assert float(row["delta_ofv"]) == step["delta_ofv"] and row["relation"] == step["relation"]
    kept = json.loads((folder / "covsearch.json").read_text())
    assert all(kept[k] == found[k] for k in kept)
    assert "the median of subjects" in ran.err and "of this step" in ran.err


def test_the_final_model_is_a_study_of_its_own(searched):
    ran, home = searched
    final = home / ran.json["folder"] / "final"
    text = tomllib.loads((final / "fit.toml").read_text())
    effects = [e["covariate"] for p in text["parameters"].values() for e in p.get("covariates", [])]
    assert len(effects) == len(ran.json["relations"])
    refitted = invoke("fit", final, "--json", "--out", "refit", cwd=home)
    assert refitted.code == 0
    assert refitted.json["method"] == "fo"
    assert refitted.json["ofv"] == pytest.approx(ran.json["ofv"], abs=1e-5)


def test_in_words(searched, tmp_path):
    _, home = searched
    ran = invoke("covsearch", "theophylline", *ASKED, "--method", "full", "--out", tmp_path / "full", cwd=home)
    assert ran.code == 0
    for word in ("full model by fo", "Wald χ²", "95th percentile", "relevance against 0.8 to 1.25", "too many effects"):
        assert word in ran.out


def test_an_interrupted_search_goes_on_to_the_same_digits(searched, tmp_path, monkeypatch):
    from pbpk.run_folders import checkpoint

    whole = searched[0].json
    real, calls = checkpoint.save_search_fit, []

    def armed(*args):
        real(*args)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    words = ("covsearch", "theophylline", *ASKED, "--forward", "0.5", "--backward", "0.4")
    with monkeypatch.context() as m:
        m.setattr(checkpoint, "save_search_fit", armed)
        ran = invoke(*words, cwd=tmp_path)
    partial = "fits/theophylline/covsearch/001.partial"
    assert ran.code == 130 and f"pbpk covsearch {partial} --resume" in ran.err
    assert len(list((tmp_path / partial / "fits").glob("*.npz"))) == 2
    resumed = invoke("covsearch", "theophylline", "--resume", "--json", cwd=tmp_path)
    assert resumed.code == 0 and "2 fits are there" in resumed.err
    same = ("ofv", "steps", "parameter_estimates", "standard_errors", "forest", "relations")
    assert {k: resumed.json[k] for k in same} == {k: whole[k] for k in same}
    assert not (tmp_path / partial).exists()


def test_a_run_is_where_its_search_starts(finished, pbpk, tmp_path):
    ran = pbpk("covsearch", "finished", "--relation", "CL: WT power", "--estimation", "fo", "--json")
    assert ran.code == 0
    assert ran.json["folder"] == "finished/covsearch/001"
    assert ran.json["study"] == "theophylline"


REFUSED = [
    (3, ("no relation is given",), ()),
    (3, ("no covariate `WEIGHT`", "did you mean `WT`"), ("--relation", "CL: WEIGHT power")),
    (3, ("no covariate form `powr`", "did you mean `power`"), ("--relation", "CL: WT powr")),
    (3, ("estimates no `CLX`",), ("--relation", "CLX: WT power")),
    (3, ("cannot be read", "PARAMETER: COVARIATE FORM"), ("--relation", "CL WT power")),
    (2, ("`forward` of 5 is no probability",), ("--relation", "CL: WT power", "--forward", "5")),
    (2, ("`method`",), ("--relation", "CL: WT power", "--method", "lasso")),
    (2, ("map cannot be used in a search",), ("--relation", "CL: WT power", "--estimation", "map")),
    (3, ("nowhere.toml", "does not exist"), ("--plan", "nowhere.toml")),
    (2, ("leave the other options out",), ("--relation", "CL: WT power", "--resume")),
    (3, ("no unfinished search",), ("--resume",)),
]


@pytest.mark.parametrize(("code", "words", "options"), REFUSED, ids=[w[1][0] for w in REFUSED])
def test_what_is_refused(refused, code, words, options):
    refused(code, *words)("covsearch", "theophylline", *options)


def test_no_such_study(refused):
    refused(3, "no study `theophyline`", "theophylline")("covsearch", "theophyline", "--relation", "CL: WT power")


def test_a_plan_in_a_file_and_options_beside(refused, tmp_path):
    (tmp_path / "plan.toml").write_text('[search]\nrelations = ["CL: AGE power"]\n')
    refused(3, "no covariate `AGE`")("covsearch", "theophylline", "--plan", "plan.toml")
    (tmp_path / "bad.toml").write_text('[search]\nrelation = ["CL: WT power"]\n')
    refused(3, "search.relation", "did you mean `relations`")("covsearch", "theophylline", "--plan", "bad.toml")


def test_a_constant_covariate(refused, study):
    rows = ["ID,TIME,AMT,DV,EVID,CMT,WT"]
    rows += [f"{i},{t}" for i in (1, 2) for t in ("0,100,.,1,depot,70", "1,.,2.0,0,central,70", "4,.,1.0,0,central,70")]
    study("mine", data="\n".join(rows) + "\n")
    refused(3, "`WT` is constant: 70 in every subject")("covsearch", "mine", "--relation", "CL: WT power")


def test_a_finished_folder_is_never_overwritten(searched, tmp_path):
    _, home = searched
    before = tree(home / "fits")
    ran = invoke("covsearch", "theophylline", *ASKED, "--out", "fits/theophylline/covsearch/001", cwd=home)
    assert ran.code == 3 and "exists already" in ran.err
    assert tree(home / "fits") == before
