"""`pbpk vpc` and `pbpk npde`: what they write, what the page then shows, and what they refuse."""

import json
import sys

import pandas as pd
import pytest

import pbpk as library


def test_vpc_writes_numbers_and_figures_beside_the_run(pbpk, finished):
    ran = pbpk("vpc", "finished", "--replicates", "60", "--json")
    assert ran.code == 0, ran
    folder = finished / "vpc" / "001"
    assert ran.json["schema_version"] == 1 and ran.json["folder"] == "finished/vpc/001"
    assert sorted(p.name for p in folder.iterdir()) == [
        *("command.txt", "points.csv", "run.json", "vpc-1.png", "vpc.csv", "vpc.json"),
    ]
    table = pd.read_csv(folder / "vpc.csv")
    assert set(table["LEVEL"]) == {5, 50, 95} and table["N"].sum() == 3 * 132
    assert len(pd.read_csv(folder / "points.csv")) == 132
    saved = json.loads((folder / "vpc.json").read_text())
    assert saved["inside"] == ran.json["inside"] and saved["verdict"] == ran.json["verdict"]
    assert (folder / "vpc-1.png").read_bytes().startswith(b"\x89PNG")
    again = pbpk("vpc", "finished", "--replicates", "60")
    assert again.code == 0 and "inside their 90 % interval" in again.out
    assert (finished / "vpc" / "002" / "vpc.csv").read_bytes() == (folder / "vpc.csv").read_bytes()


def test_vpc_with_all_it_takes(pbpk, finished, tmp_path):
    ran = pbpk(
        *("vpc", "finished", "--replicates", "30", "--bins", "0,1.5,6,26", "--by", "WT", "--prediction-corrected"),
        *("--quantiles", "10,90", "--interval", "80", "--endpoint", "cp", "--seed", "7", "--out", "mine", "--json"),
    )
    assert ran.code == 0, ran
    assert ran.json["prediction_corrected"] and ran.json["quantiles"] == [10, 90]
    rows = pd.DataFrame(ran.json["statistics"])
    assert len(rows) == 2 * 3 * 2 and set(rows["LEVEL"]) == {"10", "90"}
    assert (tmp_path / "mine" / "vpc-2.png").exists()
    assert any("prediction of 0" in note for note in ran.json["notes"])


def test_npde_writes_its_table(pbpk, finished):
    ran = pbpk("npde", "finished", "--replicates", "100", "--json")
    assert ran.code == 0, ran
    folder = finished / "npde" / "001"
    table = pd.read_csv(folder / "npde.csv")
    assert list(table.columns[:5]) == ["ID", "TIME", "DVID", "NPDE", "NPD"] and len(table) == 132
    assert ran.json["tests"]["npde"]["cp"]["mean"] == pytest.approx(table["NPDE"].mean())
    assert (folder / "npde-1.png").exists()
    plain = pbpk("npde", "finished", "--replicates", "100")
    assert plain.code == 0 and ran.json["verdict"] in plain.out


def test_the_page_shows_the_latest_of_both(pbpk, finished):
    assert pbpk("vpc", "finished", "--replicates", "25").code == 0
    assert pbpk("vpc", "finished", "--replicates", "30", "--prediction-corrected").code == 0
    assert pbpk("npde", "finished", "--replicates", "50").code == 0
    assert pbpk("report", "finished").code == 0
    page = (finished / "report.html").read_text()
    assert 'id="vpc"' in page and 'id="npde"' in page
    assert "Prediction-corrected visual predictive check with 30 replicates, seed 1 (vpc/002)." in page
    assert "Prediction distribution errors from 50 replicates" in page
    assert "Random effects and covariates" in page and "None of 3 pairs is associated beyond chance" in page


def test_a_check_of_another_run_is_not_shown(pbpk, finished):
    assert pbpk("vpc", "finished", "--replicates", "25").code == 0
    results = json.loads((finished / "results.json").read_text())
    (finished / "results.json").write_text(json.dumps(results | {"ofv": 1.0}))
    assert pbpk("report", "finished").code == 0
    assert 'id="vpc"' not in (finished / "report.html").read_text()


def test_the_library_has_both(finished, monkeypatch):
    monkeypatch.chdir(finished.parent)
    found = library.vpc("finished", 30, bins=[0, 2, 30], bin_method="time")
    assert list(found.table["BIN"].unique()) == [1, 2]
    assert library.npde("finished", 40).table["NPDE"].notna().all()


@pytest.mark.parametrize("verb", ["vpc", "npde"])
def test_runs_that_cannot_be_judged(refused, finished, verb):
    refused(2, "19 replicates are too few")(verb, "finished", "--replicates", "19")
    refused(3, "no run `nowhere`")(verb, "nowhere")
    refused(3, "no endpoint `cpp` was observed", "did you mean `cp`?")(
        verb, "finished", "--endpoint", "cpp", "--replicates", "20"
    )
    partial = finished.rename(finished.with_name("half.partial"))
    (partial / "results.json").unlink()
    refused(3, "is not finished", "--resume")(verb, "half")


def test_what_a_vpc_cannot_be_asked(refused, finished):
    few = ("vpc", "finished", "--replicates", "20")
    refused(3, "no covariate `WTT`", "did you mean `WT`?")(*few, "--by", "WTT")
    refused(3, "no way of binning called `jenk`", "did you mean `jenks`?")(*few, "--bin-method", "jenk")
    refused(3, "no observation lies inside the bins")(*few, "--bins", "100,200")
    refused(2, "--bins", "cannot be read")(*few, "--bins", "a,b")
    refused(2, "edges of bins must rise")(*few, "--bins", "4,2")
    refused(2, "quantiles lie between 0 and 100")(*few, "--quantiles", "0,50")


def test_a_run_whose_data_have_changed(refused, finished):
    data = finished / "data.csv"
    data.write_text(data.read_text().replace("319.992", "400"))
    refused(3, "data.csv: is not as it was when the run was started")("vpc", "finished", "--replicates", "20")


def test_a_run_that_did_not_converge_is_judged_with_a_note(pbpk, finished):
    results = json.loads((finished / "results.json").read_text())
    results |= {"minimization_successful": False, "termination_cause": "iteration limit"}
    (finished / "results.json").write_text(json.dumps(results))
    ran = pbpk("vpc", "finished", "--replicates", "20")
    assert ran.code == 0 and "did not converge (iteration limit)" in ran.err


@pytest.mark.parametrize(("verb", "file"), [("vpc", "vpc.csv"), ("npde", "npde.csv")])
def test_without_matplotlib_the_numbers_are_there_and_the_code_is_4(pbpk, finished, monkeypatch, verb, file):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = pbpk(verb, "finished", "--replicates", "30", "--json")
    assert ran.code == 4 and 'pip install "pbpk[report]"' in ran.err
    assert ran.json["replicates"] == 30
    assert (finished / verb / "001" / file).exists()
    assert not list((finished / verb / "001").glob("*.png"))


@pytest.mark.slow
def test_what_m1_left_out_of_the_fit_is_counted_here(pbpk, study, tmp_path):
    """The fit leaves out what lies below 2 mg/L; the check counts it as censored, in data and replicates."""
    study("limited", {'model = "additive"\nadd = 1.0': 'model = "additive"\nadd = 1.0\nlloq = 2.0\nblq = "M1"'})
    fitted = pbpk("fit", "limited", "--json")
    assert fitted.code == 0, fitted
    gone = 132 - fitted.json["observations"]
    assert gone > 15
    ran = pbpk("vpc", "limited", "--replicates", "100", "--json")
    assert ran.code == 0, ran
    assert ran.json["limits"] == {"cp": {"lower": 2.0}}
    assert any("which the fit left out" in note for note in ran.json["notes"])
    below = [r for r in ran.json["statistics"] if r["PANEL"] == "below"]
    assert sum(r["N"] for r in below) == 132
    assert sum(r["N"] * r["OBSERVED"] for r in below) == pytest.approx(gone)
    assert sum(r["N"] * r["MEDIAN"] for r in below) == pytest.approx(gone, rel=0.35)
    table = pd.read_csv(tmp_path / ran.json["folder"] / "points.csv")
    assert table["BELOW"].sum() == gone
    assert pbpk("npde", "limited", "--replicates", "100").code == 0
    assert pbpk("report", "limited").code == 0
    assert "share below the limit" in (tmp_path / fitted.json["run"] / "report.html").read_text()
