"""`pbpk fit`: the numbers, the JSON that scripts rely on, and the run folder."""

import csv
import json
import math
import shlex
import shutil
import sys
from hashlib import sha256

import pytest

from .invoke import ROOT, tree

FILES = {
    "checkpoint.npz",
    "command.txt",
    "covariance.csv",
    "data.csv",
    "fit.toml",
    "iterations.csv",
    "parameters.csv",
    "patab.csv",
    "report.html",
    "results.json",
    "run.json",
    "sdtab.csv",
    "warnings.txt",
}
PARAMETERS = ["KA", "CL", "V", "OMEGA_KA", "OMEGA_CL", "OMEGA_V", "add"]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_json_has_the_fields_that_scripts_rely_on(fitted):
    ran, _ = fitted
    assert ran.code == 0
    found = ran.json
    assert found["schema_version"] == 1
    assert found["ofv"] == pytest.approx(116.8034, abs=1e-3)
    assert found["minus2ll"] == pytest.approx(found["ofv"] + 132 * math.log(2 * math.pi), rel=1e-12)
    assert list(found["parameter_estimates"]) == PARAMETERS
    assert list(found["standard_errors"]) == PARAMETERS
    assert all(se > 0 for se in found["standard_errors"].values())
    for name, se in found["standard_errors"].items():
        rse = found["relative_standard_errors"][name]
        assert rse == pytest.approx(se / found["parameter_estimates"][name], rel=1e-12)
    assert found["minimization_successful"] is True
    assert found["termination_cause"] == "converged"
    assert found["run"] == "fits/theophylline/runs/001"
    assert found["parameter_units"]["CL"] == "L/h"
    assert len(found["individual_estimates"]) == 12 and set(found["eta_shrinkage"]) == {"KA", "CL", "V"}


def test_talk_goes_to_stderr(fitted):
    ran, _ = fitted
    assert ran.out.startswith("{") and ran.out.rstrip().endswith("}")
    for part in ("12 subjects, 132 observations", "iter", "converged", "standard errors", "wrote fits/theophylline"):
        assert part in ran.err
    counted = [int(line.split()[0]) for line in ran.err.splitlines() if line.strip()[:1].isdigit()]
    assert counted == list(range(len(counted))), "one line for each iteration, from 0"


def test_run_folder_is_whole(fitted):
    ran, home = fitted
    run = home / ran.json["run"]
    assert {p.name for p in run.iterdir() if p.is_file()} == FILES
    assert {str(p.relative_to(run)) for p in (run / "model").rglob("*") if p.is_file()} >= {
        f"model/oral_one_compartment/{name}" for name in ("structure.py", "parameters.toml", "references.bib")
    }
    assert not list(home.rglob("*.partial")) and not list(home.rglob("*.tmp*"))


def test_run_folder_says_how_to_repeat_the_run(fitted):
    ran, home = fitted
    run = home / ran.json["run"]
    assert shlex.split((run / "command.txt").read_text()) == ["pbpk", "fit", "theophylline", "--json"]
    record = json.loads((run / "run.json").read_text())
    assert (record["study"], record["method"], record["seed"], record["float64"]) == ("theophylline", "focei", 1, True)
    assert {"python", "jax", "numpy", "pbpk"} <= set(record["versions"]) and record["devices"]
    for name, digest in record["sha256"].items():
        assert sha256((run / name).read_bytes()).hexdigest() == digest
    assert (run / "data.csv").read_bytes() == (ROOT / "fits/theophylline/data.csv").read_bytes()


def test_tables_hold_the_same_numbers(fitted):
    ran, home = fitted
    run, found = home / ran.json["run"], ran.json
    assert json.loads((run / "results.json").read_text()) == found
    table = rows(run / "parameters.csv")
    assert [r["name"] for r in table] == PARAMETERS
    assert {"label", "unit", "se", "rse", "ci_low", "ci_high", "cv", "shrinkage", "fixed"} <= set(table[0])
    assert {r["name"]: float(r["estimate"]) for r in table} == pytest.approx(found["parameter_estimates"])
    observed = rows(run / "sdtab.csv")
    assert len(observed) == 132
    assert {"ID", "TIME", "DV", "PRED", "IPRED", "IWRES", "CWRES"} <= set(observed[0])
    assert float(observed[3]["DV"]) == 10.5 and float(observed[3]["TIME"]) == 1.12
    individual = rows(run / "patab.csv")
    assert [r["ID"] for r in individual] == [str(i) for i in range(1, 13)]
    assert float(individual[0]["CL"]) == pytest.approx(found["individual_estimates"]["1"]["CL"])
    covariance = rows(run / "covariance.csv")
    assert len(covariance) == len(PARAMETERS)
    assert float(covariance[1]["CL"]) == pytest.approx(found["standard_errors"]["CL"] ** 2)
    iterations = rows(run / "iterations.csv")
    assert float(iterations[-1]["ofv"]) == pytest.approx(found["ofv"], rel=1e-12)


def test_a_second_run_takes_the_next_number_and_touches_nothing(pbpk, tmp_path):
    first = pbpk("fit", "theophylline", "--method", "map")
    before = tree(tmp_path)
    assert first.code == 0 and "fits/theophylline/runs/001/results.json" in before
    assert pbpk("fit", "theophylline", "--method", "map", "--json").json["run"] == "fits/theophylline/runs/002"
    after = tree(tmp_path)
    assert {k: v for k, v in after.items() if k in before} == before
    shutil.rmtree(tmp_path / "fits/theophylline/runs/001")
    assert pbpk("fit", "theophylline", "--method", "map", "--json").json["run"].endswith("003"), "numbers never return"


def test_out_is_respected_and_never_overwritten(pbpk, refused, tmp_path):
    ran = pbpk("fit", "theophylline", "--method", "map", "--out", "some/where", "--json")
    assert ran.code == 0 and ran.json["run"] == "some/where"
    assert (tmp_path / "some/where/results.json").exists()
    assert not (tmp_path / "fits").exists()
    refused(3, "some/where", "never overwritten", "--out")("fit", "theophylline", "--out", "some/where")


def test_without_json_the_table_is_printed(pbpk):
    ran = pbpk("fit", "theophylline", "--method", "pooled")
    assert ran.code == 0
    for part in ("OFV 216.15", "KA", "CL", "1/h", "%RSE", "Minimisation: converged"):
        assert part in ran.out
    assert "ΔOFV" not in ran.out and "wrote" not in ran.out


@pytest.mark.parametrize(("given", "value"), [("CL=3", 3.0), ("CL=50 mL/min", 3.0), ("parameters.CL.initial=3.5", 3.5)])
def test_set_gives_initial_values_in_any_unit(pbpk, given, value):
    found = pbpk("fit", "theophylline", "--method", "map", "--set", given, "--json").json
    assert found["parameter_estimates"]["CL"] == pytest.approx(value, rel=1e-12), "MAP leaves θ where it starts"


def test_set_reaches_constants_of_the_model_and_settings_of_the_fit(pbpk):
    plain = pbpk("fit", "theophylline", "--method", "map", "--json").json
    halved = pbpk("fit", "theophylline", "--method", "map", "--set", "F1=0.5", "--json").json
    assert halved["ofv"] != pytest.approx(plain["ofv"], abs=1)
    other = pbpk("fit", "theophylline", "--set", "estimation.method=map", "--set", "estimation.seed=7", "--json").json
    assert (other["method"], other["seed"], other["ofv"]) == ("map", 7, plain["ofv"])


@pytest.mark.parametrize("seed", [0, 5])
def test_seed_is_recorded_as_given(pbpk, tmp_path, seed):
    found = pbpk("fit", "theophylline", "--method", "map", "--seed", seed, "--json").json
    assert found["seed"] == seed
    assert json.loads((tmp_path / found["run"] / "run.json").read_text())["seed"] == seed


def test_a_users_study_is_found_by_name_and_by_folder(pbpk, study, tmp_path):
    study("mine", {'"focei"': '"map"', 'title = "Oral': 'title = "My oral'})
    assert pbpk("fit", "mine", "--json").json["run"] == "fits/mine/runs/001"
    assert pbpk("fit", "fits/mine", "--json").json["run"] == "fits/mine/runs/002"
    assert pbpk("fit", tmp_path / "fits/mine/fit.toml", "--json").json["study"] == "mine"


def test_a_fit_that_does_not_converge_says_so_and_leaves_a_whole_folder(pbpk, monkeypatch, tmp_path):
    monkeypatch.setattr("pbpk.estimation.quasi_newton.MOST_ITERATIONS", 1)
    ran = pbpk("fit", "theophylline", "--method", "pooled", "--json")
    assert ran.code == 1
    assert ran.json["minimization_successful"] is False
    assert ran.json["termination_cause"] == "iteration limit"
    run = tmp_path / ran.json["run"]
    assert {p.name for p in run.iterdir() if p.is_file()} == FILES
    assert json.loads((run / "results.json").read_text())["minimization_successful"] is False
    text = pbpk("fit", "theophylline", "--method", "pooled")
    assert text.code == 1 and "NOT CONVERGED (iteration limit)" in text.out


def test_without_the_report_extra_the_fit_still_counts(pbpk, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = pbpk("fit", "theophylline", "--method", "map", "--json")
    assert ran.code == 0
    assert "no report.html" in ran.err and 'pip install "pbpk[report]"' in ran.err
    files = {p.name for p in (tmp_path / ran.json["run"]).iterdir() if p.is_file()}
    assert files == FILES - {"report.html"}


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_a_missing_device(process):
    import jax

    if any(d.platform == "gpu" for d in jax.devices()):
        pytest.skip("there is a GPU")
    running = process("fit", "theophylline", "--device", "gpu")
    out, err = running.communicate()
    assert running.returncode == 4 and out == ""
    assert "error: no GPU that JAX can use" in err and "Traceback" not in err


def test_an_evaluation_leaves_a_run(pbpk, tmp_path):
    ran = pbpk("fit", "theophylline", "--evaluate", "--set", "CL=2.8", "--json")
    assert ran.code == 0 and ran.json["termination_cause"].startswith("evaluated")
    assert ran.json["parameter_estimates"]["CL"] == 2.8 and ran.json["standard_errors"] == {}
    assert (tmp_path / ran.json["run"] / "sdtab.csv").exists()
    assert pbpk("fit", "theophylline", "--evaluate", "--starts", "3").code == 2
