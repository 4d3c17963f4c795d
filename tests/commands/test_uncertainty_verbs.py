"""`pbpk bootstrap`, `profile`, `sir` and `derived`: what they print, write and refuse, and an interrupted bootstrap."""

import csv
import json
import shutil

import pandas as pd
import pytest

import pbpk as library

from .invoke import invoke, tree
from .written_runs import write_run

NAMES = ["KA", "CL", "V", "add"]
SMALL = ("--samples", "200,200", "--resamples", "40,60")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with one finished run, by naive pooling: a quick program. Tests write beside each other, in it."""
    folder = tmp_path_factory.mktemp("questions")
    assert invoke("fit", "theophylline", "--method", "pooled", "--json", cwd=folder).code == 0
    return folder


@pytest.fixture
def ask(home):
    return lambda *args: invoke(*args, cwd=home)


@pytest.fixture
def run(home):
    return home / "fits/theophylline/runs/001"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same_files(a, b, *names):
    for name in names:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_bootstrap_gives_json_tables_and_a_verdict(ask, run, home):
    ran = ask("bootstrap", "theophylline", "--replicates", "20", "--bca", "--seed", "3", "--json")
    found = ran.json
    assert ran.code == 0 and found["schema_version"] == 1
    assert (found["replicates"], found["converged"], found["seed"], found["kind"]) == (20, 20, 3, "case")
    for key in ("parameter_estimates", "standard_errors", "bias", "ci_low", "ci_high", "bca_low", "bca_high"):
        assert list(found[key]) == NAMES, key
    folder = home / found["folder"]
    assert folder.parent == run / "bootstrap"
    assert {p.name for p in folder.iterdir()} == {
        *("bootstrap.csv", "bootstrap.json", "command.txt", "correlation.csv", "drawn.csv", "jackknife.csv"),
        *("run.json", "summary.csv"),
    }
    table = rows(folder / "bootstrap.csv")
    assert [int(r["replicate"]) for r in table] == list(range(1, 21)) and {r["converged"] for r in table} == {"true"}
    values = pd.read_csv(folder / "bootstrap.csv")["CL"]
    assert found["standard_errors"]["CL"] == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert len(rows(folder / "jackknife.csv")) == 12
    written = json.loads((folder / "bootstrap.json").read_text())
    assert written["standard_errors"] == found["standard_errors"]
    record = json.loads((folder / "run.json").read_text())
    assert record["settings"]["seed"] == 3 and record["versions"]["jax"]
    drawn = pd.read_csv(folder / "drawn.csv")
    assert list(drawn) == [str(i) for i in range(1, 13)] and (drawn.sum(axis=1) == 12).all()
    assert ran.out.startswith("{") and "first call compiles" in ran.err and "wrote" in ran.err
    result = library.bootstrap(run, 20, seed=3, bca=True)
    assert result.summary["se"].to_list() == list(found["standard_errors"].values())


def test_bootstrap_prints_a_table(ask):
    ran = ask("bootstrap", "theophylline/001", "--replicates", "5", "--kind", "parametric")
    assert ran.code == 0
    assert "parametric bootstrap, 5 replicates, seed 1" in ran.out and "5 of 5 replicates converged." in ran.out
    assert [line.split()[0] for line in ran.out.splitlines()[4:8]] == NAMES
    assert all(len(line) < 120 for line in ran.out.splitlines())


@pytest.mark.parametrize("call", [1, 17, 30])
def test_an_interrupted_bootstrap_goes_on_digit_for_digit(ask, home, run, monkeypatch, call):
    from pbpk.run_folders import checkpoint

    words = ("bootstrap", "theophylline", "--replicates", "24", "--bca", "--seed", "5")
    whole = ask(*words, "--out", f"whole{call}")
    assert whole.code == 0
    real, calls = checkpoint.append_replicate, []

    def armed(file, one):
        real(file, one)
        calls.append(1)
        if len(calls) == call:
            with file.open("a") as torn:
                torn.write("99,12.5,tr")
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "append_replicate", armed)
    stopped = ask(*words)
    monkeypatch.setattr(checkpoint, "append_replicate", real)
    assert stopped.code == 130 and stopped.out == "" and "Traceback" not in stopped.err
    partial = stopped.err.rstrip().split()[-2]
    assert partial.endswith(".partial") and stopped.err.rstrip().endswith(f"pbpk bootstrap {partial} --resume")
    assert not (home / partial / "bootstrap.json").exists()
    resumed = ask("bootstrap", "theophylline" if call == 17 else partial, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert f"{min(call, 24)} lines of bootstrap.csv are there" in resumed.err
    final = home / resumed.json["folder"]
    assert final == home / partial.removesuffix(".partial") and not (home / partial).exists()
    same_files(
        final, home / f"whole{call}", "bootstrap.csv", "jackknife.csv", "summary.csv", "correlation.csv", "drawn.csv"
    )
    assert ask("bootstrap", "theophylline", "--resume").code == 3, "none is left"


def test_profile(ask, run, home):
    ran = ask("profile", "theophylline", "--parameter", "CL", "--parameter", "add", "--json")
    found = ran.json
    assert ran.code == 0 and list(found["ci_low"]) == ["CL", "add"] and found["rise"] == pytest.approx(3.841459)
    estimate = found["parameter_estimates"]["CL"]
    assert found["ci_low"]["CL"] < estimate < found["ci_high"]["CL"]
    assert found["ci_low"]["CL"] == pytest.approx(found["wald_low"]["CL"], rel=0.05)
    folder = home / found["folder"]
    points = pd.read_csv(folder / "points.csv")
    assert set(points["parameter"]) == {"CL", "add"} and (points["delta_ofv"] > -1e-6).all()
    assert {p.name for p in folder.iterdir()} == {
        "command.txt",
        "points.csv",
        "profile.csv",
        "profile.json",
        "run.json",
    }
    table = library.profile(run, ["CL"]).table
    assert table["ci_low"].iloc[0] == pytest.approx(found["ci_low"]["CL"], rel=1e-6)
    text = ask("profile", "theophylline", "--parameter", "CL", "--level", "0.9")
    assert "90 %: ΔOFV = 2.706" in text.out and "Every interval has both ends." in text.out


def test_sir(ask, home, run):
    ran = ask("sir", "theophylline", *SMALL, "--seed", "7", "--json")
    found = ran.json
    assert ran.code == 0, ran.err
    assert (found["samples"], found["resamples"], found["seed"]) == ([200, 200], [40, 60], 7)
    assert list(found["standard_errors"]) == NAMES and found["degrees_of_freedom"] == pytest.approx(4, abs=1.5)
    folder = home / found["folder"]
    assert len(rows(folder / "sir.csv")) == 60 and len(rows(folder / "samples.csv")) == 400
    result = library.sir(run, (200, 200), (40, 60), seed=7)
    assert result.summary["se"].to_list() == list(found["standard_errors"].values())
    text = ask("sir", "theophylline", *SMALL)
    assert text.code == 0 and "effective" in text.out and "χ² with 4 degrees of freedom" in text.out


def test_derived(ask, home, run):
    words = ("derived", "theophylline", "--quantity", "t_half=log(2)*V/CL", "--quantity", "k = CL/V")
    ran = ask(*words, "--json")
    found = ran.json["quantities"]
    assert ran.code == 0 and list(found) == ["t_half", "k"]
    estimates = json.loads((run / "results.json").read_text())["parameter_estimates"]
    assert found["t_half"]["estimate"] == pytest.approx(0.6931471805599453 * estimates["V"] / estimates["CL"], rel=1e-9)
    assert (found["t_half"]["unit"], found["k"]["unit"]) == ("h", "1/h")
    assert found["t_half"]["se"] == pytest.approx(found["t_half"]["sample_se"], rel=0.1)
    text = ask(*words)
    assert "10000 vectors drawn from the covariance (R)" in text.out
    made = ask("bootstrap", "theophylline", "--replicates", "10", "--seed", "8", "--json").json["folder"]
    sampled = ask(*words, "--sample", "bootstrap", "--json").json
    assert sampled["sample"] == f"10 vectors of bootstrap {made[-3:]}"
    values = pd.read_csv(home / made / "bootstrap.csv")
    assert sampled["quantities"]["k"]["sample_se"] == pytest.approx((values["CL"] / values["V"]).std(ddof=1), rel=1e-9)
    result = library.derived(run, {"t_half": lambda p: 0.6931471805599453 * p["V"] / p["CL"]})
    assert result.table["estimate"].iloc[0] == pytest.approx(found["t_half"]["estimate"], rel=1e-9)


REFUSED = [
    (3, ("no run `nothing`",), ("bootstrap", "nothing")),
    (2, ("no spread",), ("bootstrap", "theophylline", "--replicates", "1")),
    (2, ("no bootstrap of kind `cases`",), ("bootstrap", "theophylline", "--kind", "cases")),
    (3, ("no column `SEX`",), ("bootstrap", "theophylline", "--strata", "SEX")),
    (2, ("has no strata",), ("bootstrap", "theophylline", "--kind", "parametric", "--strata", "WT")),
    (2, ("leave the other options out",), ("bootstrap", "theophylline", "--resume", "--seed", "2")),
    (3, ("no unfinished bootstrap",), ("bootstrap", "theophylline", "--resume")),
    (3, ("exists already",), ("bootstrap", "theophylline", "--out", "fits")),
    (3, ("no estimated parameter", "did you mean `CL`"), ("profile", "theophylline", "--parameter", "CLL")),
    (2, ("no probability",), ("profile", "theophylline", "--level", "95")),
    (2, ("2 numbers of samples, 5 of resamples",), ("sir", "theophylline", "--samples", "100,200")),
    (2, ('--samples "many" cannot be read',), ("sir", "theophylline", "--samples", "many")),
    (3, ("units do not fit",), ("derived", "theophylline", "--quantity", "x=CL+V")),
    (3, ("no parameter `Vc`",), ("derived", "theophylline", "--quantity", "x=Vc*2")),
    (2, ("cannot be read", "NAME=VALUE"), ("derived", "theophylline", "--quantity", "CL*2")),
    (3, ("holds no bootstrap.csv",), ("derived", "theophylline", "--quantity", "x=CL", "--sample", "nowhere")),
]


@pytest.mark.parametrize(("code", "words", "args"), REFUSED, ids=[" ".join(r[2]) for r in REFUSED])
def test_what_is_refused(ask, home, code, words, args):
    before = tree(home)
    ran = ask(*args)
    assert ran.code == code and ran.out == "" and "fault of pbpk" not in ran.err, ran
    assert ran.err.count("error: ") == 1
    for word in words:
        assert word in ran.err.replace("\n", " "), ran.err
    assert tree(home) == before


def spoilt(run, folder, **changes):
    """A copy of the run with entries of its results.json changed."""
    copy = shutil.copytree(run, folder)
    results = json.loads((copy / "results.json").read_text())
    (copy / "results.json").write_text(json.dumps(results | changes))
    return copy


@pytest.mark.parametrize("verb", ["bootstrap", "profile", "sir", "derived"])
def test_runs_that_cannot_be_questioned(ask, home, run, verb, tmp_path, refused):
    more = ("--quantity", "x=CL") if verb == "derived" else ()
    lost = spoilt(run, tmp_path / "lost", minimization_successful=False, termination_cause="iteration limit")
    refused(1, "not minimised (iteration limit)")(verb, lost, *more)
    unfinished = shutil.copytree(run, tmp_path / "unfinished.partial")
    (unfinished / "results.json").unlink()
    refused(3, "is not finished", "--resume")(verb, unfinished, *more)
    bare = shutil.copytree(run, tmp_path / "bare")
    (bare / "checkpoint.npz").unlink()
    refused(3, "checkpoint.npz", "fit the study again")(verb, bare, *more)
    refused(3, "checkpoint.npz")(verb, write_run(tmp_path / "written"), *more)
    if verb != "derived":
        moved = spoilt(run, tmp_path / "moved", method="map")
        refused(2, "a run by map cannot be evaluated many times", "focei, foce, fo")(verb, moved, *more)


def test_a_run_without_a_covariance(refused, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "none")
    pd.DataFrame(index=NAMES, columns=NAMES, dtype=float).to_csv(copy / "covariance.csv")
    refused(3, "no covariance matrix to propose from", "pbpk bootstrap needs none")("sir", copy)
    refused(3, "no covariance matrix")("derived", copy, "--quantity", "x=CL")


def test_a_sample_of_another_run_is_refused(ask, home, run, refused, tmp_path):
    made = home / ask("bootstrap", "theophylline", "--replicates", "3", "--json").json["folder"]
    other = spoilt(run, tmp_path / "other", seed=99)
    refused(3, "is not of")("derived", other, "--quantity", "x=CL", "--sample", made)


def test_patients_simulated_with_a_bootstraps_vectors(ask, run):
    """Each new patient has the estimates of one replicate."""
    if not list((run / "bootstrap").glob("[0-9]*/bootstrap.csv")):
        assert ask("bootstrap", "theophylline", "--replicates", "5", "--json").code == 0
    path = library.simulate(
        str(run), library.parse_dose("320 mg oral"), [1.0, 4.0], patients=30, uncertainty="bootstrap"
    )
    latest = sorted((run / "bootstrap").glob("[0-9]*"))[-1]
    kept = pd.read_csv(latest / "bootstrap.csv")["CL"].to_numpy()
    nearest = abs(path.estimates["CL"].to_numpy()[:, None] / kept - 1).min(axis=1)
    assert nearest.max() < 1e-9
