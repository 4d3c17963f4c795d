"""Sparse elimination on operands, in the order that pbpk.linalg.elimination found, as straight-line arithmetic.

The matrix is I − gA of a body: off the diagonal −a, a ≥ 0. The diagonal is not stored: a column's pivot is its excess (what
the column sums to) and the sum of its a's. So elimination only adds numbers of one sign (see docs/numerics.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.base import Backend, Operand
from pbpk.compile.backend.functions import invert_together, sum_operands

if TYPE_CHECKING:
    from pbpk.linalg.elimination import Elimination

Entry = tuple[int, int]
ColumnValues = Mapping[int, Operand] | Sequence[Operand]
"""One operand of each column."""
_PARALLEL_SUMS = 4  # sums side by side: what keeps a processor busy while one waits for the last


@dataclass(frozen=True)
class Pivot:
    """One node as it is eliminated: the rows below it and the columns to its right that are not zero."""

    node: int
    below: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True)
class PivotFactors:
    """The factors of a matrix: where in `scratch` the inverse pivots, and the entries of L and of U, are."""

    pivots: tuple[Pivot, ...]
    scratch: object
    inverse: dict[int, int]
    lower: dict[Entry, int]
    upper: dict[Entry, int]


def plan_pivots(elimination: Elimination) -> tuple[Pivot, ...]:
    """The pivots in the order of elimination, without the entries that fill reserves and nothing reaches."""
    order = [int(v) for v in elimination.order]
    place = {v: i for i, v in enumerate(order)}
    filled = {(i, j) for i, j in elimination.entries if i != j}
    pivots = []
    for v in order:
        below = tuple(r for r in order if place[r] > place[v] and (r, v) in filled)
        right = tuple(c for c in order if place[c] > place[v] and (v, c) in filled)
        filled |= {(r, c) for r in below for c in right if r != c}
        pivots.append(Pivot(v, below, right))
    return tuple(pivots)


@singledispatch
def factor_matrix(
    m: Backend, pivots: tuple[Pivot, ...], a: Mapping[Entry, Operand], excess: ColumnValues, pivots_at_once: int = 1
) -> PivotFactors:
    """Factorises the matrix with these a's off the diagonal, a[i, j] from j into i, and the columns' excess. Both are looked
    up where they are needed first: what waits for long in a register leaves no room.

    As many as `pivots_at_once` pivots that do not wait for one another are inverted by one division, as that takes as long as
    many products: two more roundings, and nothing near the ends of numbers."""
    a, excess = _Overlay(a), _Overlay(excess)
    size = sum(1 + len(p.below) + len(p.right) for p in pivots)
    scratch, used = m.scratch(size), 0
    inverse: dict[int, int] = {}
    lower: dict[Entry, int] = {}
    upper: dict[Entry, int] = {}

    def store(value: Operand) -> int:
        nonlocal used
        m.put(scratch, used, value)
        used += 1
        return used - 1

    def eliminate(p: Pivot, reciprocal: Operand) -> None:
        v = p.node
        inverse[v] = store(reciprocal)
        fractions = {r: a[r, v] * reciprocal for r in p.below}
        leaving = excess[v] * reciprocal
        for r, fraction in fractions.items():
            lower[r, v] = store(fraction)
        for c in p.right:
            upper[v, c] = store(a[v, c])
            if p.below:
                excess[c] = excess[c] + leaving * a[v, c]
            for r, fraction in fractions.items():
                if r != c:
                    filled = fraction * a[v, c]
                    a[r, c] = a[r, c] + filled if (r, c) in a else filled

    for level in _group_by_level(pivots):
        for p in level:
            if not p.below:  # all of its column is excess, and goes on whole: its inverse is not needed
                for c in p.right:
                    excess[c] = excess[c] + a[p.node, c]
        for first in range(0, len(level), pivots_at_once):
            group = level[first : first + pivots_at_once]
            reciprocals = invert_together([excess[p.node] + sum(a[r, p.node] for r in p.below) for p in group])
            for p, reciprocal in zip(group, reciprocals, strict=True):
                eliminate(p, reciprocal)
    return PivotFactors(pivots, scratch, inverse, lower, upper)


class _Overlay(dict):
    """A mapping that begins as another, whose values are looked up once, when they are first asked for."""

    def __init__(self, first: Mapping | Sequence):
        self.first = first

    def __missing__(self, key):
        self[key] = value = self.first[key]
        return value

    def __contains__(self, key) -> bool:
        return super().__contains__(key) or key in self.first


class ComputedMapping(Mapping):
    """A mapping whose values are computed each time they are looked up: nothing waits in a register in between."""

    def __init__(self, keys: Iterable, value: Callable[[Any], Operand]):
        self._keys, self._value = dict.fromkeys(keys), value

    def __getitem__(self, key) -> Operand:
        if key not in self._keys:
            raise KeyError(key)
        return self._value(key)

    def __contains__(self, key) -> bool:
        return key in self._keys

    def __iter__(self):
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _group_by_level(pivots: tuple[Pivot, ...]) -> list[list[Pivot]]:
    """The pivots in an order that serves as well, so that few divisions wait for one another: those that need no other's
    inverse, then those that need only theirs, and so on. A node with nothing below it hands on all of its column: its inverse
    is not waited for."""
    level: dict[int, int] = {}
    for p in pivots:
        depth = level.setdefault(p.node, 0)
        for v in (*p.below, *p.right):
            level[v] = max(level.get(v, 0), depth + bool(p.below))
    return [[p for p in pivots if level[p.node] == depth] for depth in range(max(level.values(), default=-1) + 1)]


@singledispatch
def solve_factored(
    m: Backend, factors: PivotFactors, rhs: list[Operand], only: Collection[int] | None = None
) -> list[Operand]:
    """x with (I − gA) x = rhs; or its rows `only`, others being anything."""
    x, scratch = list(rhs), factors.scratch
    needed = set(range(len(x)) if only is None else only)
    arriving: dict[int, list[tuple[int, int]]] = {}
    for p in factors.pivots:
        x[p.node] = _sum_products(m, scratch, x, x[p.node], arriving.get(p.node, []))
        for r in p.below:
            arriving.setdefault(r, []).append((factors.lower[r, p.node], p.node))
    for p in factors.pivots:
        needed |= set(p.right) if p.node in needed else set()
    for p in reversed(factors.pivots):
        if p.node not in needed:
            continue
        terms = [(factors.upper[p.node, c], c) for c in p.right]
        x[p.node] = _sum_products(m, scratch, x, x[p.node], terms) * m.get(scratch, factors.inverse[p.node])
    return x


@singledispatch
def solve_transposed(m: Backend, factors: PivotFactors, rhs: list[Operand]) -> list[Operand]:
    """x with (I − gA)ᵀ x = rhs, by the same factors."""
    x, scratch = list(rhs), factors.scratch
    arriving: dict[int, list[tuple[int, int]]] = {}
    for p in factors.pivots:
        numerator = _sum_products(m, scratch, x, x[p.node], arriving.get(p.node, []))
        x[p.node] = numerator * m.get(scratch, factors.inverse[p.node])
        for c in p.right:
            arriving.setdefault(c, []).append((factors.upper[p.node, c], p.node))
    for p in reversed(factors.pivots):
        x[p.node] = _sum_products(m, scratch, x, x[p.node], [(factors.lower[r, p.node], r) for r in p.below])
    return x


def _sum_products(
    m: Backend, scratch: object, x: list[Operand], first_term: Operand, terms: list[tuple[int, int]]
) -> Operand:
    """The first term + Σ factor · x; of each of the `terms`, the factor's slot and the node of x. Plasma exchanges with every
    organ: many products are added side by side, so that none waits long, and the first term is added last, as what may be
    waited for longest."""
    chains = min(_PARALLEL_SUMS, 1 + len(terms) // 4)
    parts: list[Operand] = [first_term] if chains == 1 else []
    for k, (slot, node) in enumerate(terms):
        product = m.get(scratch, slot) * x[node]
        if len(parts) < chains:
            parts.append(product)
        else:
            parts[k % len(parts)] = product + parts[k % len(parts)]
    return parts[0] if chains == 1 else sum_operands(parts) + first_term
