"""The contour against the matrix exponential: the strictest of the linear solvers, and the others' judge."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from truth import exponentials

from pbpk.linalg.packing import evaluate_linear_part
from pbpk.results import ResultCode
from pbpk.solve.contour import Contour, find_longest_cycle, propagate
from pbpk.solve.general import General

# Sum over the contour's nodes of weights up to 1e5 that cancel (test_hyperbola.py); measured here at most 4e-12.
WITH_CYCLES = 2e-11
WITHOUT = 1e-12


@partial(jax.jit, static_argnums=0)
def _advance(system, p, start, inflow, dt):
    return propagate(system, evaluate_linear_part(system, p)[0], start, inflow, dt)


def advance(system, rates, x, dt, source=None, integral=False):
    """x after each of `dt`, (n, len(dt)), or its integral."""
    p = jnp.broadcast_to(jnp.asarray(rates, float)[:, None], (len(rates), len(dt)))
    start = jnp.broadcast_to(jnp.asarray(x, float)[:, None], (len(x), len(dt)))
    inflow = None if source is None else jnp.broadcast_to(jnp.asarray(source, float)[:, None], start.shape)
    return np.asarray(_advance(system, p, start, inflow, jnp.asarray(dt, float))[integral])


def exact(a, x, t, source=None):
    """exp(At)x + ∫exp(As)r ds by the exponential of the matrix bordered with r."""
    n = len(x)
    bordered = np.zeros((n + 1, n + 1))
    bordered[:n, :n] = a
    bordered[:n, n] = 0.0 if source is None else source
    return (expm(bordered * t) @ np.append(x, 1.0))[:n]


def random_edges(n, arrows, rng):
    edges = {tuple(int(v) for v in rng.choice(n, 2, replace=False)) for _ in range(arrows)}
    return [*sorted(edges), (int(rng.integers(n)), n)]


@pytest.mark.parametrize(("n", "arrows", "seed"), [(2, 2, 0), (4, 5, 1), (6, 8, 2), (9, 14, 3), (12, 14, 4)])
def test_random_graphs(graph, matrix_of, n, arrows, seed):
    rng = np.random.default_rng(seed)
    edges = random_edges(n, arrows, rng)
    rates = 10 ** rng.uniform(-3, 2, len(edges))
    x, source, dt = rng.uniform(0, 1, n), rng.uniform(0, 1, n), np.array([0.0, 1e-6, 0.1, 3.0, 40.0])
    system, a = graph(n, edges), matrix_of(n, edges, rates)
    ours = advance(system, rates, x, dt)
    np.testing.assert_allclose(ours.T, [exact(a, x, t) for t in dt], atol=WITH_CYCLES * x.sum(), rtol=0)
    ours = advance(system, rates, x, dt, source)
    theirs = np.array([exact(a, x, t, source) for t in dt])
    largest = (x.sum() + source.sum() * dt)[:, None]
    assert (np.abs(ours.T - theirs) / largest).max() < WITH_CYCLES


@pytest.mark.parametrize("k", range(3, 13))
def test_rings_of_equal_rates(graph, matrix_of, k):
    """Their eigenvalues are the worst a cycle of that length can have."""
    edges = [(i, (i + 1) % k) for i in range(k)]
    x, dt = np.eye(k)[0], np.array([0.0, 0.3, 2.0, 15.0, 100.0])
    ours = advance(graph(k, edges), np.full(k, 1.7), x, dt)
    theirs = [exact(matrix_of(k, edges, np.full(k, 1.7)), x, t) for t in dt]
    np.testing.assert_allclose(ours.T, theirs, atol=WITH_CYCLES, rtol=0)
    np.testing.assert_allclose(ours.sum(axis=0), 1.0, atol=WITH_CYCLES)


def test_a_fast_step_before_a_slow_one(graph):
    """Rates eight decades apart, against the closed form."""
    fast, slow, t = 1e8, 1.0, np.array([1e-9, 1e-8, 1e-3, 1.0, 5.0])
    ours = advance(graph(2, [(0, 1), (1, 2)]), [fast, slow], [1.0, 0.0], t)
    theirs = np.stack([np.exp(-fast * t), fast / (fast - slow) * (np.exp(-slow * t) - np.exp(-fast * t))])
    np.testing.assert_allclose(ours, theirs, atol=WITHOUT, rtol=0)


def test_a_fast_exchange_beside_a_slow_loss(graph):
    """The slow rate would be a difference of numbers 1e8 times as large, were the elimination to subtract."""
    a, b, e, t = 1e8, 0.5e8, 1.0, np.array([1e-9, 1e-3, 1.0, 5.0])
    s = a + b + e
    large = -(s + np.sqrt(s * s - 4 * b * e)) / 2
    small = b * e / large
    first = ((small + b) * np.exp(small * t) - (large + b) * np.exp(large * t)) / (small - large)
    second = a * (np.exp(small * t) - np.exp(large * t)) / (small - large)
    ours = advance(graph(2, [(0, 1), (1, 0), (0, 2)]), [a, b, e], [1.0, 0.0], t)
    np.testing.assert_allclose(ours, [first, second], atol=6 * WITHOUT, rtol=0)


@pytest.mark.parametrize("stiffness", [1.0, 1e3, 1e6, 1e9])
def test_stiffness_loses_no_mass(graph, stiffness):
    """Elimination by column excesses subtracts nothing (elimination.py); differences of rates lost 4e-14 × rate × time."""
    rng = np.random.default_rng(0)
    pairs = [(a, b) for a in range(5) for b in range(5) if a != b]
    rates = stiffness * 10 ** rng.uniform(-2, 0, len(pairs)) * (rng.random(len(pairs)) < 0.4)
    ours = advance(graph(5, pairs), rates, np.eye(5)[1], [0.0, 0.1, 1.0])
    np.testing.assert_allclose(ours.sum(axis=0), 1.0, atol=5e-11)


def test_rates_of_zero(graph):
    ours = advance(graph(3, [(0, 1), (1, 2), (2, 3)]), [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, 7.0])
    np.testing.assert_allclose(ours, np.array([[1.0, 2.0, 3.0]] * 2).T, atol=6 * WITHOUT)


def test_no_time_changes_nothing(graph):
    system = graph(3, [(0, 1), (1, 2), (2, 3)])
    ours = advance(system, [1e3, 1.0, 1e-3], [1.0, 2.0, 3.0], [0.0], source=[5.0, 0.0, 0.0])
    np.testing.assert_allclose(ours[:, 0], [1.0, 2.0, 3.0], atol=6 * WITHOUT)


def test_derivative_in_time_is_the_vector_field(graph):
    """Dose times and lags are differentiated through `dt`."""
    system = graph(3, [(0, 1), (1, 2), (2, 1), (1, 3)])
    p, x = jnp.array([[2.0], [1.0], [0.5], [0.3]]), jnp.array([[1.0], [2.0], [3.0]])
    _, slope = jax.jvp(lambda t: _advance(system, p, x, None, t)[0], (jnp.zeros(1),), (jnp.ones(1),))
    np.testing.assert_allclose(slope, system.vector_field(0.0, x, p), atol=1e-10)


@pytest.mark.parametrize(("n", "arrows", "seed"), [(2, 2, 0), (6, 8, 2), (9, 14, 3)])
def test_integrals(graph, n, arrows, seed):
    rng = np.random.default_rng(seed)
    edges = random_edges(n, arrows, rng)
    rates = 10 ** rng.uniform(-3, 2, len(edges))
    x, source, dt = rng.uniform(0, 1, n), rng.uniform(0, 1, n), np.array([0.0, 1e-6, 0.1, 3.0, 40.0])
    ours = advance(graph(n, edges), rates, x, dt, source, integral=True)
    for t, got in zip(dt, ours.T, strict=True):
        _, once, twice = exponentials(n, edges, rates, t)
        largest = (x.sum() + source.sum() * t) * t
        np.testing.assert_allclose(got, once @ x + twice @ source, atol=WITH_CYCLES * largest, rtol=0)


def test_stricter_than_the_contour_is_a_general_solver(graph):
    assert isinstance(Contour().fallback(), General)
    assert Contour().forward_mode() == Contour()


def test_the_longest_cycle_decides_the_nodes(graph):
    assert find_longest_cycle(graph(4, [(0, 1), (1, 2), (2, 0), (2, 3)])) == 3
    assert find_longest_cycle(graph(3, [(0, 1), (1, 0), (1, 2), (2, 1)])) == 2
    assert find_longest_cycle(graph(2, [(0, 1)])) == 0


def test_refuses_a_ring_of_14(graph):
    assert "a cycle of 14 compartments" in Contour().unsupported_reason(
        graph(14, [(i, (i + 1) % 14) for i in range(14)])
    )
    assert Contour().unsupported_reason(graph(12, [(i, (i + 1) % 12) for i in range(12)])) == ""


def test_failure_is_a_value_of_that_patient(solve, dose, seen, graph):
    patient = [dose(0, 10, "c0"), *seen(1, 2)]
    _, result = solve(graph(2, [(0, 1), (1, 2)]), [patient] * 2, {"k0": [1.0, np.nan], "k1": 0.5}, Contour())
    assert result.tolist() == [ResultCode.OK, ResultCode.NOT_FINITE]
