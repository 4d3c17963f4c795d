"""Bootstrap: replicates against real refits, standard errors against the R matrix, failures, and what a seed decides."""

import numpy as np
import pandas as pd
import pytest
from finished_fits import compiled_objective, theophylline

from pbpk.errors import BadInput, Note, ScienceFailed, WrongUsage
from pbpk.study.load import load_study
from pbpk.uncertainty.bootstrap import BootstrapOptions, BootstrapProgress, run_bootstrap
from pbpk.uncertainty.intervals import compute_bca_interval
from pbpk.uncertainty.replicates import REPLICATE_COLUMNS, Replicate, format_header, read_replicates
from pbpk.uncertainty.resampling import assign_strata, draw_case_weights, simulate_observations


@pytest.fixture(scope="module")
def pooled():
    return theophylline("pooled")


@pytest.fixture(scope="module")
def objective(pooled):
    return compiled_objective(pooled)


@pytest.fixture(scope="module")
def small(pooled, objective):
    return run_bootstrap(pooled, BootstrapOptions(40), objective=objective)


def resampled_file(study, weights, folder):
    """The study's folder with each subject as often as it was drawn, under new names."""
    frame = pd.read_csv(study.folder / "data.csv", dtype=str)
    copies = []
    for who, times in zip(study.subjects, weights, strict=True):
        copies += [frame[frame["ID"] == who].assign(ID=f"{who}_{k}") for k in range(int(times))]
    folder.mkdir()
    (folder / "fit.toml").write_text((study.folder / "fit.toml").read_text())
    pd.concat(copies).to_csv(folder / "data.csv", index=False)
    return load_study(folder)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pooled", "focei"])
def test_a_replicate_is_a_refit_of_the_resampled_file(method, minimise, tmp_path):
    """The real one starts from the study's initial values, has the drawn subjects in its data and no weights."""
    fit = theophylline(method)
    result = run_bootstrap(fit, BootstrapOptions(2, seed=11), objective=compiled_objective(fit))
    for k in range(2):
        weights = result.drawn.to_numpy()[k]
        assert weights.sum() == 12 and weights.max() > 1
        study = resampled_file(fit.study, weights, tmp_path / f"study{k}")
        problem = fit.method.prepare(study.problem)
        state = minimise(fit.method, problem)
        row = result.table.iloc[k]
        assert state.status == "converged" and row["converged"]
        assert row["ofv"] == pytest.approx(state.ofv, abs=1e-6)
        refit = np.asarray(problem.structure.layout.to_natural(state.psi, np.asarray(problem.initial))) / fit.scale
        np.testing.assert_allclose(row[list(fit.names)].to_numpy(dtype=float), refit, rtol=2e-3)


@pytest.mark.slow
def test_standard_errors_are_those_of_the_r_matrix_where_the_model_is_true():
    """Simulated under the estimates there is no misspecification, so both estimate the same; 100 replicates are good to 7 %."""
    fit = theophylline()
    result = run_bootstrap(fit, BootstrapOptions(100, "parametric", seed=2), objective=compiled_objective(fit))
    assert result.converged_count == 100
    r = np.sqrt(np.diag(fit.covariance)) / fit.scale
    np.testing.assert_allclose(result.summary["se"], r, rtol=0.3)


@pytest.mark.slow
def test_case_bootstrap_of_theophylline():
    fit = theophylline()
    result = run_bootstrap(fit, BootstrapOptions(100, bca=True), objective=compiled_objective(fit))
    assert result.converged_count == 100 and result.is_reliable
    r = np.sqrt(np.diag(fit.covariance)) / fit.scale
    rows = result.summary.set_index("name")
    np.testing.assert_allclose(rows["se"][:3], r[:3], rtol=0.25)
    assert (rows["ci_low"] < rows["estimate"]).all() and (rows["estimate"] < rows["ci_high"]).all()
    assert (rows["bca_low"] < rows["estimate"]).all() and (rows["estimate"] < rows["bca_high"]).all()
    assert (
        rows.loc["OMEGA_KA", "bca_high"] > rows.loc["OMEGA_KA", "ci_high"]
    )  # biased low, as variances of 12 subjects are


def test_the_summary_is_of_the_replicates(small, pooled):
    values = small.table[list(pooled.names)]
    rows = small.summary.set_index("name")
    assert small.converged_count == 40 and small.verdict == "40 of 40 replicates converged."
    np.testing.assert_allclose(rows["bias"], values.mean() - pooled.estimates, rtol=1e-12)
    np.testing.assert_allclose(rows["se"], values.std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(rows["ci_low"], values.quantile(0.025), rtol=1e-12)
    np.testing.assert_allclose(small.correlation, values.corr(), atol=1e-12)


def test_the_first_replicates_are_the_same_however_many_follow(small, pooled, objective):
    fewer = run_bootstrap(pooled, BootstrapOptions(15), objective=objective)
    pd.testing.assert_frame_equal(fewer.table, small.table.head(15), check_exact=True)
    other = run_bootstrap(pooled, BootstrapOptions(15, seed=2), objective=objective)
    assert not np.allclose(other.table["ofv"], fewer.table["ofv"])


@pytest.mark.parametrize("done", [1, 17, 40])
def test_going_on_gives_the_same_digits(small, pooled, objective, done):
    replicates = []
    run_bootstrap(pooled, BootstrapOptions(40), BootstrapProgress(replicates.append), objective)
    assert [r.number for r in replicates] == list(range(1, 41)), "in order, whichever ended first"
    text = format_header(pooled.names) + "".join(r.csv_line for r in replicates)
    earlier = read_replicates(
        format_header(pooled.names) + "".join(r.csv_line for r in replicates[:done]) + "7,torn", pooled.names
    )
    assert len(earlier) == done
    later = []
    again = run_bootstrap(pooled, BootstrapOptions(40), BootstrapProgress(later.append, done=earlier), objective)
    assert format_header(pooled.names) + "".join(r.csv_line for r in [*earlier, *later]) == text
    pd.testing.assert_frame_equal(again.table, small.table, check_exact=True)
    pd.testing.assert_frame_equal(again.summary, small.summary, check_exact=True)


def test_a_line_keeps_every_digit_and_every_word():
    one = Replicate(1, 1 / 3, 'no individual optimum found for ID 1, "2"', 4, 5, (0.1, float("nan")))
    back = read_replicates(format_header(("a", "b")) + one.csv_line, ("a", "b"))[0]
    assert (back.ofv, back.cause, back.estimates[0]) == (one.ofv, one.cause, 0.1) and np.isnan(back.estimates[1])
    assert one.csv_line.startswith("1,0.3333333333333333,false,")
    assert read_replicates("something else\n1,2,3\n", ("a", "b")) == []
    assert read_replicates(format_header(("a", "b")) + one.csv_line.replace("1,", "2,", 1), ("a", "b")) == [], (
        "not the first replicate"
    )


def test_subjects_are_drawn_as_often_as_chance_has_it():
    weights = np.array([draw_case_weights(5, r, np.zeros(10, int)) for r in range(1, 401)])
    assert (weights.sum(axis=1) == 10).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.2)
    assert np.mean(weights == 0) == pytest.approx(0.9**10, abs=0.02)
    strata = np.array([0, 0, 0, 1, 1, 2])
    parts = np.array([draw_case_weights(5, r, strata) for r in range(50)])
    for h, size in enumerate((3, 2, 1)):
        assert (parts[:, strata == h].sum(axis=1) == size).all()


def test_strata_come_from_a_column_of_the_data():
    study = load_study("phenobarbital")
    with pytest.warns(Note, match="1 strata by `APGR` have one subject"):
        groups = assign_strata(study, "APGR")
    first = study.events.frame.groupby("ID", sort=False)["APGR"].first().to_numpy()
    assert len(set(zip(groups, first, strict=True))) == len(set(first)) == groups.max() + 1
    with pytest.raises(BadInput, match="did you mean `APGR`"):
        assign_strata(study, "APGAR")


def test_a_column_that_changes_gives_no_strata(make):
    text = 'model = "iv_one_compartment"\n[parameters.CL]\ninitial = 1.0\n[error.cp]\nmodel = "additive"\nadd = 1.0\n'
    lines = ("ID,TIME,AMT,DV,WT", "1,0,10,.,70", "1,1,.,2,70", "2,0,10,.,60", "2,1,.,2,61")
    with pytest.raises(BadInput, match="`WT` changes within ID 2"):
        assign_strata(make(text, *lines), "WT")


def test_failures_are_counted_named_and_left_out(pooled, objective, monkeypatch):
    real = draw_case_weights

    def spoilt(seed, number, strata):
        return np.full(12, np.inf) if number in (2, 5) else real(seed, number, strata)

    monkeypatch.setattr("pbpk.uncertainty.bootstrap.draw_case_weights", spoilt)
    monkeypatch.setattr("pbpk.uncertainty.bootstrap.tabulate_weights", lambda weights, subjects: None)
    result = run_bootstrap(pooled, BootstrapOptions(8), objective=objective)
    assert result.failures == {"the objective is not finite at the start": 2}
    assert result.converged_count == 6 and not result.is_reliable
    assert "6 of 8" in result.verdict and "2 × the objective is not finite" in result.verdict
    assert "do not use" in result.verdict
    left = result.table[result.table["converged"]][list(pooled.names)]
    np.testing.assert_allclose(result.summary["mean"], left.mean(), rtol=1e-12)
    monkeypatch.setattr("pbpk.uncertainty.bootstrap.draw_case_weights", lambda *a: np.full(12, np.inf))
    with pytest.raises(ScienceFailed, match="0 of 8 replicates converged"):
        run_bootstrap(pooled, BootstrapOptions(8), objective=objective)


def test_simulated_studies_have_the_design_and_their_own_values(pooled):
    problem, is_observed = pooled.problem, np.asarray(pooled.problem.observed_mask)
    one, eta = simulate_observations(problem, pooled.psi, 1, 1)
    again, _ = simulate_observations(problem, pooled.psi, 1, 1)
    other, _ = simulate_observations(problem, pooled.psi, 1, 2)
    assert one.y.shape == problem.y.shape and eta.shape == (0, 12)
    np.testing.assert_array_equal(one.y, again.y)
    assert not np.allclose(one.y[is_observed], other.y[is_observed])
    np.testing.assert_array_equal(one.low, one.high)


def test_bca_ends_against_the_formula_worked_out():
    """Of 1…99 with the estimate at 40.5 and skewed values without one subject (Efron & Tibshirani 1993, 14.9 to 14.15)."""
    from statistics import NormalDist

    n = NormalDist()
    sample, left_out = np.arange(1.0, 100.0), np.array([1.0, 2.0, 3.0, 10.0])
    away = 4.0 - left_out
    a = (27 + 8 + 1 - 216) / (6 * (9 + 4 + 1 + 36) ** 1.5)
    assert a == pytest.approx(np.sum(away**3) / (6 * np.sum(away**2) ** 1.5))
    z0 = n.inv_cdf(40 / 99)
    ends = [n.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in (n.inv_cdf(0.05), n.inv_cdf(0.95))]
    np.testing.assert_allclose(
        compute_bca_interval(sample, 40.5, left_out, 0.9), [1 + 98 * p for p in ends], rtol=1e-12
    )
    assert np.isnan(compute_bca_interval(sample, 0.0, left_out, 0.9)).all(), "all replicates above the estimate"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BootstrapOptions(1), "no spread"),
        (BootstrapOptions(kind="jackknife"), "no bootstrap of kind"),
        (BootstrapOptions(kind="parametric", strata="WT"), "no strata"),
        (BootstrapOptions(kind="parametric", bca=True), "case bootstrap"),
        (BootstrapOptions(level=1.0), "no probability"),
        (BootstrapOptions(seed=-1), "below zero"),
    ],
)
def test_what_cannot_be_asked(pooled, options, message):
    with pytest.raises(WrongUsage, match=message):
        run_bootstrap(pooled, options)


def test_columns_of_the_table(small, pooled):
    assert list(small.table) == [*REPLICATE_COLUMNS, *pooled.names]
    assert list(small.drawn) == pooled.study.subjects and (small.drawn.sum(axis=1) == 12).all()


def test_strata_of_one():
    """A subject alone in its stratum is always drawn once; where all are, nothing is resampled at all."""
    from types import SimpleNamespace

    def study(column):
        frame = pd.DataFrame({"ID": ["1", "1", "2", "3"], "X": column})
        events = SimpleNamespace(frame=frame, covariates=("X",), source="data.csv")
        return SimpleNamespace(events=events, problem=SimpleNamespace(subjects=3))

    with pytest.raises(BadInput, match="each of the 3 strata by `X` has one subject"):
        assign_strata(study([1, 1, 2, 3]), "X")
    with pytest.warns(Note, match="1 strata by `X` have one subject"):
        assert assign_strata(study([1, 1, 2, 2]), "X").tolist() == [0, 1, 1]
    assert assign_strata(study([1, 1, 1, 1]), "X").tolist() == [0, 0, 0]
