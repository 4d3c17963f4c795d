"""The likelihood of each kind of statistic against closed forms and simulation."""

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from pbpk.aggregate_data.moments import evaluate_moments
from pbpk.aggregate_data.order_statistics import evaluate_order_statistics
from pbpk.aggregate_data.proportions import compute_response_probability, evaluate_correlation, evaluate_proportion
from pbpk.aggregate_data.virtual_patients import draw_standard_normals

LN2PI = np.log(2 * np.pi)
PLACES = ndtri((np.arange(4096) + 0.5) / 4096)
NORMAL = PLACES / PLACES.std()


def host(arrays):
    return tuple(np.asarray(a) for a in arrays)


def test_draws_are_centred_uncorrelated_mirrored_and_repeatable():
    z = draw_standard_normals(3, 256, 1)
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(z @ z.T / 256, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.mean(z**3, axis=1), 0, atol=1e-12)
    np.testing.assert_array_equal(z, draw_standard_normals(3, 256, 1))
    assert np.abs(z - draw_standard_normals(3, 256, 2)).max() > 0.1
    assert np.mean(z**4, axis=1) == pytest.approx(3, abs=0.02)


def test_means_of_several_quantities_are_jointly_normal():
    """Of n patients with covariance V: N(μ, V/n), and errors of reporting add to the diagonal."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3, 500)).T @ np.array([[1.0, 0.8, 0.2], [0, 0.5, 0.1], [0, 0, 2.0]]) + [5, 3, 1]
    value, n, error = np.array([5.3, 2.9, 1.4]), np.full(3, 12.0), np.array([0.0, 0.1, 0.3])
    columns, predicted, spread = host(evaluate_moments(x.T, np.arange(3), np.zeros(3, bool), value, n, error))
    covariance = np.cov(x.T, bias=True) / 12 + np.diag(error**2)
    wanted = -2 * stats.multivariate_normal(x.mean(axis=0), covariance).logpdf(value) - 3 * LN2PI
    assert columns.sum() == pytest.approx(wanted, rel=1e-10)
    np.testing.assert_allclose(predicted, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(spread, np.sqrt(np.diag(covariance)), rtol=1e-12)


def test_mean_and_sd_of_a_normal_quantity_have_their_exact_distribution():
    """x̄ ~ N(μ, σ²/n), and s² ~ σ² χ²/(n − 1), independent."""
    x = (7 + 2 * NORMAL)[None]
    n, mean, sd = 9.0, 7.4, 2.6
    columns = host(
        evaluate_moments(x, np.array([0, 0]), np.array([False, True]), np.array([mean, sd]), np.full(2, n), np.zeros(2))
    )[0]
    of_mean = stats.norm(7, 2 / 3).logpdf(mean)
    of_sd = stats.chi2(8).logpdf(8 * sd**2 / 4) + np.log(2 * 8 * sd / 4)
    assert columns[0] == pytest.approx(-2 * of_mean - LN2PI, abs=1e-6)
    assert columns[1] == pytest.approx(-2 * of_sd - LN2PI, abs=5e-3)  # the places' fourth moment is 2.99


def test_sampling_of_mean_and_sd_of_a_skewed_quantity():
    """The SDs of x̄ and s, and their correlation, against 40 000 samples of 25 from an exponential distribution."""
    quantiles = -np.log1p(-(np.arange(20000) + 0.5) / 20000)[None]
    args = (quantiles, np.array([0, 0]), np.array([False, True]))
    spread = host(evaluate_moments(*args, np.array([1.0, 1.0]), np.full(2, 25.0), np.zeros(2)))[2]
    samples = np.random.default_rng(1).exponential(size=(40000, 25))
    means, sds = samples.mean(axis=1), samples.std(axis=1, ddof=1)
    assert spread[0] == pytest.approx(means.std(), rel=0.02)
    assert spread[1] == pytest.approx(sds.std(), rel=0.12)  # s is nearly, not quite, as spread as the delta method says
    # A high mean goes with a high SD (correlation 1/√2): together they are likelier than one high and the other low.
    both, apart = (
        host(evaluate_moments(*args, np.array([1.2, s]), np.full(2, 25.0), np.zeros(2)))[0].sum() for s in (1.25, 0.8)
    )
    inside = [np.mean((abs(means - 1.2) < 0.05) & (abs(sds - s) < 0.05)) / 0.01 for s in (1.25, 0.8)]  # their densities
    assert both < apart
    np.testing.assert_allclose(-0.5 * np.array([both, apart]) - LN2PI, np.log(inside), atol=0.35)


def test_order_statistics_have_their_joint_density():
    """Smallest, median and largest of 11 from a log-normal distribution."""
    known = stats.lognorm(s=0.5, scale=3.0)
    t = np.array([1.1, 2.7, 8.0])
    columns, predicted, _ = host(
        evaluate_order_statistics(np.exp(np.log(3) + 0.5 * NORMAL), t, np.array([1.0, 6.0, 11.0]), 11.0)
    )
    f, c = known.logpdf(t).sum(), np.diff(known.cdf(t))
    factorials = np.log(np.array([float(np.prod(np.arange(1, k + 1))) for k in (11, 4, 4)]))
    wanted = factorials[0] - factorials[1] - factorials[2] + f + 4 * np.log(c[0]) + 4 * np.log(c[1])
    assert -0.5 * (columns.sum() + 3 * LN2PI) == pytest.approx(wanted, abs=2e-3)
    assert predicted[1] == pytest.approx(3.0, rel=1e-3)
    with_half = host(evaluate_order_statistics(np.exp(NORMAL), np.array([1.0]), np.array([5.5]), 10.0))[
        0
    ]  # the median of an even number
    assert np.isfinite(with_half).all()


def test_density_of_the_largest_is_one_in_all():
    t = np.exp(np.linspace(-3, 4, 4001))
    x = np.exp(0.7 * draw_standard_normals(1, 256, 1)[0])
    one = jax.jit(jax.vmap(lambda v: evaluate_order_statistics(x, v[None], np.array([8.0]), 8.0)[0][0]))
    density = np.exp(-0.5 * (np.asarray(one(t)) + LN2PI))
    assert np.trapezoid(density, t) == pytest.approx(1, abs=1e-4)


def test_proportions_are_binomial_and_never_quite_certain():
    p = np.linspace(0.1, 0.5, 101)
    for count in (0, 3, 6):
        column, mean, spread = host(evaluate_proportion(p, float(count), 6.0))
        assert column == pytest.approx(-2 * stats.binom(6, 0.3).logpmf(count), rel=1e-12)
        assert mean == pytest.approx(0.3) and spread == pytest.approx(np.sqrt(0.3 * 0.7 / 6))
    assert np.isfinite(host(evaluate_proportion(np.zeros(5), 1.0, 6.0))[0])


@pytest.mark.parametrize("form", ["loglogistic", "probit"])
def test_probability_is_a_half_at_e50(form):
    probabilities = np.asarray(compute_response_probability(form, np.array([0.0, 1.0, 2.0, 4.0]), 2.0, 3.0))
    assert probabilities[0] == 0 and probabilities[2] == pytest.approx(0.5)
    wanted = 1 / (1 + 2**-3.0) if form == "loglogistic" else stats.norm.cdf(3 * np.log(2))
    assert probabilities[3] == pytest.approx(wanted) and probabilities[1] == pytest.approx(1 - wanted)


def test_a_correlation_by_fishers_z():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300))
    y = 0.6 * a + 0.8 * b
    rho = np.corrcoef(a, y)[0, 1]
    column, predicted, _ = host(evaluate_correlation(a, y, 0.4, 20.0))
    wanted = -2 * stats.norm(np.arctanh(rho), 1 / np.sqrt(17)).logpdf(np.arctanh(0.4)) - LN2PI
    assert column == pytest.approx(wanted, rel=1e-10) and predicted == pytest.approx(rho)
