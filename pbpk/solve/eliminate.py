"""Symbolic sparse elimination: the arrows give the sparsity, so the pivot order and the fill are found once.

A compartment model's matrix is nearly an arrowhead: 24 compartments have some 70 nonzeros and 50 elimination steps,
where dense algebra does a hundred times more. Pivots that do not touch one another form a *level* and are eliminated
together as gathers and scatters, so the traced program grows with the number of levels (a few, or log n for a chain),
not with the number of compartments.

No pivoting: M = zI − A has a dominant diagonal by columns wherever the contour's z is right of the spectrum, and the
off-axis shift keeps the pivots away from zero elsewhere.

Order: multiple minimum degree (Liu 1985, ACM TOMS 11:141).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True, eq=False)
class Level:
    """Pivots eliminated together. Positions index the packed nonzeros; `*_row`/`*_column` index the vector."""

    pivot: np.ndarray
    diagonal: np.ndarray
    lower: np.ndarray
    lower_row: np.ndarray
    lower_column: np.ndarray
    lower_diagonal: np.ndarray
    upper: np.ndarray
    upper_row: np.ndarray
    upper_column: np.ndarray
    update: np.ndarray
    update_lower: np.ndarray
    update_upper: np.ndarray


@dataclass(frozen=True, eq=False)
class Elimination:
    """The plan for one sparsity. `position[i, j]` is where entry (i, j) is packed; fill included."""

    size: int
    position: dict[tuple[int, int], int]
    levels: tuple[Level, ...]

    @property
    def nonzeros(self) -> int:
        return len(self.position)

    @property
    def steps(self) -> int:
        """Multiply–subtracts of one factorisation: the figure dense elimination's n³/3 compares with."""
        return sum(len(level.update) for level in self.levels)

    def factor(self, values: jax.Array) -> jax.Array:
        """Packed nonzeros (nonzeros, ...) to packed factors: unit L, U, with the pivots' inverses on the diagonal."""
        for level in self.levels:
            values = values.at[level.diagonal].set(1 / values[level.diagonal])
            if len(level.lower):
                values = values.at[level.lower].multiply(values[level.lower_diagonal], unique_indices=True)
            if len(level.update):
                values = values.at[level.update].add(-values[level.update_lower] * values[level.update_upper])
        return values

    def solve(self, factors: jax.Array, rhs: jax.Array) -> jax.Array:
        """x with M x = rhs, both (n, ...)."""
        x = rhs
        for level in self.levels:
            if len(level.lower):
                x = x.at[level.lower_row].add(-factors[level.lower] * x[level.lower_column])
        for level in reversed(self.levels):
            if len(level.upper):
                x = x.at[level.upper_row].add(-factors[level.upper] * x[level.upper_column])
            x = x.at[level.pivot].multiply(factors[level.diagonal], unique_indices=True)
        return x

    def pack(self, dense: np.ndarray) -> jax.Array:
        """The packed form of a dense matrix (for tests and small use)."""
        values = np.zeros((self.nonzeros, *dense.shape[2:]), dense.dtype)
        for (i, j), k in self.position.items():
            values[k] = dense[i, j]
        return jnp.asarray(values)


def plan_elimination(size: int, entries: set[tuple[int, int]]) -> Elimination:
    """Find the order and the fill for a matrix with nonzeros at `entries` (the diagonal is added)."""
    filled = set(entries) | {(i, i) for i in range(size)}
    neighbours = {i: {j for a, b in entries if i in (a, b) for j in (a, b)} - {i} for i in range(size)}
    remaining, stages = set(range(size)), []
    while remaining:
        stage = _independent(neighbours, remaining)
        remaining -= set(stage)
        for v in stage:
            around = neighbours.pop(v)
            for u in around:
                neighbours[u] |= around
                neighbours[u] -= {u, v}
            rows = [r for r in around if (r, v) in filled]
            columns = [c for c in around if (v, c) in filled]
            filled |= {(r, c) for r in rows for c in columns}
        stages.append(stage)

    position = {entry: k for k, entry in enumerate(sorted(filled))}
    later, levels = set(range(size)), []
    for stage in stages:
        later -= set(stage)
        levels.append(_level(stage, later, position))
    return Elimination(size, position, tuple(levels))


def _independent(neighbours: dict[int, set[int]], remaining: set[int]) -> list[int]:
    """Nodes of least degree, none beside another.

    A chain has two nodes of degree 1 at a time: taken from its ends it would need n/2 levels, and compile as slowly.
    Where so few can go together, nodes of degree 2 go too: every other link at once, log n levels for a little fill.
    """
    degree = max(min(len(neighbours[v]) for v in remaining), 1)
    chosen = _apart(neighbours, remaining, degree)
    return chosen if 8 * len(chosen) >= len(remaining) else _apart(neighbours, remaining, max(degree, 2))


def _apart(neighbours: dict[int, set[int]], remaining: set[int], degree: int) -> list[int]:
    chosen, barred = [], set()
    for v in sorted(remaining):
        if len(neighbours[v]) <= degree and v not in barred:
            chosen.append(v)
            barred |= neighbours[v]
    return chosen


def _level(stage: list[int], later: set[int], position: dict[tuple[int, int], int]) -> Level:
    below = [(r, v) for r, v in position if v in stage and r in later]
    right = [(v, c) for v, c in position if v in stage and c in later]
    updates = [(position[r, c], position[r, v], position[v, c]) for r, v in below for w, c in right if w == v]

    def array(items) -> np.ndarray:
        return np.array(list(items), dtype=int)

    return Level(
        array(stage),
        array(position[v, v] for v in stage),
        array(position[e] for e in below),
        array(r for r, _ in below),
        array(v for _, v in below),
        array(position[v, v] for _, v in below),
        array(position[e] for e in right),
        array(v for v, _ in right),
        array(c for _, c in right),
        array(u for u, _, _ in updates),
        array(low for _, low, _ in updates),
        array(up for _, _, up in updates),
    )
