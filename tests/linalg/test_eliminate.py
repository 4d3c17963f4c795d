"""Sparse elimination against dense algebra, and the plan's own promises: no needless fill, few levels."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.linalg.elimination import plan_elimination


def random_matrix(n, density, seed, batch=()):
    """Complex, diagonally dominant by columns as zI − A is, and its sparsity."""
    rng = np.random.default_rng(seed)
    entries = {(int(i), int(j)) for i, j in np.argwhere(rng.random((n, n)) < density) if i != j}
    m = np.zeros((n, n, *batch), complex)
    for i, j in entries:
        m[i, j] = rng.normal(size=batch) + 1j * rng.normal(size=batch)
    for i in range(n):
        m[i, i] = np.abs(m[:, i]).sum(axis=0) + rng.uniform(0.1, 1.0) + 1j * rng.normal(size=batch)
    return m, entries


def solved(plan, m, rhs):
    return np.asarray(jax.jit(lambda a, b: plan.solve(plan.factor(a), b))(plan.pack(m), jnp.asarray(rhs)))


@pytest.mark.parametrize(("n", "density", "seed"), [(1, 0.0, 0), (2, 1.0, 1), (7, 0.2, 2), (15, 0.15, 3), (9, 1.0, 4)])
def test_against_dense_algebra(n, density, seed):
    m, entries = random_matrix(n, density, seed)
    plan = plan_elimination(n, entries)
    rhs = np.random.default_rng(9).normal(size=n) + 1j
    np.testing.assert_allclose(solved(plan, m, rhs), np.linalg.solve(m, rhs), rtol=1e-12)


def test_batch_axes():
    m, entries = random_matrix(8, 0.3, 5, batch=(3, 4))
    plan = plan_elimination(8, entries)
    rhs = np.random.default_rng(9).normal(size=(8, 3, 4)) + 0j
    x = solved(plan, m, rhs)
    for k in np.ndindex(3, 4):
        np.testing.assert_allclose(x[:, *k], np.linalg.solve(m[:, :, *k], rhs[:, *k]), rtol=1e-12)


def links(n):
    return {e for a, b in pairwise(range(n)) for e in ((a, b), (b, a))}


def star(n):
    return {e for i in range(1, n) for e in ((0, i), (i, 0))}


@pytest.mark.parametrize("n", [2, 10, 60])
def test_an_arrowhead_fills_nothing(n):
    """A mammillary body: all outer compartments go in one level, the hub in the next."""
    plan = plan_elimination(n, star(n))
    assert plan.nonzeros == n + 2 * (n - 1)
    assert plan.steps == n - 1
    assert len(plan.levels) == 2


@pytest.mark.parametrize("n", [5, 10])
def test_a_short_chain_fills_nothing(n):
    plan = plan_elimination(n, links(n))
    assert plan.nonzeros == n + 2 * (n - 1)
    assert plan.steps == n - 1


def test_a_long_chain_has_few_levels():
    """Levels are the length of the compiled program; taken from its ends a chain would need n/2."""
    plan = plan_elimination(200, links(200))
    assert len(plan.levels) <= 14
    assert plan.nonzeros < 3 * (3 * 200)


def test_a_long_chain_is_still_solved():
    rng = np.random.default_rng(6)
    entries = links(70)
    m = np.zeros((70, 70), complex)
    for e in entries:
        m[e] = rng.normal()
    m[np.diag_indices(70)] = np.abs(m).sum(axis=0) + 0.1 + 1j
    plan = plan_elimination(70, entries)
    rhs = rng.normal(size=70) + 0j
    np.testing.assert_allclose(solved(plan, m, rhs), np.linalg.solve(m, rhs), rtol=1e-11)


def test_every_pivot_is_taken_once():
    plan = plan_elimination(30, random_matrix(30, 0.1, 7)[1])
    assert sorted(plan.order) == list(range(30))
    assert [i for level in plan.levels for i in range(30)[level.pivot]] == list(range(30))


@pytest.mark.parametrize(
    ("n", "density", "seed"), [(1, 0.0, 0), (2, 1.0, 1), (7, 0.2, 2), (15, 0.15, 3), (40, 0.05, 4)]
)
def test_products_and_the_transposed_solve(n, density, seed):
    """What adjoints need, by the same factors and the same packed numbers."""
    m, entries = random_matrix(n, density, seed, batch=(2,))
    plan, x = plan_elimination(n, entries), np.random.default_rng(8).normal(size=(n, 2)) + 0.5j
    packed = plan.pack(m)
    np.testing.assert_allclose(plan.product(packed)(x), np.einsum("ijb,jb->ib", m, x), rtol=1e-12, atol=1e-12)
    turned = np.einsum("ijb,ib->jb", m, x)
    np.testing.assert_allclose(plan.transposed_product(packed)(x), turned, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda a, b: plan.transposed_solver(a)(b))(packed, turned), x, rtol=1e-11)
    shifted = m + 0.7 * np.eye(n)[:, :, None]
    np.testing.assert_allclose(
        plan.product(plan.shifted(packed, 0.7))(x), np.einsum("ijb,jb->ib", shifted, x), rtol=1e-11, atol=1e-12
    )


def test_differences_are_the_slopes_of_a_product():
    """λᵀ(M x) in each packed number: an arrow's entry also lowers its column's diagonal."""
    m, entries = random_matrix(9, 0.25, 11)
    plan, rng = plan_elimination(9, entries), np.random.default_rng(1)
    packed, x, to = plan.pack(m.real), rng.normal(size=9), rng.normal(size=9)
    slope = jax.grad(lambda v: jnp.dot(to, plan.product(v)(x)))(packed)
    ours = plan.differences(jnp.asarray(to)) * x[plan.column]
    real = np.array([e in entries or e[0] == e[1] for e in plan.position])  # fill is no number of M
    np.testing.assert_allclose(ours[real], slope[real], rtol=1e-12, atol=1e-14)


def test_derivatives_of_a_solve():
    """Forward and backward rules against M⁻¹ db − M⁻¹ dM M⁻¹ b, and the second derivative against differences."""
    m, entries = random_matrix(6, 0.3, 12)
    m, rng = m.real, np.random.default_rng(2)
    plan, b, db = plan_elimination(6, entries), rng.normal(size=6), rng.normal(size=6)
    dm = np.where(m != 0, rng.normal(size=m.shape), 0.0)
    at, along = (plan.pack(m), jnp.asarray(b)), (plan.pack(dm), jnp.asarray(db))

    def solve(values, rhs):
        return plan.solver(values)(rhs)

    first = jax.jit(lambda *at: jax.jvp(solve, at, along)[1])
    slope = first(*at)
    x = np.linalg.solve(m, b)
    np.testing.assert_allclose(slope, np.linalg.solve(m, db - dm @ x), rtol=1e-10, atol=1e-12)
    to = rng.normal(size=6)
    pulled = jax.jit(jax.grad(lambda *at: jnp.dot(to, solve(*at)), argnums=(0, 1)))(*at)
    assert sum(float(jnp.vdot(p, a)) for p, a in zip(pulled, along, strict=True)) == pytest.approx(float(to @ slope))

    second, h = jax.jit(lambda *at: jax.jvp(first, at, along)[1])(*at), 1e-5
    high, low = (first(*(a + s * d for a, d in zip(at, along, strict=True))) for s in (h, -h))
    np.testing.assert_allclose(second, (high - low) / (2 * h), rtol=1e-5, atol=1e-7)
