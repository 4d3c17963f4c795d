"""Each kind of endpoint against SciPy's densities, one observation at a time."""

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


def seen(y, low=None, high=None, floor=-np.inf, when=None):
    y = np.asarray(y, float)
    full = np.broadcast_to
    back = np.arange(len(y)) - 1
    when = np.arange(1.0, len(y) + 1) if when is None else np.asarray(when, float)
    return Observed(
        y,
        full(y if low is None else low, y.shape),
        full(y if high is None else high, y.shape),
        full(floor, y.shape),
        when,
        back,
    )


def predicted(f, beside=1.0):
    f = jnp.asarray(f, float)
    return Predicted(f, f, jnp.full_like(f, beside), jnp.concatenate([jnp.zeros(1), f[:-1]]))


def made(limits=False, **part):
    """The endpoint and its parameters by name."""
    from dataclasses import replace

    d = declare_endpoint("cp", ErrorPart(**part), "", "fit.toml")
    endpoint = replace(d.endpoint, has_limits=True) if limits else d.endpoint
    return endpoint, {a.name: value for a, value, _ in d.parameters}


def minus2(endpoint, sigma, f, o):
    return np.asarray(endpoint.minus2ll(predicted(f), o, sigma))


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
    endpoint, sigma = made(**part)
    assert minus2(endpoint, sigma, F, seen(Y)) + LN2PI == pytest.approx(-2 * expected(), rel=1e-12)


def test_box_cox_is_the_logarithm_at_zero():
    zero, sigma = made(**{"model": "additive", "transform": "boxcox", "add": 0.4, "lambda": 0.0})
    log, other = made(model="log", add=0.4)
    assert minus2(zero, sigma, F, seen(Y)) == pytest.approx(minus2(log, other, F, seen(Y)), rel=1e-12)


@pytest.mark.parametrize("transform", ["none", "log"])
def test_a_value_below_a_limit(transform):
    part = dict(model="additive", add=0.5, lloq=1.0) | ({} if transform == "none" else {"transform": "log"})
    endpoint, sigma = made(limits=True, **part)
    below = seen([1.0] * 3, low=-np.inf, high=1.0)
    expected = stats.norm.logcdf(1.0, F, 0.5) if transform == "none" else stats.norm.logcdf(0.0, np.log(F), 0.5)
    assert minus2(endpoint, sigma, F, below) == pytest.approx(-2 * expected, rel=1e-10)


def test_m2_m4_and_an_interval():
    endpoint, sigma = made(limits=True, model="proportional", prop=0.3, lloq=1.0)
    sd = 0.3 * F
    m2 = stats.norm.logpdf(Y, F, sd) - stats.norm.logsf(0.5, F, sd)
    assert minus2(endpoint, sigma, F, seen(Y, floor=0.5)) + LN2PI == pytest.approx(-2 * m2, rel=1e-10)
    between = stats.norm.cdf(1.0, F, sd) - stats.norm.cdf(0.0, F, sd)
    m4 = np.log(between / stats.norm.sf(0.0, F, sd))
    found = minus2(endpoint, sigma, F, seen([1.0] * 3, low=0.0, high=1.0, floor=0.0))
    assert found == pytest.approx(-2 * m4, rel=1e-9)
    above = minus2(endpoint, sigma, F, seen([5.0] * 3, low=5.0, high=np.inf))
    assert above == pytest.approx(-2 * stats.norm.logsf(5.0, F, sd), rel=1e-10)


def test_draws_of_m4_are_positive_and_normal_there():
    import jax

    endpoint, sigma = made(limits=True, model="additive", add=2.0, lloq=0.5, blq="M4")
    n = 4000
    keys = jax.random.split(jax.random.key(3), n)[None]
    f = jnp.full((1, n), 1.0)
    p = Predicted(f, f, f, 0 * f)
    o = Observed(f, f, f, jnp.zeros((1, n)), f, jnp.full((1, n), -1))
    y = np.asarray(endpoint.draw(keys, p, o, sigma))[0]
    assert (y > 0).all()
    assert stats.kstest(y, stats.truncnorm(-0.5, np.inf, 1.0, 2.0).cdf).pvalue > 0.001


def test_counts():
    poisson, sigma = made(model="poisson")
    y = np.array([0.0, 3.0, 9.0])
    assert minus2(poisson, sigma, F, seen(y)) == pytest.approx(-2 * stats.poisson.logpmf(y, F), rel=1e-12)
    log, sigma = made(model="poisson", link="log", intercept=0.2, slope=0.1)
    assert minus2(log, sigma, F, seen(y)) == pytest.approx(
        -2 * stats.poisson.logpmf(y, np.exp(0.2 + 0.1 * F)), rel=1e-12
    )
    spread, sigma = made(model="negative_binomial", dispersion=0.4)
    expected = stats.nbinom.logpmf(y, 1 / 0.4, 1 / (1 + 0.4 * F))
    assert minus2(spread, sigma, F, seen(y)) == pytest.approx(-2 * expected, rel=1e-12)


def test_grades():
    binary, sigma = made(model="binary", intercept=-1.0, slope=0.5)
    y = np.array([0.0, 1.0, 1.0])
    assert minus2(binary, sigma, F, seen(y)) == pytest.approx(
        -2 * stats.bernoulli.logpmf(y, expit(-1 + 0.5 * F)), rel=1e-12
    )
    ordinal, sigma = made(model="ordinal", cuts=[0.5, -1.0], slope=0.3)
    first, second = expit(0.5 + 0.3 * F), expit(-1.0 + 0.3 * F)
    for grade, chance in enumerate((1 - first, first - second, second)):
        assert minus2(ordinal, sigma, F, seen([float(grade)] * 3)) == pytest.approx(-2 * np.log(chance), rel=1e-12)


def test_times_to_events():
    t, happened = np.array([2.0, 5.0, 9.0]), np.array([1.0, 0.0, 1.0])
    for shape in (1.0, 1.7):
        part = dict(baseline="exponential") if shape == 1 else dict(baseline="weibull", shape=shape)
        event, sigma = made(model="event", scale=4.0, **part)
        for i in range(3):  # one record each, so that each counts from 0
            alone = minus2(event, sigma, F[i : i + 1], seen(happened[i : i + 1], when=t[i : i + 1]))
            d = stats.weibull_min(shape, scale=4.0)
            assert alone == pytest.approx(-2 * (d.logpdf(t[i]) if happened[i] else d.logsf(t[i])), rel=1e-12)
    interval, sigma = made(model="event", baseline="exponential", scale=4.0, interval=True)
    found = minus2(interval, sigma, F[:2], seen([0.0, 1.0], when=[2.0, 5.0]))
    assert found == pytest.approx([2 * 2 / 4, -2 * np.log(1 - np.exp(-3 / 4))], rel=1e-12)
    hazard, sigma = made(model="event", hazard="h")
    p = predicted([0.4, 1.1], beside=0.25)
    assert np.asarray(hazard.minus2ll(p, seen([0.0, 1.0]), sigma)) == pytest.approx([0.8, 1.4 - 2 * np.log(0.25)])


@pytest.mark.parametrize("part", [p for p, _ in CONTINUOUS.values()], ids=list(CONTINUOUS))
def test_expected_curvature_is_the_mean_of_the_observed(part):
    """Over y drawn from the model: E[½ ∂²loss/∂f²] by Gauss–Hermite nodes on the residual's scale."""
    endpoint, sigma = made(**part)
    x, w = np.polynomial.hermite_e.hermegauss(8)
    mean, r = endpoint.moments(predicted(F), sigma)
    total = np.zeros(3)
    for node, weight in zip(x, w / w.sum(), strict=True):
        y = np.asarray(endpoint.from_scale(mean + np.sqrt(r) * node, sigma))
        total += weight * np.asarray(observed_curvature(endpoint, predicted(F), seen(y), sigma, True)) / 2
    assert total == pytest.approx(np.asarray(endpoint.curvature(predicted(F), seen(Y), sigma, True)), rel=1e-6)


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
