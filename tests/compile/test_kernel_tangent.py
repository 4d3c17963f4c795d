"""Derivatives forward by nilpotents: against JAX's of the JAX engine, to third order, under every transformation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from pbpk.compile import compile_linear
from pbpk.compile.backend.base import NumpyBackend
from pbpk.compile.programs.linear.kernel import series_tables
from pbpk.compile.programs.linear.window import LinearWindowForward, propagate_window
from pbpk.errors import WrongUsage
from pbpk.linalg.packing import plan_packing
from pbpk.linalg.series import design
from pbpk.solve.resolvent import propagate
from pbpk.solve.series_window import ResolventWindow

pytestmark = pytest.mark.usefixtures("compiled")

SERIES = design(30.0, 1e-13)
STOPS = np.array([0.0, 0.5, 2.0, 15.0])


@pytest.fixture(scope="module")
def given(model):
    """A system, (rates, start, source, stops) of five patients, and a direction for each."""
    system, rates = model("iv_two_compartment", 5)
    rng, n = np.random.default_rng(1), len(system.names)
    at = [rates, *jnp.asarray(rng.uniform(0, 1, (2, n, 5))), jnp.asarray(STOPS)[:, None]]
    return system, at, [jnp.asarray(rng.normal(size=a.shape)) * a for a in at]


def _amounts(system, compiled, sourced, rates, start, source, stops):
    window = ResolventWindow(system, SERIES, integrals=True, compiled=compiled)
    matrix = rates if compiled else plan_packing(system).pack(rates)
    return propagate(window, matrix, start, source if sourced else None, stops)


def _along(f, at, ways):
    """f, its slope along the first way, the slope of that along the second, …"""
    if not ways:
        return f(*at)
    return jax.jvp(lambda *x: _along(f, x, ways[1:]), tuple(at), tuple(ways[0]))


@pytest.mark.parametrize("sourced", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_to_third_order_like_jax(given, sourced, timed):
    """Each way mixes rates, start and inflow, and the stops too where `timed`, which moves them where no time has passed."""
    system, at, way = given
    if not timed:
        at, way = at[:3], way[:3]
    rng = np.random.default_rng(2)
    ways = [[d * rng.uniform(0.5, 1.5) for d in way] for _ in range(3)]
    stops = () if timed else (jnp.asarray(STOPS)[:, None],)

    @partial(jax.jit, static_argnums=0)
    def derivatives(compiled):
        return _along(lambda *x: _amounts(system, compiled, sourced, *x, *stops), at, ways)

    for ours, theirs in zip(*(jax.tree.leaves(derivatives(c)) for c in (True, False)), strict=True):
        # Of the errors' estimates nothing is compared but that they have no derivatives.
        if ours.ndim > 1:
            assert np.abs(ours - theirs).max() <= 1e-9 * np.abs(theirs).max()


def test_against_a_difference_of_exponentials(graph):
    """No JAX engine: the slope of exp(At)x along rates, from two exponentials."""
    edges = [(0, 1), (1, 0), (1, 2), (2, 3), (0, 3)]
    rng = np.random.default_rng(0)
    k, way = rng.uniform(0.2, 2, len(edges)), rng.normal(size=len(edges))
    kernel = compile_linear(graph(3, edges), SERIES)

    def exactly(k):
        a = np.zeros((3, 3))
        for (s, t), rate in zip(edges, k, strict=True):
            a[s, s] -= rate
            if t < 3:
                a[t, s] += rate
        return expm(a * 2.0) @ np.ones(3)

    f = lambda k: kernel(k[:, None], jnp.ones((3, 1)), jnp.array([2.0])).amounts[0, :, 0]  # noqa: E731
    slope = jax.jit(lambda k: jax.jvp(f, (k,), (jnp.asarray(way),))[1])(jnp.asarray(k))
    h = 1e-4
    ahead = [exactly(k + s * h * way) for s in (-2, -1, 1, 2)]
    np.testing.assert_allclose(slope, (ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * h), atol=1e-11)


@pytest.mark.parametrize("order", [1, 2])
def test_every_part_against_numpy(model, order):
    """The same algorithm on NumPy: a body's program with one nilpotent and with two."""
    system, rates = model("iodide", 9)
    rng = np.random.default_rng(3)
    window = LinearWindowForward(system, SERIES, len(STOPS), True, True, True, derivative_order=order)
    ways = [[jnp.asarray(rng.normal(size=a.shape)) for a in (rates, *[jnp.zeros((window.size, 9))] * 2)] for _ in "ab"]
    at = [rates, *jnp.asarray(rng.uniform(0, 1, (2, window.size, 9)))]
    kernel = compile_linear(system, SERIES, integrals=True)

    def f(k, x, s):
        return kernel(k, x, jnp.asarray(STOPS), s)

    found = jax.jit(lambda *at: _along(f, at, ways[:order]))(*at)
    own = [[a, *(w[i] for w in ways)] for i, a in enumerate(at)]
    parts = [own[i] if order == 2 else own[i][:2] for i in range(3)]
    if order == 2:
        parts = [[a, w, v, jnp.zeros_like(a)] for a, v, w in parts]  # the inner way is the first nilpotent
    arrays = [p for part in parts for p in part] + series_tables(window, rates, jnp.asarray(STOPS)[:, None])
    buffers = {b.name: np.asarray(a) for b, a in zip(window.arguments, arrays, strict=True)}
    buffers |= {b.name: np.full((*b.shape, 9), np.nan) for b in window.results}
    propagate_window(NumpyBackend(buffers), window)
    crossed = jax.tree.leaves(found, is_leaf=lambda x: hasattr(x, "amounts"))
    for part, ours in enumerate(x.amounts for x in crossed):
        expected = buffers[window.coefficient_name("amounts", part)]
        assert np.abs(ours - expected).max() <= 1e-11 * np.abs(expected).max()


def test_directions_share_what_they_have_in_common(given):
    """Under `vmap` over directions the value has no axis of them: what estimation relies on (forward_mode.py)."""
    system, at, _ = given
    stops = jnp.asarray(STOPS)[:, None]
    basis = jnp.broadcast_to(jnp.eye(len(at[0]))[:, :, None], (len(at[0]), *at[0].shape))

    def f(k):
        return _amounts(system, True, True, k, *at[1:3], stops)[0]

    first = lambda v: jax.jvp(f, (at[0],), (v,))  # noqa: E731

    def both(v):
        return jax.jvp(lambda k: jax.jvp(f, (k,), (v,)), (at[0],), (v,))

    value, slopes = jax.jit(jax.vmap(first, out_axes=(None, 0)))(basis)
    (same, again), (_, curvature) = jax.jit(jax.vmap(both, out_axes=((None, 0), (0, 0))))(basis)
    np.testing.assert_array_equal(slopes, jnp.stack([jax.jit(first)(v)[1] for v in basis]))
    np.testing.assert_allclose(again, slopes, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(same, value, rtol=1e-12)
    nested = jax.jit(jax.jacfwd(jax.jacfwd(f)))(at[0])
    own = jnp.stack([nested[:, :, :, e, :, e, :].sum(axis=(-1, -2)) for e in range(len(basis))])
    np.testing.assert_allclose(curvature, own, rtol=1e-10, atol=1e-12)


def test_rates_that_do_not_move_need_no_nilpotent(given):
    """What steady states ask for: a slope in the start alone is a solution, of the same program."""
    system, at, way = given
    kernel = compile_linear(system, SERIES, integrals=True)

    def f(x):
        return kernel(at[0], x, jnp.asarray(STOPS)).amounts

    value, slope = jax.jit(lambda x: jax.jvp(f, (x,), (way[1],)))(at[1])
    np.testing.assert_array_equal(value, jax.jit(f)(at[1]))
    np.testing.assert_array_equal(slope, jax.jit(f)(way[1]))


def test_patients_keep_their_derivatives_apart(given):
    """One who is not a number spoils nobody else's."""
    system, at, way = given
    rates = at[0].at[0, 2].set(np.nan)
    slope = jax.jit(lambda k: _along(lambda *x: _amounts(system, True, False, *x), [k, *at[1:]], [way])[1][0])
    clean, spoilt = slope(at[0]), slope(rates)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(spoilt[..., others], clean[..., others])
    assert np.isnan(spoilt[1:, :, 2]).all()


def test_stops_are_not_differentiated_and_it_says_so(model, compiled):
    system, rates = model("iodide", 4)
    kernel = compile_linear(system, design(4.0, 1e-13))
    start, stops = jnp.ones((len(system.names), 4)), jnp.array([1.0, 3.0])
    run = lambda s: kernel(rates, start, s).amounts  # noqa: E731
    with pytest.raises(WrongUsage, match="no derivative in its stops"):
        jax.jit(lambda s: jax.jvp(run, (s,), (s,)))(stops)
    jax.jit(lambda s: jax.jvp(lambda r: kernel(r, start, s).amounts, (rates,), (rates,)))(stops)
