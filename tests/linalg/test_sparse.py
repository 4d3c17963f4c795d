"""Products by rows against dense algebra, for rows of every weight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.linalg.sparse import plan_rows


def entries_of(kind, n, rng):
    if kind == "hub":  # blood, to and from every organ
        return [(0, j) for j in range(1, n)] + [(i, 0) for i in range(1, n)]
    if kind == "chain":
        return [(i + 1, i) for i in range(n - 1)]
    if kind == "dense":
        return [(i, j) for i in range(n) for j in range(n) if i != j]
    return [(int(i), int(j)) for i, j in np.argwhere(rng.random((n, n)) < 0.2) if i != j]


@pytest.mark.parametrize("kind", ["hub", "chain", "dense", "random", "none"])
@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_against_dense_algebra(kind, n):
    rng = np.random.default_rng(n)
    found = [] if kind == "none" else entries_of(kind, n, rng)
    row, column = np.array(found, dtype=int).reshape(-1, 2).T
    values, x = rng.normal(size=(len(found), 3)), rng.normal(size=(n, 3))
    dense = np.zeros((n, n, 3))
    dense[row, column] = values
    rows = plan_rows(n, row, column)
    ours = rows.multiply(rows.lay_out(jnp.asarray(values)), jnp.asarray(x))
    np.testing.assert_allclose(ours, np.einsum("ijk,jk->ik", dense, x), atol=1e-13)


def test_more_axes_and_one_layout_for_many_products():
    rng = np.random.default_rng(0)
    row, column = np.array(entries_of("hub", 9, rng)).T
    rows, values = plan_rows(9, row, column), rng.normal(size=(16, 1, 4))
    laid = rows.lay_out(jnp.asarray(values))
    dense = np.zeros((9, 9, 1, 4))
    dense[row, column] = values
    for seed in (1, 2):
        x = np.random.default_rng(seed).normal(size=(9, 2, 4))
        expected = np.einsum("ijmk,jmk->imk", np.broadcast_to(dense, (9, 9, 2, 4)), x)
        np.testing.assert_allclose(rows.multiply(laid, jnp.asarray(x)), expected, atol=1e-13)


def test_a_heavy_row_does_not_widen_the_light_ones():
    row, column = np.array(entries_of("hub", 30, None)).T
    rows = plan_rows(30, row, column)
    assert rows.light.shape == (1, 30)
    assert rows.heavy_row.tolist() == [0]


def test_neither_the_product_nor_its_reverse_scatters_by_entry():
    """What the layout is for: only the few heavy rows are added by index."""
    row, column = np.array(entries_of("chain", 30, None)).T
    rows = plan_rows(30, row, column)
    program = jax.make_jaxpr(lambda v, x: rows.multiply(rows.lay_out(v), x))(jnp.zeros(29), jnp.zeros(30))
    assert "scatter" not in str(program)
