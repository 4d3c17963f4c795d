"""One Rosenbrock step of a vector of patients (pbpk.algebra.rodas has the method, pbpk.solve.stage the same on arrays).

The stages are a loop, and so are their sums over the stages before, a tile of states at a time: only the right-hand side
and the elimination are straight-line code, written once.

Nothing depends on the integral of the amounts, so that its stages need not be kept: with

    vᵢ = γh (yᵢ + uᵢ) + γ Σ cᵢⱼvⱼ,     gain = Σ aₛⱼvⱼ + vₛ

it is γh Σ wᵢ (yᵢ + uᵢ), with numbers w that follow from the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pbpk.algebra.rodas import Tableau
from pbpk.kernel.arrows import Flow
from pbpk.kernel.eliminate import Factors, solve
from pbpk.kernel.machine import Buffer, Index, Machine, Operand

_AT_ONCE = 8


def weights(tableau: Tableau) -> np.ndarray:
    """Everything a step reads, in rows: a and γc of each stage, both preceded by those of the step's beginning, which are 1
    and 0; w; and what each stage adds to the result."""
    s = len(tableau.a)
    last = tableau.a[-1] + np.eye(s)[-1]
    a, c = np.hstack([np.ones((s, 1)), tableau.a]), np.hstack([np.zeros((s, 1)), tableau.gamma * tableau.c])
    w = np.linalg.solve((np.eye(s) - tableau.gamma * tableau.c).T, last)
    return np.concatenate([a.ravel(), c.ravel(), w, last])


class Step:
    """Room for a step: `room` is x and the stages u, (stages + 1, n); `y` where the last stage evaluates, `pushed` what
    earlier stages add to it, `gained` the integral's Σ wᵢ (yᵢ + uᵢ)."""

    def __init__(
        self, m: Machine, flow: Flow, tableau: Tableau, table: Buffer, tile: int, integrals: bool, room: Any = None
    ):
        self.machine, self.flow, self.tableau, self.table, self.tile = m, flow, tableau, table, tile
        self.size, self.stages = flow.arrows.size, len(tableau.a)
        self.room = m.scratch((self.stages + 1) * self.size) if room is None else room
        self.base: Index = 0  # where in the room
        self.y, self.pushed = m.scratch(self.size), m.scratch(self.size)
        self.gained = m.scratch(self.size) if integrals else None

    def state(self) -> list[Operand]:
        return [self.machine.get(self.room, self.base + k) for k in range(self.size)]

    def factor(self, h: Operand) -> Factors:
        """From x, the first row of the room."""
        return self.flow.factor(self.state(), self.tableau.gamma * h)

    def take(self, h: Operand) -> None:
        """From x to the stages."""
        m, factors = self.machine, self.factor(h)
        if self.gained is not None:
            each(m, self.size, lambda k: m.put(self.gained, k, 0.0))
        m.loop(self.stages, lambda i: self._stage(factors, self.tableau.gamma * h, i))

    def row(self, i: Index) -> Index:
        """Of the table, stage i's first."""
        return i * (self.stages + 1)

    @property
    def apart(self) -> int:
        """Rows of the table from a's to c's, and from there to w's."""
        return self.stages * (self.stages + 1)

    def weight(self, i: Index) -> Operand:
        """w of stage i."""
        return self.machine.read(self.table, i + 2 * self.apart)

    def last(self, i: Index) -> Operand:
        """Of stage i in the result."""
        return self.machine.read(self.table, i + (2 * self.apart + self.stages))

    def tiles(self, do: Callable[[Index, int], None]) -> None:
        """`do(start, width)` for all states, some together."""
        m, n = self.machine, self.size
        rest = n % self.tile
        if rest:  # first: stores right before much straight-line code are dear to compile
            do(0, rest)
        if n // self.tile:
            m.loop(n // self.tile, lambda t: do(t * self.tile + rest, self.tile) or [])

    def begin(self, i: Index) -> None:
        """y and pushed of stage i, from x and the stages before."""
        m, n = self.machine, self.size

        def some(start: Index, width: int) -> None:
            def one(j: Index, *so_far: Operand) -> list[Operand]:
                a, c = self.coefficients(i, j)
                new = []
                for k in range(width):
                    u = m.get(self.room, self.base + j * n + start + (n + k))
                    new += [a * u + so_far[2 * k], c * u + so_far[2 * k + 1]]
                return new

            first = [v for k in range(width) for v in (m.get(self.room, self.base + start + k), 0.0)]
            _, found = m.repeat(i, one, first)
            for k in range(width):
                m.put(self.y, start + k, found[2 * k])
                m.put(self.pushed, start + k, found[2 * k + 1])

        self.tiles(some)

    def coefficients(self, i: Index, j: Index) -> tuple[Operand, Operand]:
        """a and γc of stage j in stage i."""
        at = j + self.row(i) + 1
        return self.machine.read(self.table, at), self.machine.read(self.table, at + self.apart)

    def _stage(self, factors: Factors, gh: Operand, i: Index) -> list[Operand]:
        m, n = self.machine, self.size
        self.begin(i)
        slope = self.flow([m.get(self.y, k) for k in range(n)])
        new = solve(m, factors, [gh * f + m.get(self.pushed, k) for k, f in enumerate(slope)])
        for k, u in enumerate(new):
            m.put(self.room, self.base + i * n + (n + k), u)
        if self.gained is not None:
            w = self.weight(i)
            for k, u in enumerate(new):
                m.put(self.gained, k, w * (m.get(self.y, k) + u) + m.get(self.gained, k))
        return []

    def after(self, k: Index, *, fixed: bool = False) -> tuple[Operand, Operand]:
        """Amount after the step, and its estimated error."""
        get = self.machine.peek if fixed else self.machine.get
        error = get(self.room, self.base + k + self.stages * self.size)
        return get(self.y, k) + error, error


def each(m: Machine, count: int, do: Callable[[Index], None]) -> None:
    """`do(k)` for all k, as a loop, a few at a time."""
    whole = count // _AT_ONCE

    def some(t: Index) -> list[Operand]:
        for k in range(_AT_ONCE):
            do(t * _AT_ONCE + k)
        return []

    if whole:
        m.loop(whole, some)
    for k in range(whole * _AT_ONCE, count):
        do(k)


def product(pairs: Iterable[tuple[Operand, Operand]], chains: int = 4) -> Operand:
    """Σ a·b, some sums side by side, so that none waits long."""
    sums: list[Operand] = [0.0] * chains
    for k, (a, b) in enumerate(pairs):
        sums[k % chains] = a * b + sums[k % chains]
    return (sums[0] + sums[1]) + sum(sums[2:])
