"""Rival hypotheses from one study: variants by `--set options.…`, resumed, fitted again from their folder, compared."""

import json
import sys

import pytest

STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe, option

central, deep = Compartment("central", "mg", volume="V"), Compartment("deep", "mg")
options = (option("retention", "free bound", "whether tissue binds it"),)


def model(chosen):
    arrows = [flux(central >> OUT, first_order, a=amount(central), k="K")]
    if chosen.retention == "bound":
        arrows.append(flux(central >> deep, first_order, a=amount(central), k="deep.bind"))
        arrows.append(flux(deep >> central, first_order, a=amount(deep), k="deep.release"))
    pools = (central, deep) if chosen.retention == "bound" else (central,)
    return Block(pools, tuple(arrows), observables=(observe("cp", conc(central), "plasma"),), routes={"iv": central})
"""
ROW = '{{ value = {}, unit = "{}", about = "a number", source = "{}", status = "fitted" }}'
TABLE = f"""
K = {ROW.format(0.2, "1/h", "own2026")}
V = {ROW.format(10.0, "L", "shared2026")}
[deep]
bind = {ROW.format(0.3, "1/h", "own2026")}
release = {ROW.format(0.1, "1/h", "own2026")}
"""
FIT = """
model = "tissue"
[data]
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
dose_into = "central"
[parameters.K]
initial = 0.2
[parameters.V]
initial = 10.0
[error.cp]
model = "proportional"
prop = 0.2
[estimation]
method = "pooled"
"""
# 10 exp(−0.9 t) + 2 exp(−0.03 t) within 5 %: two exponentials
DATA = """ID,TIME,AMT,DV
1,0,120,.
1,0.5,.,8.61
1,1,.,5.87
1,2,.,3.72
1,4,.,1.98
1,8,.,1.62
1,24,.,0.93
2,0,120,.
2,0.5,.,8.12
2,1,.,6.19
2,2,.,3.51
2,4,.,2.11
2,8,.,1.51
2,24,.,1.01
"""
BOUND = ("--set", "options.retention=bound")
RESULT = ("ofv", "parameter_estimates", "standard_errors", "options")


@pytest.fixture
def rivals(tmp_path, monkeypatch):
    """The study `rivals`, which carries its model; some of its sources are in a references.bib that studies share."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no report: it is most of a fit this small
    folder = tmp_path / "fits" / "rivals"
    (folder / "tissue").mkdir(parents=True)
    for name, text in {
        "fit.toml": FIT,
        "data.csv": DATA,
        "tissue/structure.py": STRUCTURE,
        "tissue/parameters.toml": TABLE,
        "tissue/references.bib": "@misc{own2026, title={Ours}}\n",
        "references.bib": "@misc{shared2026, title={Shared}}\n",
    }.items():
        (folder / name).write_text(text)
    return folder


def numbers(result):
    return {k: result[k] for k in RESULT}


def test_rivals_are_fitted_recorded_resumed_and_compared(pbpk, rivals, tmp_path, monkeypatch):
    free = pbpk("fit", "rivals", "--json")
    bound = pbpk("fit", "rivals", *BOUND, "--json")
    assert free.code == 0 and bound.code == 0, (free.err, bound.err)
    assert (free.json["options"], bound.json["options"]) == ({"retention": "free"}, {"retention": "bound"})
    record = json.loads((tmp_path / "fits/rivals/runs/002/run.json").read_text())
    assert (record["model"], record["options"]) == ("tissue", {"retention": "bound"})
    assert record["settings"]["options.retention"] == "bound" and record["started"] > "2026"
    frozen = {
        p.relative_to(tmp_path / "fits/rivals/runs/002").as_posix()
        for p in (tmp_path / "fits/rivals/runs/002").rglob("*.*")
    }
    assert {"model/tissue/structure.py", "model/tissue/parameters.toml"} <= frozen
    assert {"model/tissue/references.bib", "model/references.bib"} <= frozen

    with (
        monkeypatch.context() as patch
    ):  # interrupted after its second checkpoint, then everything it came from is lost
        from pbpk.run_folders import checkpoint

        save, calls = checkpoint.save_state, []

        def interrupted(*args):
            save(*args)
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt

        patch.setattr(checkpoint, "save_state", interrupted)
        assert pbpk("fit", "rivals", *BOUND).code == 130
    kept = {p: p.read_bytes() for p in rivals.rglob("*") if p.is_file() and "runs" not in p.parts}
    for path in kept:
        path.unlink()
    resumed = pbpk("fit", "rivals", "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert numbers(resumed.json) == numbers(bound.json)

    again = pbpk("fit", "fits/rivals/runs/002", "--out", "again", "--json")  # a run's folder is a study
    assert again.code == 0 and numbers(again.json) == numbers(bound.json)
    assert json.loads((tmp_path / "again/run.json").read_text())["settings"]["options.retention"] == "bound"

    listed = pbpk("runs", "rivals", "--json").json["runs"]
    assert [r["asked"] for r in listed] == [{}, {"retention": "bound"}, {"retention": "bound"}]
    ran = pbpk("compare", "rivals/001", "rivals/002", "--json")
    (test,) = ran.json["likelihood_ratio_tests"]
    assert ran.code == 0 and test["nested"] is False and "option retention differs" in test["reason"]
    assert ran.json["runs"][1]["akaike_weight"] > 0.99, "two exponentials made these data"
    assert ran.json["runs"][0]["ofv"] == free.json["ofv"] and ran.json["runs"][0]["aic"] == free.json["aic"]
    assert ran.json["runs"][0]["bic"] == free.json["bic"]


def test_nested_runs_of_one_study(pbpk, rivals):
    """The binding is a constant of the first, estimated by the second: `--set` takes entries in, and out again."""
    binding = ("--set", "parameters.deep.bind.initial=0.4")
    small = pbpk("fit", "rivals", *BOUND, "--json").json
    large = pbpk("fit", "rivals", *BOUND, *binding, "--json").json
    smaller = pbpk("fit", "rivals", *BOUND, *binding, "--set", "parameters.K=none", "--json").json
    assert list(large["parameter_estimates"]) == ["K", "V", "deep.bind", "prop"]
    assert list(smaller["parameter_estimates"]) == ["V", "deep.bind", "prop"]
    (test, other) = pbpk("compare", "rivals/002", "rivals/001", "rivals/003", "--json").json["likelihood_ratio_tests"]
    assert (test["smaller"], test["freed"], test["degrees"]) == ("001", ["deep.bind"], 1)
    assert test["statistic"] == pytest.approx(small["ofv"] - large["ofv"], rel=1e-12) and 0 <= test["p_value"] <= 1
    assert (other["smaller"], other["freed"]) == ("003", ["K"])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("options.retention=bond", ['"bond" is not a choice of `retention`', "did you mean `bound`?"]),
        ("options.retentoin=bound", ["no option `retentoin`", "did you mean `retention`?"]),
        ("parameters.deep.bind.initial=0.1", ["no such parameter", "leave it out:  --set deep.bind=none"]),
        ("parameters.V.iiv=none", ["`parameters.V.iiv` is not there to be taken out"]),
    ],
)
def test_refused(refused, rivals, setting, words):
    refused(3, *words)("fit", "rivals", "--set", setting)


def test_a_model_without_options(refused):
    refused(3, "no option `retention`", "this model has none")(
        "fit", "theophylline", "--set", "options.retention=bound"
    )
