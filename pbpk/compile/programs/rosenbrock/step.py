"""One Rosenbrock step of a vector of patients, as a chain of stages (pbpk.linalg.stage_chain): each is the one before, what the
laws have beyond their tangents, and one solution. `pbpk.solve.stage` takes the same step on arrays as the tableau has it.

Stages are a loop, and so are their sums over the stages before, which only the amounts that laws read and the laws need:
only the laws and the elimination are straight-line code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pbpk.compile.backend.functions import total
from pbpk.compile.programs.elimination import PivotFactors, solve_factored
from pbpk.linalg.stage_chain import chain_of

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
    from pbpk.compile.programs.rosenbrock.right_hand_side import RightHandSide
    from pbpk.linalg.tableau import Tableau

_UNROLLED = 8


def step_weights(tableau: Tableau) -> np.ndarray:
    """What a step's loops read, in rows: `moved` and `bent` of each stage, what each adds to the result and to the integral."""
    chain = chain_of(tableau)
    return np.concatenate([chain.moved.ravel(), chain.bent.ravel(), chain.result, chain.gained])


class RosenbrockStep:
    """From `base` on, `room` is x and the stages w, (stages + 1, n); it has place for `records` steps and what is after them,
    or without records for one whose stages nobody asks for. `read` are the states that laws read, `slopes` the laws' in each of
    theirs where the step began. After `take`, `after` and `error` are (n), and `gained`, whose product with the step's length
    is the integral of the amounts."""

    def __init__(
        self, m: Machine, flow: RightHandSide, tableau: Tableau, table: Buffer, registers: int, integrals: bool, records: int = 0
    ):
        self.machine, self.flow, self.table = m, flow, table
        self.chain = chain = chain_of(tableau)
        self.size, self.stages, self.sums_at_once = flow.layout.size, self.chain.stages, max(registers // 2, 1)
        self.scratch = m.scratch((self.stages + 1) * self.size * (records + 1))
        self.base: Index = 0
        curves = flow.layout.nonlinear
        self.read_states = sorted({k for c in curves for k in c.states})
        used = chain.fresh == 1 or chain.result[0] or chain.error[0] or chain.gained[0]
        self.first_stage_rows = range(self.size) if used or records else self.read_states
        self.slopes = m.scratch(sum(len(c.states) for c in curves))
        self.levels = m.scratch(len(flow.arguments))
        self.start_slope, self.rates = m.scratch(self.size), m.scratch(len(curves))
        self.nonlinear_terms = m.scratch(self.stages * len(curves))
        self.after, self.error = m.scratch(self.size), m.scratch(self.size)
        self.gained = m.scratch(self.size) if integrals else None

    def read_state(self) -> list[Operand]:
        return [self.machine.get(self.scratch, self.base + k) for k in range(self.size)]

    def stage_slot(self, i: Index) -> Index:
        """Where w of stage i stands in the room."""
        return self.base + i * self.size + self.size

    def factor(self, x: list[Operand], h: Operand) -> tuple[PivotFactors, list[Operand]]:
        """Of the step's equations, and the laws' rates at x."""
        m = self.machine
        levels = self.flow.read_levels(x)
        for k, a in enumerate(self.flow.arguments):
            m.put(self.levels, k, levels[a])
        rates, slopes = self.flow.tangents(levels)
        for at, slope in enumerate(s for own in slopes for s in own):
            m.put(self.slopes, at, slope)
        return self.flow.factor_step_matrix(slopes, self.chain.gamma * h), rates

    def take(self, h: Operand, with_error: bool = True) -> None:
        """From x to what is after it."""
        m, n, gh, fresh = self.machine, self.size, self.chain.gamma * h, self.chain.fresh
        x = self.read_state()
        factors, rates = self.factor(x, h)
        for k, rate in enumerate(rates):
            m.put(self.rates, k, rate)
        slopes = [gh * f for f in self.flow(x, rates)]
        for k, f in enumerate(slopes if fresh > 1 else []):
            m.put(self.start_slope, k, f)
        found = solve_factored(m, factors, slopes, self.first_stage_rows)
        for k in self.first_stage_rows:
            m.put(self.scratch, self.stage_slot(0) + k, found[k])
        for i in range(1, fresh):
            added = self._add_nonlinear(i, gh)
            self._store_stage(i, solve_factored(m, factors, [self._added_to(added, j, m.get(self.start_slope, j)) for j in range(n)]))

        def onward(k: Index) -> list[Operand]:
            i = k + fresh
            added = self._add_nonlinear(i, gh)
            last = [m.get(self.scratch, self.stage_slot(i) + (j - n)) for j in range(n)]
            found = solve_factored(m, factors, [self._added_to(added, j, w) for j, w in enumerate(last)])
            self._store_stage(i, [q - m.get(self.scratch, self.stage_slot(i) + (j - n)) for j, q in enumerate(found)])
            return []

        m.loop(self.stages - fresh, onward)
        for_each(m, n, lambda k: self._write_results(k, with_error))

    @staticmethod
    def _added_to(added: dict[int, Operand], row: int, value: Operand) -> Operand:
        return value + added[row] if row in added else value

    def _store_stage(self, i: Index, found: list[Operand]) -> None:
        for k, w in enumerate(found):
            self.machine.put(self.scratch, self.stage_slot(i) + k, w)

    def _add_nonlinear(self, i: Index, gh: Operand) -> dict[int, Operand]:
        """What the laws have beyond their tangents, there and in the stages before, adds to what stage i solves for."""
        m, curves, count = self.machine, self.flow.layout.nonlinear, self.stages
        moved = self.state_increments(i)
        before: list[Operand] = []
        for own in split_evenly(range(len(curves)), self.sums_at_once):
            before += self.sum_stages(i, lambda j: self.nonlinear_weight(i, j), lambda j, k: m.get(self.nonlinear_terms, j + k * count), own, 1)
        beyond, weight = self._beyond_tangents(moved), self.nonlinear_weight(i, i)
        for k, own in enumerate(beyond):
            m.put(self.nonlinear_terms, i + k * count, own)
        added = self.flow.distribute([weight * own + rest for own, rest in zip(beyond, before, strict=True)])
        return {row: gh * total(parts) for row, parts in added.items()}

    def state_increments(self, i: Index) -> dict[int, Operand]:
        """What stage i's amounts are more than x, those that laws read."""
        m = self.machine
        found: list[Operand] = []
        for own in split_evenly(self.read_states, self.sums_at_once):
            found += self.sum_stages(i, lambda j: self.state_weight(i, j), lambda j, k: m.get(self.scratch, self.stage_slot(j) + k), own)
        return dict(zip(self.read_states, found, strict=True))

    def sum_stages(
        self,
        until: Index,
        weight: Callable[[Index], Operand],
        value: Callable[[Index, int], Operand],
        own: Sequence[int],
        first: int = 0,
    ) -> list[Operand]:
        """Of each, over stages from `first` and before `until`: Σ weight · value."""
        begin: list[Operand] = [0.0] * len(own)
        if isinstance(until, int):
            for j in range(first, until):
                by = weight(j)
                if not isinstance(by, float) or by:
                    begin = [by * value(j, k) + s for k, s in zip(own, begin, strict=True)]
            return begin

        def one(j: Index, *so_far: Operand) -> list[Operand]:
            by = weight(j + first)
            return [by * value(j + first, k) + s for k, s in zip(own, so_far, strict=True)]

        return self.machine.repeat(until + -first, one, begin)[1]

    def _beyond_tangents(self, moved: dict[int, Operand]) -> list[Operand]:
        """Of each law: its rate at the stage's amounts less that on its tangent."""
        m, flow = self.machine, self.flow
        by = flow.read_levels(moved)
        there = {a: m.get(self.levels, k) + by[a] for k, a in enumerate(flow.arguments)}
        found, at = [], 0
        for k, (c, rate) in enumerate(zip(flow.layout.nonlinear, flow.rates(there), strict=True)):
            straight = m.get(self.rates, k)
            for a in c.arguments:
                if a.state is not None:
                    straight = m.get(self.slopes, at) * by[a] + straight
                    at += 1
            found.append(rate - straight)
        return found

    def nonlinear_weight(self, i: Index, j: Index) -> Operand:
        if isinstance(i, int) and isinstance(j, int):
            return float(self.chain.bent[i, j])
        return self.machine.read(self.table, i * self.stages + j + self.stages**2)

    def state_weight(self, i: Index, j: Index) -> Operand:
        if isinstance(i, int) and isinstance(j, int):
            return float(self.chain.moved[i, j])
        return self.machine.read(self.table, i * self.stages + j)

    def result_weight(self, i: Index) -> Operand:
        return self.machine.read(self.table, i + 2 * self.stages**2)

    def integral_weight(self, i: Index) -> Operand:
        return self.machine.read(self.table, i + (2 * self.stages**2 + self.stages))

    def _write_results(self, k: Index, with_error: bool) -> None:
        m, chain = self.machine, self.chain
        x, w = m.get(self.scratch, self.base + k), [m.get(self.scratch, self.stage_slot(i) + k) for i in range(self.stages)]
        m.put(self.after, k, weighted_sum(chain.result, w) + x)
        if with_error:
            m.put(self.error, k, weighted_sum(chain.error, [m.fixed(one) for one in w]))
        if self.gained is not None:
            m.put(self.gained, k, weighted_sum(chain.gained, w) + x)


def weighted_sum(by: np.ndarray, values: Sequence[Operand]) -> Operand:
    """Σ by · values, of numbers that are the same for all."""
    found: Operand = 0.0
    for weight, value in zip(by, values, strict=True):
        if weight:
            found = float(weight) * value + found
    return found


def split_evenly(items: Sequence, most: int) -> Iterable[Sequence]:
    """As few parts as there must be, and as even."""
    parts = -(-len(items) // most)
    for p in range(parts):
        yield items[p * len(items) // parts : (p + 1) * len(items) // parts]


def for_each(m: Machine, count: int, do: Callable[[Index], None]) -> None:
    """`do(k)` for all k, as a loop, a few at a time."""

    def some(first: Index, width: int) -> None:
        for k in range(width):
            do(first + k)

    for_blocks(m, count, some)


def for_blocks(m: Machine, count: int, do: Callable[[Index, int], None]) -> None:
    """`do(first, width)` for all, a few at a time."""
    whole, rest = divmod(count, _UNROLLED)
    if whole:
        m.loop(whole, lambda t: do(t * _UNROLLED, _UNROLLED) or [])
    if rest:
        do(whole * _UNROLLED, rest)


def dot_product(pairs: Iterable[tuple[Operand, Operand]], chains: int = 4) -> Operand:
    """Σ a·b, some sums side by side, so that none waits long."""
    sums: list[Operand] = [0.0] * chains
    for k, (a, b) in enumerate(pairs):
        sums[k % chains] = a * b + sums[k % chains]
    return (sums[0] + sums[1]) + sum(sums[2:])
