"""Sparse elimination on operands, in the order that pbpk.algebra.eliminate found, as straight-line arithmetic.

The matrix is I − gA of a body: off the diagonal −a, a ≥ 0, and a diagonal that is not stored: a column's pivot is its
excess (what the column sums to) and the sum of its a's. Kept so, elimination only adds (see docs/numerics.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from pbpk.algebra.eliminate import Elimination
from pbpk.kernel.functions import inverses
from pbpk.kernel.machine import Machine, Operand

Entry = tuple[int, int]
_CHAINS = 4  # sums side by side: what keeps a processor busy while one waits for the last


@dataclass(frozen=True)
class Pivot:
    """One node as it is eliminated: the rows below it and the columns to its right that are not zero."""

    node: int
    below: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True)
class Factors:
    """The factors in a machine's scratch room: where the inverse pivots, and the entries of L and of U, stand."""

    pivots: tuple[Pivot, ...]
    room: object
    inverse: dict[int, int]
    lower: dict[Entry, int]
    upper: dict[Entry, int]


def plan(elimination: Elimination) -> tuple[Pivot, ...]:
    """The pivots in order, without the entries that fill reserves and nothing reaches."""
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
def factor(
    m: Machine, pivots: tuple[Pivot, ...], a: dict[Entry, Operand], excess: list[Operand], together: int = 1
) -> Factors:
    """From the a's off the diagonal, a[i, j] from j into i, and the columns' excess. As many as `together` pivots that do
    not touch one another are inverted by one division: two more roundings, and nothing near the ends of numbers."""
    a, excess = dict(a), list(excess)
    size = sum(1 + len(p.below) + len(p.right) for p in pivots)
    room, used = m.scratch(size), 0
    inverse: dict[int, int] = {}
    lower: dict[Entry, int] = {}
    upper: dict[Entry, int] = {}

    def keep(value: Operand) -> int:
        nonlocal used
        m.put(room, used, value)
        used += 1
        return used - 1

    for group in _groups(pivots, together):
        reciprocals = inverses([excess[p.node] + sum(a[r, p.node] for r in p.below) for p in group])
        for p, reciprocal in zip(group, reciprocals, strict=True):
            v = p.node
            inverse[v] = keep(reciprocal)
            share = {r: a[r, v] * reciprocal for r in p.below}
            rest = excess[v] * reciprocal
            for r, part in share.items():
                lower[r, v] = keep(part)
            for c in p.right:
                upper[v, c] = keep(a[v, c])
                excess[c] = excess[c] + rest * a[v, c]
                for r, part in share.items():
                    if r != c:
                        more = part * a[v, c]
                        a[r, c] = a[r, c] + more if (r, c) in a else more
    return Factors(pivots, room, inverse, lower, upper)


def _groups(pivots: tuple[Pivot, ...], together: int) -> list[list[Pivot]]:
    """Neighbours in order, none of which is below or right of another."""
    groups: list[list[Pivot]] = []
    touched: set[int] = set()
    for p in pivots:
        if not groups or len(groups[-1]) == together or p.node in touched:
            groups.append([])
            touched = set()
        groups[-1].append(p)
        touched |= {*p.below, *p.right}
    return groups


@singledispatch
def solve(m: Machine, factors: Factors, rhs: list[Operand]) -> list[Operand]:
    """x with (I − gA) x = rhs."""
    x, room = list(rhs), factors.room
    arriving: dict[int, list[tuple[int, int]]] = {}
    for p in factors.pivots:
        x[p.node] = _sum(m, room, x, x[p.node], arriving.get(p.node, []))
        for r in p.below:
            arriving.setdefault(r, []).append((factors.lower[r, p.node], p.node))
    for p in reversed(factors.pivots):
        known = [(factors.upper[p.node, c], c) for c in p.right]
        x[p.node] = _sum(m, room, x, x[p.node], known) * m.get(room, factors.inverse[p.node])
    return x


@singledispatch
def solve_transposed(m: Machine, factors: Factors, rhs: list[Operand]) -> list[Operand]:
    """x with (I − gA)ᵀ x = rhs, by the same factors."""
    x, room = list(rhs), factors.room
    arriving: dict[int, list[tuple[int, int]]] = {}
    for p in factors.pivots:
        x[p.node] = _sum(m, room, x, x[p.node], arriving.get(p.node, [])) * m.get(room, factors.inverse[p.node])
        for c in p.right:
            arriving.setdefault(c, []).append((factors.upper[p.node, c], p.node))
    for p in reversed(factors.pivots):
        x[p.node] = _sum(m, room, x, x[p.node], [(factors.lower[r, p.node], r) for r in p.below])
    return x


def _sum(m: Machine, room: object, x: list[Operand], own: Operand, terms: list[tuple[int, int]]) -> Operand:
    """own + Σ factor · x. Plasma has an organ in every other term: many are added side by side, so that none waits long."""
    chains = min(_CHAINS, 1 + len(terms) // 4)
    parts: list[Operand] = [own]
    for k, (factor_, node) in enumerate(terms):
        product = m.get(room, factor_) * x[node]
        if k and len(parts) < chains:
            parts.append(product)
        else:
            parts[k % len(parts)] = product + parts[k % len(parts)]
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) // 2 * 2 :]
    return parts[0]
