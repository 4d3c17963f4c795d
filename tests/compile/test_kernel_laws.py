"""Functions on operands against NumPy, and laws traced to operands against JAX's own evaluation of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, psi

from pbpk.compile.backend.base import Buffer, NumpyBackend
from pbpk.compile.backend.functions import (
    cos,
    digamma,
    divide,
    erf,
    erfc,
    expm1,
    lgamma,
    log,
    log1p,
    power,
    sin,
    tanh,
)
from pbpk.compile.backend.llvm import LlvmBackend
from pbpk.compile.backend.llvm_kernel import write_kernel
from pbpk.compile.programs.laws import UnsupportedOperation, evaluate_expressions, prepare_expression, trace_function
from pbpk.compile.programs.rosenbrock.right_hand_side import trace_law
from pbpk.compile.xla import jit
from pbpk.compile.xla.handler import write_handler
from pbpk.model import laws

pytestmark = pytest.mark.usefixtures("compiled")


def run(algorithm, given, results):
    """What `algorithm(m, operands)` returns, (results, N): compiled, and by NumPy."""
    given = np.asarray(given, float)
    into, out = Buffer("given", (len(given),)), Buffer("found", (results,))

    def body(m):
        for k, x in enumerate(algorithm(m, [m.read(into, k) for k in range(len(given))])):
            m.write(out, k, x)

    m = LlvmBackend(jit.host_processor().lanes)
    source = write_kernel(m, (into, out), lambda: body(m)) + "\n" + write_handler((into,), (out,), m.lanes, m.vectors)
    types = jax.ShapeDtypeStruct((results, given.shape[1]), np.float64)
    compiled = np.asarray(jax.jit(jax.ffi.ffi_call(jit.register_handler(source), types))(jnp.asarray(given)))
    oracle = NumpyBackend({"given": given, "found": np.zeros((results, given.shape[1]))})
    with np.errstate(all="ignore"):
        body(oracle)
    return compiled, oracle.buffers["found"]


ODD = np.array([0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, -3.0, 2.5, 1e200, -1e200, np.inf, -np.inf, np.nan, 1e16])
_RNG = np.random.default_rng(0)
WIDE = np.concatenate(
    [ODD, 10 ** _RNG.uniform(-300, 300, 500), -(10 ** _RNG.uniform(-20, 2, 200)), _RNG.uniform(-2, 3, 500)]
)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(log, np.log), (expm1, np.expm1), (log1p, np.log1p), (tanh, np.tanh)], ids=lambda f: f.__name__
)
def test_functions(ours, theirs):
    x = WIDE[(np.abs(WIDE) < 708) | ~np.isfinite(WIDE) | (theirs is not np.expm1)]
    with np.errstate(all="ignore"):
        expected = theirs(x)
    for found in run(lambda m, a: [ours(m, a[0])], [x], 1):
        np.testing.assert_allclose(found[0], expected, rtol=2e-15, atol=0)


def test_power():
    """Where the result is a normal number; and at every end."""
    x, y = 10 ** _RNG.uniform(-30, 30, 2000), _RNG.uniform(-20, 20, 2000)
    near = np.abs(y * np.log(x)) < 700
    ends = np.meshgrid(ODD[:-1], ODD)
    x, y = np.concatenate([x[near], ends[1].ravel()]), np.concatenate([y[near], ends[0].ravel()])
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    for found in run(lambda m, a: [power(m, *a)], [x, y], 1):
        np.testing.assert_allclose(found[0], expected, rtol=2e-15, atol=0)


@pytest.mark.parametrize(("ours", "theirs"), [(erf, math.erf), (erfc, math.erfc)], ids=lambda f: f.__name__)
def test_error_functions(ours, theirs):
    """To the end of what is a normal number; both sides of every seam; and C's at the ends."""
    x = np.concatenate([np.linspace(-27, 26.5, 4001), np.geomspace(1e-300, 1, 200), [1.0, 8.0, -1.0, -8.0]])
    x = np.concatenate([x, np.nextafter(x[-4:], 0), [0.0, np.inf, -np.inf, np.nan, 1e300, -1e300]])
    expected = np.array([theirs(float(a)) for a in x])
    for found in run(lambda m, a: [ours(m, *a)], [x], 1):
        np.testing.assert_allclose(found[0], expected, rtol=1e-15 if ours is erf else 4e-15, atol=1e-307)


@pytest.mark.parametrize(("ours", "theirs"), [(sin, np.sin), (cos, np.cos)], ids=lambda f: f.__name__)
def test_waves(ours, theirs):
    """Over many turns, at every multiple of π/4 and beside it, and no number at infinity."""
    x = np.concatenate([np.linspace(-20, 20, 4001), _RNG.uniform(-1e6, 1e6, 2000), np.arange(-4001, 4001) * np.pi / 4])
    x = np.concatenate([x, np.nextafter(x, 0), 10 ** _RNG.uniform(-300, 0, 100), [0.0]])
    for values in run(lambda m, a: [ours(m, *a)], [np.append(x, [np.inf, np.nan, -np.inf])], 1):
        np.testing.assert_allclose(values[0, :-3], theirs(x), rtol=2e-15, atol=2.3e-16)
        assert np.isnan(values[0, -3:]).all()


def test_gamma_function():
    """And its logarithm's derivative, against SciPy's; both sides of the seam; no numbers where they are not meant for."""
    x = np.concatenate([np.geomspace(1e-300, 1e300, 997), np.linspace(0.01, 40, 997), [1.0, 2.0, 8.0]])
    x = np.concatenate([x, np.nextafter([8.0, 8.0], [0, 9]), [np.inf, 0.0, -1.0, -0.5, np.nan]])
    for both in run(lambda m, a: [lgamma(m, *a), digamma(m, *a)], [x], 2):
        for found, wanted in zip(both, (gammaln(x), psi(x)), strict=True):
            np.testing.assert_allclose(found[:-5], wanted[:-5], rtol=1e-14, atol=1e-14)
            assert found[-5] == np.inf and np.all(np.isnan(found[-4:]))


def hill(c, vmax, half, gamma):
    return vmax * c**gamma / (half**gamma + c**gamma)


@jax.custom_jvp
def smooth(x):
    return jnp.log1p(jnp.exp(x))


smooth.defjvp(lambda at, way: (smooth(*at), jax.nn.sigmoid(at[0]) * way[0]))


def patchwork(a, b, k):
    """Everything that selects and bounds."""
    inside = jnp.logical_and(a > 0.3, jnp.logical_not(b >= 2.0))
    bounded = jnp.clip(a, 0.1, k) + jnp.maximum(a, b) * jnp.minimum(a, 1.5) + jnp.abs(a - b) + jnp.sign(b)
    return jnp.where(inside, bounded, jnp.where(a == b, 1.0, 2.0 * a)) + jax.jit(lambda v: v**3)(a) / (1 + b**-2)


def transcendental(a, k, half):
    return k * jnp.exp(-a / half) + jnp.tanh(a) * jnp.sqrt(a) - jnp.log(a + half) + jnp.expm1(-a) + smooth(a - k)


CASES = {
    "michaelis": (laws.saturable, "c", "vmax km"),
    "competitive": (laws.competitive, "c rival", "vmax km ki"),
    "symport": (
        laws.symport,
        "c iodide",
        "level own perchlorate thiocyanate vmax km km_iodide ki_perchlorate ki_thiocyanate",
    ),
    "arrested": (laws.inhibited_first_order, "a rival", "k half"),
    "damaged": (laws.radiation_loss, "level c", "k"),
    "hill": (hill, "c", "vmax half gamma"),
    "patchwork": (patchwork, "a b", "k"),
    "transcendental": (transcendental, "a", "k half"),
}


@pytest.mark.parametrize("name", list(CASES))
def test_laws_and_their_derivatives(name):
    """Rate, slopes, gradient and the gradient of the weighed slopes, with the parameters known beforehand."""
    law, states, parameters = CASES[name]
    names = (*states.split(), *parameters.split())
    count, own = len(names), len(states.split())
    found = trace_law(law, names, tuple(k < own for k in range(count)))
    values = np.random.default_rng(3).uniform(0.2, 3.0, (count + own, 24))

    def algorithm(m, a):
        known = dict(enumerate(a[:count]))
        fixed, later = {k: known[k] for k in range(own, count)}, {k: known[k] for k in range(own)}
        weights = {count + k: a[count + k] for k in range(own)}
        all_ = [(prepare_expression(m, e, fixed), later) for e in (found.rate, found.tangent, found.gradient)]
        return [
            r
            for one in evaluate_expressions(
                m, [*all_, (prepare_expression(m, found.second_derivative, fixed), later | weights)]
            )
            for r in one
        ]

    def rate(*a):
        return law(**dict(zip(names, a, strict=True)))

    def weighed(*a):
        slopes = jax.grad(rate, tuple(range(own)))(*a[:count])
        return sum(t * s for t, s in zip(a[count:], slopes, strict=True))

    @jax.jit
    @jax.vmap
    def expected(*a):
        own_rate, gradient = rate(*a[:count]), jax.grad(rate, tuple(range(count)))(*a[:count])
        bend = jax.grad(weighed, tuple(range(count)))(*a)
        return jnp.stack([own_rate, own_rate, *gradient[:own], *gradient, *bend])

    by_jax = np.asarray(expected(*values)).T
    for ours in run(algorithm, values, len(by_jax)):
        np.testing.assert_allclose(ours, by_jax, rtol=1e-12, atol=1e-13)


def test_what_is_known_beforehand_is_not_computed_again():
    """Of Vmax·c/(Km·(1 + rival/Ki) + c), three operations are left to a loop."""
    law = trace_law(laws.competitive, ("c", "rival", "vmax", "km", "ki"), (True, False, False, False, False))
    known = {k: np.ones(1) for k in range(1, 5)}
    assert [op.name for op in prepare_expression(NumpyBackend({}), law.rate, known).operations] == ["mul", "add", "div"]


@pytest.mark.parametrize("count", range(1, 10))
def test_many_quotients_by_one_division(count):
    given = (
        np.random.default_rng(0).uniform(0.1, 10, (2 * count, 40))
        * 10.0 ** np.arange(-2 * count, 2 * count, 2)[:, None]
    )
    for found in run(lambda m, a: divide(m, list(zip(a[:count], a[count:], strict=True))), given, count):
        np.testing.assert_allclose(found, given[:count] / given[count:], rtol=2e-15)


def test_what_is_divided_by_often_is_divided_by_once():
    """All slopes of Michaelis–Menten: one division."""
    law = trace_law(laws.saturable, ("c", "vmax", "km"), (True, False, False))
    own = prepare_expression(NumpyBackend({}), law.gradient, {1: np.ones(1), 2: np.ones(1)})
    assert [op.name for op in own.operations].count("div") == 1


@pytest.mark.parametrize(
    ("law", "says"),
    [
        (lambda a, k: k * jnp.arctan(a), "atan"),
        (lambda a, k: jax.lax.fori_loop(0, 3, lambda _, x: x * k, a), "scan|while"),
        (lambda a, k: jnp.sum(jnp.stack([a, k])), "stack|concatenate|broadcast_in_dim"),
        (lambda a, k: a.astype(jnp.float32) * 2.0, "convert_element_type"),
        (lambda a, k: jnp.floor(a) * k, "floor"),
    ],
)
def test_what_operands_do_not_have_is_named(law, says):
    with pytest.raises(UnsupportedOperation, match=says):
        trace_function(law, 2)


def test_constants_and_numbers_of_values_are_not_confused():
    """The first argument's number is 0 and the second's is 1, as the constants 0.0 and 1.0 are."""
    e = trace_function(lambda a, b: [a - b, a - 1.0, b - 0.0, 0.0 - a, 1.0 / b, jnp.asarray(2.0) * 3.0], 2)
    for ours in run(
        lambda m, a: evaluate_expressions(m, [(prepare_expression(m, e, {}), dict(enumerate(a)))])[0],
        [[2.0] * 8, [5.0] * 8],
        6,
    ):
        np.testing.assert_array_equal(ours[:, 0], [-3, 1, 5, -2, 0.2, 6])
