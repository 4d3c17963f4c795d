"""SIR against posteriors known in closed form, its resampling against the order of chance, and its warnings."""

from dataclasses import replace

import numpy as np
import pytest
from finished_fits import compiled_objective, straight_line, theophylline
from scipy.stats import chi2, kstest

from pbpk.errors import BadInput, WrongUsage
from pbpk.uncertainty.fit_objective import FitObjective
from pbpk.uncertainty.sir import SirOptions, draw_proposal, resample_by_importance, run_sir

OPTIONS = SirOptions(samples=(1000, 4000), resamples=(200, 500), seed=3)


@pytest.fixture(scope="module")
def line(make):
    return straight_line(make)


@pytest.fixture(scope="module")
def result(line):
    return run_sir(line[0], OPTIONS, objective=compiled_objective(line[0]))


def test_least_squares_has_its_posterior(result, line):
    """The likelihood of (F, σ), flat in both: SS/σ² is χ² with n − 2 degrees, F a Student's around F̂ with as many."""
    _, k, y = line
    n, best = len(y), k @ y / (k @ k)
    ss = np.sum((y - best * k) ** 2)
    degrees = n - 2
    assert kstest(ss / result.sample["add"] ** 2, chi2(degrees).cdf).pvalue > 0.01
    scaled = (result.sample["F1"] - best) * np.sqrt(k @ k * degrees / ss)
    assert kstest(scaled, "t", args=(degrees,)).pvalue > 0.01
    drawn = result.samples[result.samples["iteration"] == 2]
    weight = drawn["importance"] / drawn["importance"].sum()
    assert weight @ (ss / drawn["add"] ** 2) == pytest.approx(degrees, rel=0.03)
    assert weight @ drawn["F1"] == pytest.approx(best, abs=0.1 * np.sqrt(ss / degrees / (k @ k)))


def test_what_is_reported_is_what_was_drawn(result, line):
    fit, _, _ = line
    assert list(result.iterations["samples"]) == [1000, 4000] and (result.iterations["failed"] == 0).all()
    assert list(result.iterations["distinct"]) == [200, 500]
    assert len(result.samples) == 5000 and result.samples.groupby("iteration")["kept"].sum().to_list() == [200, 500]
    last = result.samples[result.samples["iteration"] == 2]
    assert result.iterations["effective"].iloc[1] == pytest.approx(1 / np.sum(last["importance"] ** 2))
    assert sorted(result.sample["F1"]) == sorted(last.loc[last["kept"] == 1, "F1"])
    assert (
        result.lowest_delta_ofv >= -1e-3
        and result.is_reliable
        and result.degrees_of_freedom == pytest.approx(2, abs=0.4)
    )
    assert result.samples["delta_ofv"].iloc[0] == pytest.approx(
        ofv_at(result.samples.iloc[0], line) - fit.ofv, abs=1e-6
    )


def ofv_at(row, line):
    _, k, y = line
    return len(y) * np.log(row["add"] ** 2) + np.sum((y - row["F1"] * k) ** 2) / row["add"] ** 2


def test_the_seed_decides(line, result):
    again = run_sir(line[0], OPTIONS, objective=compiled_objective(line[0]))
    assert again.sample.equals(result.sample) and again.samples.equals(result.samples)
    other = run_sir(line[0], replace(OPTIONS, seed=4), objective=compiled_objective(line[0]))
    assert not np.allclose(other.sample["F1"], result.sample["F1"])


def test_the_density_of_the_proposal():
    """Importance sampling of a normal's second moment by it, with no likelihood in between."""
    random = np.random.default_rng(1)
    covariance = np.array([[0.5, 0.2], [0.2, 0.3]])
    x, log_q = draw_proposal(random, np.array([1.0, -1.0]), covariance, 40_000)
    np.testing.assert_allclose(np.cov(x.T), covariance, rtol=0.1)
    away = x - [1.0, -1.0]
    log_p = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(0.5 * covariance), away)
    weight = np.exp(log_p - log_q)
    weight /= weight.sum()
    np.testing.assert_allclose((away * weight[:, None]).T @ away, 0.5 * covariance, rtol=0.05)


def test_resampling_is_without_replacement_up_to_the_cap():
    importance = np.array([0.6, 0.3, 0.1, 0.0])
    taken = np.array([resample_by_importance(np.random.default_rng(k), importance, 2, 1) for k in range(4000)])
    assert (taken[:, 0] != taken[:, 1]).all() and (taken != 3).all()
    np.testing.assert_allclose(np.bincount(taken[:, 0]) / 4000, importance[:3], atol=0.03)
    second = taken[taken[:, 0] == 0, 1]  # of what is left, 0.3 to 0.1
    assert np.mean(second == 1) == pytest.approx(0.75, abs=0.03)
    thrice = resample_by_importance(np.random.default_rng(1), np.array([1.0, 1e-9]), 4, 3)
    assert sorted(np.bincount(thrice)) == [1, 3]


@pytest.mark.slow
def test_theophylline_agrees_with_its_standard_errors():
    fit = theophylline()
    options = SirOptions(samples=(500, 1000), resamples=(150, 300))
    result = run_sir(fit, options, objective=compiled_objective(fit))
    r = np.sqrt(np.diag(fit.covariance)) / fit.scale
    rows = result.summary.set_index("name")
    np.testing.assert_allclose(rows["se"].iloc[[0, 1, 2, 6]], r[[0, 1, 2, 6]], rtol=0.35)
    assert result.is_reliable and result.degrees_of_freedom == pytest.approx(7, abs=1.5)


def test_a_lower_ofv_is_said(line):
    fit, _, _ = line
    objective = compiled_objective(fit)
    psi = fit.psi + np.array([0.02, 0.0])
    off = replace(fit, psi=psi, ofv=float(objective.evaluate([objective.request(psi)])[0].objective.sum()))
    result = run_sir(off, SirOptions(samples=(300,), resamples=(50,)), objective=FitObjective.compile(off))
    assert result.lowest_delta_ofv < -1e-3 and not result.is_reliable and "not at its minimum" in result.verdict


def test_what_cannot_be_asked(line):
    fit, _, _ = line
    with pytest.raises(BadInput, match="no covariance matrix"):
        run_sir(replace(fit, covariance=None))
    for options, message in (
        (SirOptions(samples=(100,), resamples=(50, 50)), "1 numbers of samples, 2 of resamples"),
        (SirOptions(samples=(100,), resamples=(101,)), "cannot be kept"),
        (SirOptions(samples=(100,), resamples=(2,)), "covariance of 2 parameters"),
        (SirOptions(cap=0), "cannot be kept"),
        (SirOptions(inflation=0.0), "inflation of 0"),
        (SirOptions(seed=-1), "below zero"),
    ):
        with pytest.raises(WrongUsage, match=message):
            run_sir(fit, options)
