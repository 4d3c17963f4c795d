"""Each kind of endpoint against SciPy's densities, one observation at a time."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from pbpk.errors import BadInput
from pbpk.likelihood.endpoints.base import Observed, Predicted, observed_curvature
from pbpk.study.assemble.endpoints import declare_endpoint
from pbpk.study.schema import ErrorPart

LN2PI = np.log(2 * np.pi)
F = np.array([0.7, 2.0, 9.0])
Y = np.array([0.9, 1.6, 11.0])


def observed(y, low=None, high=None, floor=-np.inf, time=None):
    y = np.asarray(y, float)
    full = np.broadcast_to
    previous = np.arange(len(y)) - 1
    time = np.arange(1.0, len(y) + 1) if time is None else np.asarray(time, float)
    return Observed(
        y,
        full(y if low is None else low, y.shape),
        full(y if high is None else high, y.shape),
        full(floor, y.shape),
        time,
        previous,
    )


def predicted(f, second=1.0):
    f = jnp.asarray(f, float)
    return Predicted(f, f, jnp.full_like(f, second), jnp.concatenate([jnp.zeros(1), f[:-1]]))


def make_endpoint(limits=False, **part):
    """The endpoint and its parameters by name."""
    d = declare_endpoint("cp", ErrorPart(**part), "", "fit.toml")
    endpoint = replace(d.endpoint, has_limits=True) if limits else d.endpoint
    return endpoint, {a.name: value for a, value, _ in d.parameters}


def minus2ll_of(endpoint, values, f, o):
    return np.asarray(endpoint.minus2ll(predicted(f), o, values))


CONTINUOUS = {
    "power": (dict(model="power", prop=0.3, power=0.6), lambda: stats.norm.logpdf(Y, F, 0.3 * F**0.6)),
    "log": (dict(model="log", add=0.4), lambda: stats.lognorm.logpdf(Y, 0.4, scale=F)),
    "boxcox": (
        {"model": "additive", "transform": "boxcox", "add": 0.5, "lambda": 0.3},
        lambda: stats.norm.logpdf((Y**0.3 - 1) / 0.3, (F**0.3 - 1) / 0.3, 0.5) - 0.7 * np.log(Y),
    ),
    "yeojohnson": (
        {"model": "additive", "transform": "yeojohnson", "add": 0.5, "lambda": 1.4},
        lambda: stats.norm.logpdf(stats.yeojohnson(Y, 1.4), stats.yeojohnson(F, 1.4), 0.5) + 0.4 * np.log1p(Y),
    ),
    "logit": (
        dict(model="additive", transform="logit", between=(0, 20), add=0.5),
        lambda: stats.norm.logpdf(logit(Y / 20), logit(F / 20), 0.5) - np.log(Y / 20) - np.log1p(-Y / 20) - np.log(20),
    ),
}


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_a_density(kind):
    part, expected = CONTINUOUS[kind]
    endpoint, values = make_endpoint(**part)
    assert minus2ll_of(endpoint, values, F, observed(Y)) + LN2PI == pytest.approx(-2 * expected(), rel=1e-12)


def test_box_cox_is_the_logarithm_at_zero():
    zero, values = make_endpoint(**{"model": "additive", "transform": "boxcox", "add": 0.4, "lambda": 0.0})
    log, other = make_endpoint(model="log", add=0.4)
    assert minus2ll_of(zero, values, F, observed(Y)) == pytest.approx(
        minus2ll_of(log, other, F, observed(Y)), rel=1e-12
    )


@pytest.mark.parametrize("transform", ["none", "log"])
def test_a_value_below_a_limit(transform):
    part = dict(model="additive", add=0.5, lloq=1.0) | ({} if transform == "none" else {"transform": "log"})
    endpoint, values = make_endpoint(limits=True, **part)
    below = observed([1.0] * 3, low=-np.inf, high=1.0)
    expected = stats.norm.logcdf(1.0, F, 0.5) if transform == "none" else stats.norm.logcdf(0.0, np.log(F), 0.5)
    assert minus2ll_of(endpoint, values, F, below) == pytest.approx(-2 * expected, rel=1e-10)


def test_m2_m4_and_an_interval():
    endpoint, values = make_endpoint(limits=True, model="proportional", prop=0.3, lloq=1.0)
    sd = 0.3 * F
    m2 = stats.norm.logpdf(Y, F, sd) - stats.norm.logsf(0.5, F, sd)
    assert minus2ll_of(endpoint, values, F, observed(Y, floor=0.5)) + LN2PI == pytest.approx(-2 * m2, rel=1e-10)
    between = stats.norm.cdf(1.0, F, sd) - stats.norm.cdf(0.0, F, sd)
    m4 = np.log(between / stats.norm.sf(0.0, F, sd))
    result = minus2ll_of(endpoint, values, F, observed([1.0] * 3, low=0.0, high=1.0, floor=0.0))
    assert result == pytest.approx(-2 * m4, rel=1e-9)
    above = minus2ll_of(endpoint, values, F, observed([5.0] * 3, low=5.0, high=np.inf))
    assert above == pytest.approx(-2 * stats.norm.logsf(5.0, F, sd), rel=1e-10)


def test_draws_of_m4_are_positive_and_normal_there():
    import jax

    endpoint, values = make_endpoint(limits=True, model="additive", add=2.0, lloq=0.5, blq="M4")
    n = 4000
    keys = jax.random.split(jax.random.key(3), n)[None]
    f = jnp.full((1, n), 1.0)
    p = Predicted(f, f, f, 0 * f)
    o = Observed(f, f, f, jnp.zeros((1, n)), f, jnp.full((1, n), -1))
    y = np.asarray(endpoint.draw(keys, p, o, values))[0]
    assert (y > 0).all()
    assert stats.kstest(y, stats.truncnorm(-0.5, np.inf, 1.0, 2.0).cdf).pvalue > 0.001


def test_counts():
    poisson, values = make_endpoint(model="poisson")
    y = np.array([0.0, 3.0, 9.0])
    assert minus2ll_of(poisson, values, F, observed(y)) == pytest.approx(-2 * stats.poisson.logpmf(y, F), rel=1e-12)
    log, values = make_endpoint(model="poisson", link="log", intercept=0.2, slope=0.1)
    assert minus2ll_of(log, values, F, observed(y)) == pytest.approx(
        -2 * stats.poisson.logpmf(y, np.exp(0.2 + 0.1 * F)), rel=1e-12
    )
    spread, values = make_endpoint(model="negative_binomial", dispersion=0.4)
    expected = stats.nbinom.logpmf(y, 1 / 0.4, 1 / (1 + 0.4 * F))
    assert minus2ll_of(spread, values, F, observed(y)) == pytest.approx(-2 * expected, rel=1e-12)


def test_grades():
    binary, values = make_endpoint(model="binary", intercept=-1.0, slope=0.5)
    y = np.array([0.0, 1.0, 1.0])
    assert minus2ll_of(binary, values, F, observed(y)) == pytest.approx(
        -2 * stats.bernoulli.logpmf(y, expit(-1 + 0.5 * F)), rel=1e-12
    )
    ordinal, values = make_endpoint(model="ordinal", cuts=[0.5, -1.0], slope=0.3)
    first, second = expit(0.5 + 0.3 * F), expit(-1.0 + 0.3 * F)
    for grade, chance in enumerate((1 - first, first - second, second)):
        assert minus2ll_of(ordinal, values, F, observed([float(grade)] * 3)) == pytest.approx(
            -2 * np.log(chance), rel=1e-12
        )


def test_times_to_events():
    t, happened = np.array([2.0, 5.0, 9.0]), np.array([1.0, 0.0, 1.0])
    for shape in (1.0, 1.7):
        part = dict(baseline="exponential") if shape == 1 else dict(baseline="weibull", shape=shape)
        event, values = make_endpoint(model="event", scale=4.0, **part)
        for i in range(3):  # one record each, so that each counts from 0
            alone = minus2ll_of(event, values, F[i : i + 1], observed(happened[i : i + 1], time=t[i : i + 1]))
            d = stats.weibull_min(shape, scale=4.0)
            assert alone == pytest.approx(-2 * (d.logpdf(t[i]) if happened[i] else d.logsf(t[i])), rel=1e-12)
    interval, values = make_endpoint(model="event", baseline="exponential", scale=4.0, interval=True)
    result = minus2ll_of(interval, values, F[:2], observed([0.0, 1.0], time=[2.0, 5.0]))
    assert result == pytest.approx([2 * 2 / 4, -2 * np.log(1 - np.exp(-3 / 4))], rel=1e-12)
    hazard, values = make_endpoint(model="event", hazard="h")
    p = predicted([0.4, 1.1], second=0.25)
    assert np.asarray(hazard.minus2ll(p, observed([0.0, 1.0]), values)) == pytest.approx([0.8, 1.4 - 2 * np.log(0.25)])


@pytest.mark.parametrize(
    ("part", "y", "impossible", "why"),
    [
        (dict(model="additive", add=1.0), [-1.0, 0.0], [False, False], ""),
        (dict(model="log", add=0.4), [-1.0, 0.0, 2.0], [True, True, False], "the log scale has none for it"),
        (dict(model="log", add=0.4, transformed=True), [-1.0, 2.0], [False, False], ""),
        (CONTINUOUS["logit"][0], [0.0, 3.0, 20.0], [True, False, True], "the logit scale has none for it"),
        (dict(model="poisson"), [0.0, 1.5, -1.0], [False, True, True], "it is a count"),
        (dict(model="binary", intercept=0.0), [0.0, 1.0, 2.0], [False, False, True], "it is 0 or 1"),
        (dict(model="ordinal", cuts=[1.0, 0.0]), [0.0, 2.0, 3.0, 0.5], [False, False, True, True], "grades are 0 to 2"),
        (dict(model="event", interval=True), [1.0, 0.5], [False, True], "it is 0 or 1"),
    ],
)
def test_values_that_a_likelihood_cannot_have(part, y, impossible, why):
    mask, reason = make_endpoint(**part)[0].find_impossible(np.array(y))
    assert list(mask) == impossible and reason == why


@pytest.mark.parametrize("part", [p for p, _ in CONTINUOUS.values()], ids=list(CONTINUOUS))
def test_expected_curvature_is_the_mean_of_the_observed(part):
    """Over y drawn from the model: E[½ ∂²loss/∂f²] by Gauss–Hermite nodes on the residual's scale."""
    endpoint, values = make_endpoint(**part)
    x, w = np.polynomial.hermite_e.hermegauss(8)
    mean, r = endpoint.moments(predicted(F), values)
    total = np.zeros(3)
    for node, weight in zip(x, w / w.sum(), strict=True):
        y = np.asarray(endpoint.from_scale(mean + np.sqrt(r) * node, values))
        total += weight * np.asarray(observed_curvature(endpoint, predicted(F), observed(y), values, True)) / 2
    assert total == pytest.approx(np.asarray(endpoint.curvature(predicted(F), observed(Y), values, True)), rel=1e-6)


@pytest.mark.parametrize(
    "part, words",
    [
        (dict(model="additive"), "lacks add"),
        (dict(model="additive", add=1.0, prop=0.1), "does not take prop"),
        (dict(model="additve", add=1.0), "no error model"),
        (dict(model="log", add=-1.0), "above zero"),
        (dict(model="additive", add=1.0, transform="lgo"), "no transform"),
        (dict(model="additive", add=1.0, blq="M3"), "without `lloq`"),
        (dict(model="additive", add=1.0, ar1=1.5), "between 0 and 1"),
        (dict(model="additive", add=1.0, ar1=0.5, lloq=1.0), "cannot go together"),
        (dict(model="ordinal", cuts=[-1.0, 0.5]), "must fall"),
        (dict(model="event"), "needs its hazard"),
        (dict(model="event", baseline="weibul", scale=1.0), "no baseline hazard"),
        (dict(model="poisson", link="probit"), "no link"),
        (dict(model="poisson", lloq=1.0), "no setting `lloq`"),
        (dict(model="additive", add=1.0, transform="logit"), "between"),
        (dict(model="additive", add=1.0, fixed=["prop"]), "not one of its parameters"),
    ],
)
def test_what_cannot_be_said(part, words):
    with pytest.raises(BadInput, match=words):
        declare_endpoint("cp", ErrorPart(**part), "", "fit.toml")
