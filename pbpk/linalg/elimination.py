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

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pbpk.linalg.sparse import SparseRows, plan_rows


@dataclass(frozen=True, eq=False)
class EliminationLevel:
    """Pivots eliminated together, with L's entries below them and U's to their right.

    Vectors are in elimination order and nonzeros are packed level by level, so that `pivot`, `diagonal`, `lower` and
    `upper` are slices. `lower_place` says whose entry each of `lower` is, `lower_row` its row, and likewise for `upper`;
    `below` and `right` (pivots, width) list each pivot's own lower and upper entries, padded by the packed zero, and
    `right_column` the latter's columns.
    `update` has the off-diagonal entries changed, then the excess of each column of `upper`.
    """

    pivot: slice
    diagonal: slice
    lower: slice
    upper: slice
    lower_place: np.ndarray
    lower_row: np.ndarray
    upper_place: np.ndarray
    upper_column: np.ndarray
    below: np.ndarray
    right: np.ndarray
    right_column: np.ndarray
    update: np.ndarray
    update_lower: np.ndarray
    update_upper: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LevelFactors:
    """U as packed nonzeros and a zero, and level by level the inverses of its diagonal and the entries of the unit L."""

    upper: jax.Array
    inverse: tuple[jax.Array, ...]
    lower: tuple[jax.Array, ...]


@dataclass(frozen=True, eq=False)
class Elimination:
    """The plan for one sparsity. `position[i, j]` is where entry (i, j) is packed, fill included; the packed "diagonal"
    holds column sums (the excess) instead of diagonal entries. `order` lists the nodes as they are eliminated."""

    size: int
    order: np.ndarray
    entries: frozenset[tuple[int, int]]
    position: dict[tuple[int, int], int]
    levels: tuple[EliminationLevel, ...]

    @property
    def nonzeros(self) -> int:
        """How many entries are packed, fill included."""
        return len(self.position)

    @property
    def steps(self) -> int:
        """Multiply–subtracts of one factorisation: the figure dense elimination's n³/3 compares with."""
        return sum(len(level.update) for level in self.levels)

    def factor(self, values: jax.Array) -> LevelFactors:
        """From the packed nonzeros (nonzeros, ...). One scatter a level: scatters are what costs, to compile and to run."""
        values = jnp.concatenate([values, jnp.zeros_like(values[:1])])
        inverse, lower = [], []
        for level in self.levels:
            excess = values[level.diagonal]
            inverse.append(1 / (excess - values[level.below].sum(axis=1)))
            lower.append(values[level.lower] * inverse[-1][level.lower_place])
            if len(level.update):
                off_diagonal = lower[-1][level.update_lower] * values[level.update_upper]
                passed_on = (excess * inverse[-1])[level.upper_place] * values[level.upper]
                values = values.at[level.update].add(-jnp.concatenate([off_diagonal, passed_on]))
        return LevelFactors(values, tuple(inverse), tuple(lower))

    def solve(self, factors: LevelFactors, rhs: jax.Array) -> jax.Array:
        """x with M x = rhs, both (n, ...)."""
        x = rhs[self.order]
        for level, lower in zip(self.levels, factors.lower, strict=True):
            if len(level.lower_row):
                x = x.at[level.lower_row].add(-lower * x[level.pivot][level.lower_place])
        for level, inverse in zip(reversed(self.levels), reversed(factors.inverse), strict=True):
            known = (factors.upper[level.right] * x[level.right_column]).sum(axis=1)
            x = x.at[level.pivot].set((x[level.pivot] - known) * inverse)
        return x[np.argsort(self.order)]

    def solve_transposed(self, factors: LevelFactors, rhs: jax.Array) -> jax.Array:
        """x with Mᵀ x = rhs, both (n, ...): what adjoints need, by the same factors."""
        x = rhs[self.order]
        for level, inverse in zip(self.levels, factors.inverse, strict=True):
            x = x.at[level.pivot].multiply(inverse)
            if len(level.upper_column):
                x = x.at[level.upper_column].add(-factors.upper[level.upper] * x[level.pivot][level.upper_place])
        for level, lower in zip(reversed(self.levels), reversed(factors.lower), strict=True):
            if len(level.lower_row):
                x = x.at[level.pivot.start + level.lower_place].add(-lower * x[level.lower_row])
        return x[np.argsort(self.order)]

    def solver(self, values: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """rhs ↦ M⁻¹ rhs, factored once, with derivatives of any order in `values` and `rhs`.

        The rules are M dx = db − dM x and, backwards, Mᵀ λ = x̄: one more solve on the same factors each. Nothing is
        differentiated through the elimination itself, which would cost several times as much.
        """
        # The barrier keeps XLA from computing the factors again inside each loop that solves with them.
        factors = lax.optimization_barrier(self.factor(lax.stop_gradient(values)))
        product = self.product(values)
        return lambda rhs: lax.custom_linear_solve(
            product,
            rhs,
            lambda _, b: self.solve(factors, b),
            lambda _, b: self.solve_transposed(factors, b),
        )

    def transposed_solver(self, values: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """rhs ↦ M⁻ᵀ rhs, without derivatives."""
        factors = lax.optimization_barrier(self.factor(values))
        return lambda rhs: self.solve_transposed(factors, rhs)

    def product(self, values: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """x ↦ M x, for many x."""
        place, column = self._arrows
        moved = values[place]
        laid = self._rows.lay_out(moved)
        diagonal = values[self.diagonal]
        diagonal = diagonal.at[column].add(-moved) if len(place) else diagonal
        return lambda x: diagonal * x + self._rows.multiply(laid, x)

    def shifted(self, values: jax.Array, by: jax.Array | np.ndarray | float) -> jax.Array:
        """M + by·I, packed."""
        is_diagonal = np.zeros(self.nonzeros)
        is_diagonal[self.diagonal] = 1.0
        return values + is_diagonal.astype(values.real.dtype).reshape(-1, *([1] * (values.ndim - 1))) * by

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Where each node's excess is packed."""
        return np.array([self.position[i, i] for i in range(self.size)], dtype=int)

    def transposed_product(self, values: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """x ↦ Mᵀ x, for many x: Σᵢ Mᵢⱼ(xᵢ − xⱼ) and the excess's own part."""
        place, column = self._arrows
        laid, diagonal = self._columns.lay_out(values[place]), values[self.diagonal]
        diagonal = diagonal.at[column].add(-values[place]) if len(place) else diagonal
        return lambda x: diagonal * x + self._columns.multiply(laid, x)

    @cached_property
    def column(self) -> np.ndarray:
        """The column of every packed entry."""
        return np.array([j for _, j in self.position], dtype=int)

    def differences(self, x: jax.Array) -> jax.Array:
        """xᵢ − xⱼ for the packed entries (i, j), and xⱼ for the diagonal's: what an entry of M does to x'(M·), since
        an arrow's entry also lowers its column's diagonal."""
        row = np.array([i for i, _ in self.position], dtype=int)
        column = (row == self.column).reshape(-1, *([1] * (x.ndim - 1)))
        return jnp.where(column, x[row], x[row] - x[self.column])

    @cached_property
    def _arrows(self) -> tuple[np.ndarray, np.ndarray]:
        """Off-diagonal entries, those of fill left out: where packed, and their columns."""
        entries = sorted((i, j) for i, j in self.entries if i != j)
        return np.array([self.position[e] for e in entries], dtype=int), np.array([j for _, j in entries], dtype=int)

    @cached_property
    def _rows(self) -> SparseRows:
        row = np.array(sorted((i, j) for i, j in self.entries if i != j), dtype=int).reshape(-1, 2)[:, 0]
        return plan_rows(self.size, row, self._arrows[1])

    @cached_property
    def _columns(self) -> SparseRows:
        row = np.array(sorted((i, j) for i, j in self.entries if i != j), dtype=int).reshape(-1, 2)[:, 0]
        return plan_rows(self.size, self._arrows[1], row)

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
        stage = _find_independent(neighbours, remaining)
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

    order = [v for stage in stages for v in stage]
    place = {v: i for i, v in enumerate(order)}
    position: dict[tuple[int, int], int] = {}
    parts = []  # per level: the entries of its diagonal, below it and to its right, packed one after another
    for stage in stages:
        later = order[place[stage[-1]] + 1 :]
        below = [(r, v) for v in stage for r in later if (r, v) in filled]
        right = [(v, c) for v in stage for c in later if (v, c) in filled]
        parts.append((stage, below, right))
        for entry in (*((v, v) for v in stage), *below, *right):
            position[entry] = len(position)
    levels = tuple(_build_level(stage, below, right, position, place) for stage, below, right in parts)
    return Elimination(size, np.array(order), frozenset(entries), position, levels)


def _find_independent(neighbours: dict[int, set[int]], remaining: set[int]) -> list[int]:
    """Nodes of least degree, none beside another.

    A chain has two nodes of degree 1 at a time: taken from its ends it would need n/2 levels, and compile as slowly.
    Where so few can go together, nodes of degree 2 go too: every other link at once, log n levels for a little fill.
    """
    degree = max(min(len(neighbours[v]) for v in remaining), 1)
    chosen = _are_apart(neighbours, remaining, degree)
    return chosen if 8 * len(chosen) >= len(remaining) else _are_apart(neighbours, remaining, max(degree, 2))


def _are_apart(neighbours: dict[int, set[int]], remaining: set[int], degree: int) -> list[int]:
    chosen, barred = [], set()
    for v in sorted(remaining):
        if len(neighbours[v]) <= degree and v not in barred:
            chosen.append(v)
            barred |= neighbours[v]
    return chosen


def _build_level(
    stage: list[int],
    below: list[tuple[int, int]],
    right: list[tuple[int, int]],
    position: dict[tuple[int, int], int],
    place: dict[int, int],
) -> EliminationLevel:
    first = {v: i for i, v in enumerate(stage)}
    start, begin = place[stage[0]], position[stage[0], stage[0]]
    middle, end = begin + len(stage) + len(below), begin + len(stage) + len(below) + len(right)
    updates = [
        (position[r, c], i, position[v, c]) for i, (r, v) in enumerate(below) for w, c in right if w == v and r != c
    ]

    def array(items) -> np.ndarray:
        return np.array(list(items), dtype=int)

    def padded(rows: list[list[int]], filler: int) -> np.ndarray:
        width = max(len(r) for r in rows)
        return np.array([r + [filler] * (width - len(r)) for r in rows], dtype=int).reshape(len(rows), width)

    return EliminationLevel(
        pivot=slice(start, start + len(stage)),
        diagonal=slice(begin, begin + len(stage)),
        lower=slice(begin + len(stage), middle),
        upper=slice(middle, end),
        lower_place=array(first[v] for _, v in below),
        lower_row=array(place[r] for r, _ in below),
        upper_place=array(first[v] for v, _ in right),
        upper_column=array(place[c] for _, c in right),
        below=padded([[position[r, v] for r, w in below if w == v] for v in stage], len(position)),
        right=padded([[position[v, c] for w, c in right if w == v] for v in stage], len(position)),
        right_column=padded([[place[c] for w, c in right if w == v] for v in stage], 0),
        update=array([*(u for u, _, _ in updates), *(position[c, c] for _, c in right)]),
        update_lower=array(low for _, low, _ in updates),
        update_upper=array(up for _, _, up in updates),
    )
