"""Prediction distribution errors: against the closed form of a Gaussian model, and against data that are not the model's."""

import math

import numpy as np
import pytest
from scipy import stats
from simulated_studies import HEAD, TIMES, at_start, observed_as, rows

from pbpk.diagnostics.normality import check_normality, compute_percentile_bands
from pbpk.diagnostics.npde import compute_npde, score_subject
from pbpk.diagnostics.options import NpdeOptions
from pbpk.errors import BadInput, WrongUsage

FREE = (np.full(4, -np.inf), np.full(4, np.inf))
MEAN = np.array([1.0, 2.0, -1.0, 0.5])
ROOT = np.tril(np.random.default_rng(1).normal(size=(4, 4))) + 2 * np.eye(4)


def gaussian(count, seed):
    """(count, 4) from N(MEAN, ROOT ROOT')."""
    return MEAN + np.random.default_rng(seed).normal(size=(count, 4)) @ ROOT.T


def scores(limits=FREE, subjects=150, count=2000, shift=0.0, wider=1.0, seed=5):
    """npde and npd (2, subjects, 4) of Gaussian subjects, those beyond `limits` censored."""
    y = MEAN + shift + wider * (gaussian(subjects, seed) - MEAN)
    y = np.where(y < limits[0], -np.inf, np.where(y > limits[1], np.inf, y))
    result = [
        score_subject(v, gaussian(count, 100 + i), limits, np.random.default_rng([7, i]))[0] for i, v in enumerate(y)
    ]
    return np.stack(result, axis=1)


# One subject, in closed form


def test_of_a_gaussian_they_are_the_residuals_by_its_cholesky_factor():
    """With the replicates of a normal vector, npde tend to L⁻¹(y − μ) and npd to (y − μ)/σ."""
    count = 100_000
    drawn = gaussian(count, 4)
    drawn -= drawn.mean(
        axis=0
    )  # with the mean and covariance that they should have, so that only ranks are left to chance
    drawn = MEAN + drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False))).T @ ROOT.T
    for y in gaussian(5, 3):
        result, well = score_subject(y, drawn, FREE, np.random.default_rng(1))
        assert well
        exact = np.stack([np.linalg.solve(ROOT, y - MEAN), (y - MEAN) / np.sqrt((ROOT**2).sum(axis=1))])
        # A share p of so many replicates has the SD √(p(1 − p)/count), which Φ⁻¹ divides by the density.
        p = stats.norm.cdf(exact)
        sd = np.sqrt(p * (1 - p) / count) / stats.norm.pdf(exact)
        assert (np.abs(result - exact) < 4.5 * sd).all()


def test_beyond_every_replicate_the_score_has_an_end():
    result, _ = score_subject(MEAN + 1e6, gaussian(50, 4), FREE, np.random.default_rng(1))
    end = stats.norm.ppf(1 - 1 / 100)
    assert result[1] == pytest.approx([end] * 4)
    assert np.abs(result[0]).max() <= end + 1e-12


def test_what_never_varies_has_no_score():
    drawn = gaussian(500, 4)
    drawn[:, 0] = 0.0
    result, well = score_subject(np.array([0.0, *MEAN[1:]]), drawn, FREE, np.random.default_rng(1))
    assert well and np.isnan(result[:, 0]).all() and np.isfinite(result[:, 1:]).all()


def test_replicates_that_cannot_be_decorrelated_leave_npd():
    drawn = gaussian(500, 4)
    drawn[:, 3] = 2 * drawn[:, 1]
    drawn[:, 2] = drawn[:, 1]
    result, well = score_subject(MEAN, drawn, FREE, np.random.default_rng(1))
    assert well or np.isnan(result[0]).all()
    assert np.isfinite(result[1]).all()


# Many subjects


@pytest.mark.parametrize("seed", range(5))
def test_gaussian_data_of_the_model_give_standard_normals(seed):
    result = check_normality(scores(seed=seed)[0].ravel())
    assert result.p_global > 0.01
    assert abs(result.mean) < 3.5 * result.mean_se and abs(result.variance - 1) < 3.5 * result.variance_se


def test_decorrelation_takes_out_what_the_subject_shares():
    npde_, npd_ = scores(subjects=600)
    assert np.abs(np.corrcoef(npde_.T) - np.eye(4)).max() < 0.12
    expected = ROOT @ ROOT.T / np.sqrt(np.outer((ROOT**2).sum(axis=1), (ROOT**2).sum(axis=1)))
    np.testing.assert_allclose(np.corrcoef(npd_.T), expected, atol=0.1)


@pytest.mark.parametrize(("shift", "wider", "which"), [(1.0, 1.0, "mean"), (0.0, 1.4, "variance")])
def test_data_of_another_model_are_told(shift, wider, which):
    result = check_normality(scores(shift=shift, wider=wider)[0].ravel())
    assert result.p_global < 1e-3 and which in result.verdict
    assert "no standard normal sample" in result.verdict


@pytest.mark.parametrize("limits", [(0.0, np.inf), (-np.inf, 1.5), (-1.0, 2.0)])
def test_censored_data_of_the_model_give_standard_normals(limits):
    """A third to a half of the values are beyond a limit, and drawn from the model's own distribution there."""
    ends = np.full(4, limits[0]), np.full(4, limits[1])
    npde_, npd_ = scores(ends, subjects=300)
    assert np.isfinite(npde_).all()
    for column in npd_.T:  # within a subject npd are correlated, so one observation of each at a time
        assert check_normality(column).p_global > 0.005
    assert abs(npde_.mean()) < 0.1 and npde_.var() == pytest.approx(1.0, abs=0.12)


def test_censored_data_of_another_model_are_told():
    ends = np.full(4, 0.0), np.full(4, np.inf)
    assert check_normality(scores(ends, shift=-1.5)[1][:, 1]).p_global < 1e-3


# The tests of normality


def test_moments_and_p_are_scipys_times_three():
    x = np.random.default_rng(1).gamma(3.0, size=200) - 3
    result = check_normality(np.append(x, np.nan))
    assert result.count == 200
    assert result.mean == pytest.approx(x.mean()) and result.variance == pytest.approx(x.var(ddof=1))
    assert result.skewness == pytest.approx(stats.skew(x)) and result.kurtosis == pytest.approx(stats.kurtosis(x))
    assert result.p_normality == pytest.approx(min(1, 3 * stats.shapiro(x).pvalue))
    assert result.p_mean == pytest.approx(min(1, 3 * stats.ttest_1samp(x, 0).pvalue))
    assert result.p_global == min(result.p_mean, result.p_variance, result.p_normality)


def test_variance_test_is_chi_squared():
    x = stats.norm.ppf((np.arange(50) + 0.5) / 50) * 1.5
    chi = 49 * x.var(ddof=1)
    assert check_normality(x).p_variance == pytest.approx(min(1, 6 * stats.chi2.sf(chi, 49)))


def test_many_numbers_and_few():
    assert check_normality(np.random.default_rng(1).normal(size=6000)).normality_test == "D'Agostino–Pearson"
    few = check_normality(np.array([0.1, np.nan, 0.2]))
    assert math.isnan(few.p_global) and few.verdict == "Too few values for a test."


def test_bands_are_those_of_order_statistics():
    """The median of n normals has the quantiles of Φ⁻¹ of a beta variable."""
    expected = stats.norm.ppf(stats.beta.ppf([0.025, 0.975], 26, 26))
    np.testing.assert_allclose(compute_percentile_bands(51, (50.0,))[0], expected, atol=0.02)


# A study

LINEAR = """
model = "iv_one_compartment"
[data]
observable = "cp"
dose_into = "central"
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
[parameters.CL]
initial = 2.0
iiv = 0.09
[parameters.V]
initial = 20.0
iiv = 0.04
[error.cp]
model = "combined2"
add = 0.2
prop = 0.1
"""


@pytest.fixture(scope="module")
def study(make):
    return at_start(make(LINEAR, HEAD, *rows(60)))


@pytest.mark.slow
def test_a_studys_own_data_are_normal_and_others_are_not(study):
    p = [compute_npde(observed_as(study, k), NpdeOptions(1000, seed=3)).tests["npde"]["cp"].p_global for k in range(12)]
    assert sum(x < 0.05 for x in p) <= 3  # of twelve; more than that in 2 of 1000 such dozens
    off = compute_npde(
        observed_as(study, 1, changed=lambda psi: psi + np.eye(len(psi))[0] * math.log(1.3)), NpdeOptions(1000)
    )
    assert off.tests["npde"]["cp"].p_global < 1e-3
    assert "no standard normal sample" in off.verdict


@pytest.mark.slow
def test_the_table_is_the_datas_line_by_line(study):
    result = compute_npde(observed_as(study, 1, lower=1.5), NpdeOptions(300, seed=3))
    assert list(result.table.columns) == ["ID", "TIME", "DVID", "NPDE", "NPD", "PRED", "CENS"]
    assert list(result.table["TIME"][:7]) == [*TIMES, TIMES[0]] and len(result.table) == 360
    np.testing.assert_allclose(result.table["PRED"][:6], 5 * np.exp(-0.1 * np.array(TIMES)), rtol=1e-9)
    assert set(result.table["CENS"]) == {0, 1}
    again = compute_npde(observed_as(study, 1, lower=1.5), NpdeOptions(300, seed=3))
    np.testing.assert_array_equal(again.table["NPDE"], result.table["NPDE"])
    assert (
        compute_npde(observed_as(study, 1, lower=1.5), NpdeOptions(300, seed=4)).table["NPDE"] != result.table["NPDE"]
    ).any()


def test_what_cannot_be_asked(study):
    with pytest.raises(WrongUsage, match="too few"):
        compute_npde(study, NpdeOptions(19))
    with pytest.raises(BadInput, match="cp"):
        compute_npde(study, NpdeOptions(100, endpoint="ccp"))
