"""The product of a sparse matrix with vectors, by rows, without a scatter for each entry.

Most rows of a body's matrix have one to three entries beside the diagonal; blood has twenty. Rows are read as a few
padded gathers (the ELLPACK form), and the few heavy rows as one sum each. Scatters would take four times as long on a
CPU; and since the entries are laid out beforehand, the reverse of the product needs none either.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Entries (K,) at (row, column), diagonal left out. `light` and `heavy` say which entry stands where; K: none."""

    size: int
    light: np.ndarray  # (width, n)
    light_column: np.ndarray
    heavy_row: np.ndarray  # (heavy,)
    heavy: np.ndarray  # (heavy, most)
    heavy_column: np.ndarray

    def lay_out(self, entries: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Entries (K, ...) in the two forms, once for many products."""
        padded = jnp.concatenate([entries, jnp.zeros_like(entries[:1])])
        return padded[self.light], padded[self.heavy]

    def multiply(self, laid: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        """Σⱼ entry(i, j)·xⱼ, (n, ...)."""
        light, heavy = laid
        out = sum((light[k] * x[column] for k, column in enumerate(self.light_column)), jnp.zeros_like(x))
        if len(self.heavy_row):
            out = out.at[self.heavy_row].add((heavy * x[self.heavy_column]).sum(axis=1))
        return out


def plan_rows(size: int, row: np.ndarray, column: np.ndarray) -> SparseRows:
    """The layout of a matrix with entries at (row, column): few padded gathers, and sums for heavy rows."""
    count = np.bincount(row, minlength=size)
    width = int(np.sort(count)[max(size - 1 - max(1, size // 12), 0)])  # all but the heaviest twelfth fit
    entry, outside = np.arange(len(row)), len(row)
    light, light_column = np.full((width, size), outside), np.tile(np.arange(size), (width, 1))
    heavy_row = np.flatnonzero(count > width)
    heavy = np.full((len(heavy_row), int(count.max(initial=0))), outside)
    heavy_column = np.zeros_like(heavy)
    for i in range(size):
        in_row = entry[row == i]
        if count[i] <= width:
            light[: len(in_row), i], light_column[: len(in_row), i] = in_row, column[in_row]
        else:
            k = int(np.flatnonzero(heavy_row == i)[0])
            heavy[k, : len(in_row)], heavy_column[k, : len(in_row)] = in_row, column[in_row]
    return SparseRows(size, light, light_column, heavy_row, heavy, heavy_column)
