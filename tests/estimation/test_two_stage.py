"""Two stages against least squares of one subject at a time, and Steimer's iterations."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import load_study


def curve(x, dose, t):
    ka, cl, v = np.exp(x)
    k = cl / v
    return dose * ka / (v * (ka - k)) * (np.exp(-k * t) - np.exp(-ka * t))


@pytest.fixture(scope="module")
def study():
    return load_study("theophylline")


@pytest.fixture(scope="module")
def alone(study):
    """ln KA, CL, V of each subject (N, 3) by scipy, its inverse information for a variance of 1, and the residual variance."""
    table = pd.read_csv(study.folder / "data.csv", na_values=".")
    found, inverse, left, n = [], [], 0.0, 0
    for _, rows in table.groupby("ID", sort=False):
        dose, seen = rows["AMT"].dropna().iloc[0], rows[rows["EVID"] == 0]
        t, y = seen["TIME"].to_numpy(), seen["DV"].to_numpy()
        fit = least_squares(
            lambda x, d=dose, t=t, y=y: curve(x, d, t) - y, np.log([1.5, 2.5, 30]), xtol=1e-14, ftol=1e-14
        )
        found.append(fit.x)
        inverse.append(np.linalg.inv(fit.jac.T @ fit.jac))
        left, n = left + 2 * fit.cost, n + len(y)
    variance = left / (n - 3 * len(found))
    return np.array(found), variance * np.array(inverse), variance


@pytest.fixture(scope="module")
def fits(study):
    return {m: run_fit(study, get_method(m)) for m in ("two_stage", "global_two_stage")}


def test_mean_and_covariance_of_individual_fits(fits, alone):
    fit, (x, _, variance) = fits["two_stage"], alone
    assert fit.successful
    assert [fit.estimates[n] for n in ("KA", "CL", "V")] == pytest.approx(np.exp(x.mean(axis=0)), rel=1e-5)
    omegas = [fit.estimates[f"OMEGA_{n}"] for n in ("KA", "CL", "V")]
    assert omegas == pytest.approx(x.var(axis=0, ddof=1), rel=1e-4)
    assert fit.estimates["add"] == pytest.approx(variance**0.5, rel=1e-5)
    own = fit.individual[["KA", "CL", "V"]].to_numpy()
    np.testing.assert_allclose(own, np.exp(x), rtol=1e-4)


def test_standard_errors_of_the_mean(fits, alone):
    fit, (x, _, _) = fits["two_stage"], alone
    for i, n in enumerate(("KA", "CL", "V")):
        wanted = fit.estimates[n] * x[:, i].std(ddof=1) / np.sqrt(12)
        assert fit.standard_errors["second stage"][n] == pytest.approx(wanted, rel=1e-4)
    assert "add" not in fit.standard_errors["second stage"]


def test_global_is_the_fixed_point_of_steimers_iterations(fits, alone):
    fit, (x, errors, _) = fits["global_two_stage"], alone
    mean, omega = x.mean(axis=0), np.diag(x.var(axis=0))
    for _ in range(20_000):
        gain = omega @ np.linalg.inv(omega + errors)
        own = mean + (gain @ (x - mean)[..., None])[..., 0]
        left = omega - gain @ omega
        mean = own.mean(axis=0)
        omega = np.diag(np.diag(((own - mean)[:, :, None] * (own - mean)[:, None, :] + left).mean(axis=0)))
    assert [fit.estimates[n] for n in ("KA", "CL", "V")] == pytest.approx(np.exp(mean), rel=1e-4)
    assert [fit.estimates[f"OMEGA_{n}"] for n in ("KA", "CL", "V")] == pytest.approx(np.diag(omega), rel=1e-3)
    np.testing.assert_allclose(fit.individual[["KA", "CL", "V"]].to_numpy(), np.exp(own), rtol=1e-3)


def test_ofv_is_foceis_at_these_estimates(fits, study, evaluate):
    fit, problem = fits["two_stage"], study.problem
    psi = problem.structure.layout.to_unconstrained(np.array(list(fit.estimates.values())))
    assert fit.ofv == pytest.approx(evaluate(get_method("focei"), problem, psi).objective.sum(), rel=1e-9)


def test_subjects_that_say_too_little_are_named_and_left_out(tmp_path, study):
    lines = (study.folder / "data.csv").read_text().splitlines()
    of_one = [i for i, line in enumerate(lines) if line.startswith("1,")]
    kept = [
        line for i, line in enumerate(lines) if i not in of_one[4:]
    ]  # the dose and three samples, all on the way up
    (tmp_path / "fit.toml").write_text((study.folder / "fit.toml").read_text())
    (tmp_path / "data.csv").write_text("\n".join(kept) + "\n")
    fit = run_fit(load_study(tmp_path), get_method("two_stage"))
    assert fit.extra["subjects_used"] == 11
    assert any("left out" in w and w.endswith("ID 1") for w in fit.warnings)
    assert np.isfinite(list(fit.estimates.values())).all()


def test_without_two_such_subjects_there_is_nothing_to_average(make):
    text = 'model = "iv_one_compartment"\n[parameters]\nCL = { initial = 2.0, iiv = 0.1 }\nV = { initial = 20.0, iiv = 0.1 }\n'
    text += '[error.cp]\nmodel = "additive"\nadd = 0.5\n'
    rows = ["ID,TIME,AMT,DV", *(r for i in range(1, 5) for r in (f"{i},0,100,.", f"{i},{i},.,{4.0 - 0.3 * i}"))]
    with pytest.raises(ScienceFailed, match="0 of 4 subjects"):
        run_fit(make(text, *rows), get_method("two_stage"))


def test_priors_are_refused(study):
    given = {"priors.CL.distribution": "lognormal", "priors.CL.value": "2.5", "priors.CL.sd": "0.3"}
    with pytest.raises(WrongUsage, match="no priors"):
        run_fit(load_study("theophylline", settings=given), get_method("two_stage"))
