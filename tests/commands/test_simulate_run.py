"""`pbpk simulate RUN` and `pbpk.simulate(run, …)`: new patients of a fit, against draws by NumPy and closed forms."""

import numpy as np
import oracle
import pandas as pd
import pytest

import pbpk as library
from pbpk.errors import BadInput

TIMES = np.array([1.0, 4.0, 12.0, 30.0])
REGIMEN = library.parse_dose("320 mg oral every 24 h x 2")
DOSES = [(0.0, 320.0), (24.0, 320.0)]


def draw_by_numpy(estimates, count):
    """cp (T, N) of new patients, from the run's table of estimates."""
    rng = np.random.default_rng(8)
    names = ("KA", "CL", "V")
    sd = np.sqrt([estimates.get(f"OMEGA_{n}", 0.0) for n in names])
    eta = sd[:, None] * rng.standard_normal((3, count))
    typical = np.array([estimates[n] for n in names])
    ka, cl, v = typical[:, None] * np.exp(eta)
    return np.stack([oracle.oral(t, DOSES, ka, cl, v) for t in TIMES])


def test_new_patients_have_the_fits_distribution(fitted, finished):
    """Quantiles of 4,000 patients against 40,000 by NumPy: within four standard errors of each; and the residual error."""
    estimates = fitted[0].json["parameter_estimates"]
    path = library.simulate(str(finished), REGIMEN, TIMES, patients=4000, seed=2)
    other = draw_by_numpy(estimates, 40_000)
    for q in (0.05, 0.5, 0.95):
        for ours, theirs in zip(np.asarray(path["cp"]), other, strict=True):
            wanted = np.quantile(theirs, q)
            density = np.mean(np.abs(theirs - wanted) < 0.1) / 0.2
            error = np.sqrt(q * (1 - q) / 4000) / density
            assert abs(np.quantile(ours, q) - wanted) < 4 * error, q
    residual = np.asarray(path["DV:cp"] - path["cp"])
    assert path.unit["DV:cp"] == "mg/L"
    assert residual.std() == pytest.approx(estimates["add"], rel=4 / np.sqrt(2 * residual.size))
    assert abs(np.corrcoef(residual)[0, 1]) < 4 / np.sqrt(4000)
    assert np.allclose(path.estimates["CL"], estimates["CL"]) and path.source == "the estimates"


def test_a_patient_is_the_same_however_many_there_are(finished):
    few, many = (
        library.simulate(str(finished), REGIMEN, TIMES, patients=n, seed=5, uncertainty="covariance") for n in (3, 40)
    )
    for name in ("cp", "DV:cp"):
        np.testing.assert_array_equal(np.asarray(few[name]), np.asarray(many[name])[:, :3])
    pd.testing.assert_frame_equal(few.estimates, many.estimates.iloc[:3])
    other = library.simulate(str(finished), REGIMEN, TIMES, patients=3, seed=6)
    assert not np.allclose(np.asarray(other["cp"]), np.asarray(few["cp"]))


def test_the_typical_patient_is_at_the_estimates(fitted, finished):
    e = fitted[0].json["parameter_estimates"]
    path = library.simulate(str(finished), REGIMEN, TIMES)
    closed = [oracle.oral(t, DOSES, e["KA"], e["CL"], e["V"]) for t in TIMES]
    np.testing.assert_allclose(np.asarray(path["cp"])[:, 0], closed, rtol=1e-8)
    assert list(path.observables) == ["cp"]
    set_by_hand = library.simulate(str(finished), REGIMEN, TIMES, values={"CL": "50 mL/min"})
    closed = [oracle.oral(t, DOSES, e["KA"], 3.0, e["V"]) for t in TIMES]
    np.testing.assert_allclose(np.asarray(set_by_hand["cp"])[:, 0], closed, rtol=1e-8)


def test_estimates_are_as_uncertain_as_the_covariance_says(fitted, finished):
    """ln CL of 4,000 patients: its standard deviation is the relative standard error (delta method)."""
    found = fitted[0].json
    path = library.simulate(str(finished), REGIMEN, [1.0], patients=4000, seed=1, uncertainty="covariance")
    for name in ("CL", "V", "add"):
        relative = found["standard_errors"][name] / found["parameter_estimates"][name]
        assert np.log(path.estimates[name]).std() == pytest.approx(relative, rel=4 / np.sqrt(8000)), name
    assert path.source == "the covariance (R)"


def test_a_posteriors_draws_are_what_patients_have(fitted, finished):
    """Every patient's vector is one of those that the run kept, and all of them come up."""
    names = ["KA", "CL", "V", *(n for n in fitted[0].json["parameter_estimates"] if n.startswith("OMEGA")), "add"]
    free = [n for n in fitted[0].json["parameter_estimates"] if n in names]
    kept = np.array([fitted[0].json["parameter_estimates"][n] for n in free]) * np.linspace(0.9, 1.1, 5)[:, None]
    np.savez(finished / "draws.npz", names=np.array(free), parameters=kept.reshape(1, 5, -1))
    path = library.simulate(str(finished), REGIMEN, [1.0], patients=200, uncertainty="posterior")
    drawn = np.unique(np.round(path.estimates["CL"].to_numpy(), 9))
    np.testing.assert_allclose(drawn, kept[:, free.index("CL")], rtol=1e-8)


def test_the_verb(pbpk, finished, tmp_path):
    ran = pbpk("simulate", "finished", "--dose", "4 mg/kg oral", "--times", "1,4", "--patients", "20", "--json")
    found = ran.json
    assert ran.code == 0 and found["patients"] == 20 and found["estimates"] == "the estimates"
    assert list(found["observables"]) == ["cp", "DV:cp"]
    table = pd.read_parquet(tmp_path / found["folder"] / "patients.parquet")
    assert {"CL", "WT", "estimate_add"} <= set(table.columns)
    weights = pd.read_csv(finished / "data.csv", na_values=".")["WT"].dropna()
    assert set(table["WT"]) <= set(weights)
    curves = pd.read_parquet(tmp_path / found["folder"] / "curves.parquet")
    path = library.simulate(str(finished), library.parse_dose("4 mg/kg oral"), [1.0, 4.0], patients=20)
    np.testing.assert_array_equal(curves["DV:cp"].to_numpy().reshape(20, 2).T, np.asarray(path["DV:cp"]))


def test_what_cannot_be_asked_of_a_run(finished, refused):
    doses = ("--dose", "320 mg oral", "--times", "1,4")
    refused(3, "draws")("simulate", "finished", *doses, "--patients", "5", "--uncertainty", "posterior")
    refused(3, "did you mean `CL`")("simulate", "finished", *doses, "--set", "CLL=3")
    refused(2, "--nuclide")("simulate", "finished", *doses, "--nuclide", "I-131")
    refused(2, "--uncertainty")("simulate", "iodide", *doses, "--uncertainty", "covariance")
    refused(2, "covariance")("simulate", "finished", *doses, "--uncertainty", "sure")
    (finished / "draws.npz").write_bytes(b"PK no archive")
    refused(3, "draws.npz", "cannot be read back")(
        *("simulate", "finished", *doses, "--patients", "5", "--uncertainty", "posterior")
    )
    with pytest.raises(BadInput, match="cannot draw 0 patients"):
        library.simulate(str(finished), REGIMEN, TIMES, patients=0)


def test_columns_that_replace_parameters_go_with_their_subject(pbpk, tmp_path):
    """A volume of each subject's own: new patients have those of the study, unless one is set for all."""
    rows = ["ID,TIME,AMT,DV,V"]
    for i, v in enumerate((20.0, 30.0, 45.0)):
        c = oracle.bolus(np.array([1.0, 4.0, 9.0]), [(0.0, 100.0)], 3.0 * (1 + 0.2 * (i - 1)), v)
        rows += [f"{i},0,100,.,{v}", *(f"{i},{t},.,{float(y)},{v}" for t, y in zip((1, 4, 9), c, strict=True))]
    folder = tmp_path / "fits" / "own"
    folder.mkdir(parents=True)
    (folder / "fit.toml").write_text(
        'model = "iv_one_compartment"\n[data]\nfile = "data.csv"\ndose_into = "central"\n[parameters]\n'
        'CL = { initial = 3.0, iiv = 0.1 }\n[error.cp]\nmodel = "proportional"\nprop = 0.1\n'
    )
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    run = tmp_path / pbpk("fit", "own", "--json").json["run"]
    bolus = library.dose("100 mg", into="central")
    path = library.simulate(str(run), bolus, [0.0], patients=40)
    assert set(np.round(100 / np.asarray(path["cp"])[0], 6)) == {20.0, 30.0, 45.0}
    path = library.simulate(str(run), bolus, [0.0], patients=40, values={"V": "25 L"})
    np.testing.assert_allclose(np.asarray(path["cp"])[0], 4.0)
