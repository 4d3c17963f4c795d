"""Symbolic sparse elimination: the arrows give the sparsity, so the pivot order and the fill are found once.

A compartment model's matrix is nearly an arrowhead: 24 compartments have some 70 nonzeros and 50 elimination steps,
where dense algebra does a hundred times more. Pivots that do not touch one another form a *level* and are eliminated
together as gathers and scatters, so the traced program grows with the number of levels (a few, or log n for a chain),
not with the number of compartments.

No subtraction: a compartment's diagonal is what leaves it, the sum of its off-diagonal arrows and an excess (what leaves
the model, and the shift z). Carrying the excess instead of the diagonal, elimination only adds terms of one sign
(Grassmann, Taksar & Heyman 1985, Oper. Res. 33:1107; O'Cinneide 1993, Numer. Math. 65:109), so that mass is kept to
rounding however stiff the rates. Kept as differences of rates, pivots lost 1e-6 of it at rate × time = 1e8.

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
    """Pivots eliminated together, L's entries below them (k of them) and U's to their right.

    `diagonal`, `lower`, `upper` and `update` index the packed nonzeros; `pivot`, `*_row` and `*_column` the vector;
    `*_place` the level's own pivots; `update_lower` its own lower entries. `update` has the off-diagonal entries
    changed, then the excess of each column of `upper`.
    """

    pivot: np.ndarray
    diagonal: np.ndarray
    lower: np.ndarray
    lower_row: np.ndarray
    lower_column: np.ndarray
    lower_place: np.ndarray
    upper: np.ndarray
    upper_column: np.ndarray
    upper_place: np.ndarray
    update: np.ndarray
    update_lower: np.ndarray
    update_upper: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Factors:
    """U as packed nonzeros, and level by level the inverses of its diagonal and the entries of the unit L."""

    upper: jax.Array
    inverse: tuple[jax.Array, ...]
    lower: tuple[jax.Array, ...]


@dataclass(frozen=True, eq=False)
class Elimination:
    """The plan for one sparsity. `position[i, j]` is where entry (i, j) is packed, fill included; the packed "diagonal"
    holds column sums (the excess) instead of diagonal entries."""

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

    def factor(self, values: jax.Array) -> Factors:
        """From the packed nonzeros (nonzeros, ...). One scatter a level: scatters are what costs, to compile and to run."""
        inverse, lower = [], []
        for level in self.levels:
            excess, below = values[level.diagonal], values[level.lower]
            pivot = excess.at[level.lower_place].add(-below) if len(level.lower) else excess
            inverse.append(1 / pivot)
            lower.append(below * inverse[-1][level.lower_place])
            if len(level.update):
                across = values[level.upper]
                off_diagonal = lower[-1][level.update_lower] * values[level.update_upper]
                passed_on = (excess * inverse[-1])[level.upper_place] * across
                values = values.at[level.update].add(-jnp.concatenate([off_diagonal, passed_on]))
        return Factors(values, tuple(inverse), tuple(lower))

    def solve(self, factors: Factors, rhs: jax.Array) -> jax.Array:
        """x with M x = rhs, both (n, ...)."""
        x = rhs
        for level, lower in zip(self.levels, factors.lower, strict=True):
            if len(level.lower):
                x = x.at[level.lower_row].add(-lower * x[level.lower_column])
        for level, inverse in zip(reversed(self.levels), reversed(factors.inverse), strict=True):
            here = x[level.pivot]
            if len(level.upper):
                here = here.at[level.upper_place].add(-factors.upper[level.upper] * x[level.upper_column])
            x = x.at[level.pivot].set(here * inverse, unique_indices=True)
        return x

    def pack(self, dense: np.ndarray) -> jax.Array:
        """The packed form of a dense matrix (for tests and small use)."""
        values = np.zeros((self.nonzeros, *dense.shape[2:]), dense.dtype)
        for (i, j), k in self.position.items():
            values[k] = dense[i, j] if i != j else dense[:, j].sum(axis=0)
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
    place = {v: i for i, v in enumerate(stage)}
    below = [(r, v) for r, v in position if v in place and r in later]
    right = [(v, c) for v, c in position if v in place and c in later]
    updates = [
        (position[r, c], i, position[v, c]) for i, (r, v) in enumerate(below) for w, c in right if w == v and r != c
    ]

    def array(items) -> np.ndarray:
        return np.array(list(items), dtype=int)

    return Level(
        pivot=array(stage),
        diagonal=array(position[v, v] for v in stage),
        lower=array(position[e] for e in below),
        lower_row=array(r for r, _ in below),
        lower_column=array(v for _, v in below),
        lower_place=array(place[v] for _, v in below),
        upper=array(position[e] for e in right),
        upper_column=array(c for _, c in right),
        upper_place=array(place[v] for v, _ in right),
        update=array([*(u for u, _, _ in updates), *(position[c, c] for _, c in right)]),
        update_lower=array(low for _, low, _ in updates),
        update_upper=array(up for _, _, up in updates),
    )
