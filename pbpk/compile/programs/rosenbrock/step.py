"""One Rosenbrock step of a vector of patients, as a chain of stages (pbpk.linalg.stage_chain): each stage is the one before,
what the laws have beyond their tangents, and one solution. `pbpk.solve.rosenbrock_step` takes the same step on arrays, as the
tableau has it.

Stages are a loop, and so are their sums over the stages before, which only the amounts that laws read and the laws need:
only the laws and the elimination are straight-line code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pbpk.compile.backend.functions import sum_operands
from pbpk.compile.programs.elimination import PivotFactors, solve_factored
from pbpk.compile.programs.loops import for_each, split_evenly, weighted_sum
from pbpk.linalg.stage_chain import make_stage_chain

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
    from pbpk.compile.programs.rosenbrock.right_hand_side import RightHandSide
    from pbpk.linalg.tableau import RosenbrockTableau


def step_weights(tableau: RosenbrockTableau) -> np.ndarray:
    """The table that a step's loops read, for s stages: (s, s) weights of the stages before in a stage's amounts, (s, s) of
    the laws' nonlinear terms, then of each stage in the result (s) and in the integral (s)."""
    chain = make_stage_chain(tableau)
    return np.concatenate([chain.moved.ravel(), chain.bent.ravel(), chain.result, chain.gained])


class RosenbrockStep:
    """Takes steps. From `base` on, `scratch` holds x and the stages w, (stages + 1, n); it has place for `records` steps and
    what is after them, or without records for one whose stages nobody asks for.

    Also in scratch, of where the step began: `slopes`, the laws' slope in each state that they read, their `rates`, the
    `levels` of their arguments, and γh f (`start_slope`); and `nonlinear_terms` (laws, stages), what they have beyond their
    tangents. After `take`, `after` and `error` are (n), and `gained`, whose product with the step's length is the integral of
    the amounts. `read_states` are the states that laws read."""

    def __init__(
        self,
        m: Backend,
        rhs: RightHandSide,
        tableau: RosenbrockTableau,
        table: Buffer,
        registers: int,
        integrals: bool,
        records: int = 0,
    ):
        self.machine, self.rhs, self.table = m, rhs, table
        self.chain = chain = make_stage_chain(tableau)
        self.size, self.stages = rhs.layout.size, self.chain.stages
        self.sums_at_once = max(registers // 2, 1)  # half the registers, the others for what is added
        self.scratch = m.scratch((self.stages + 1) * self.size * (records + 1))
        self.base: Index = 0
        fluxes = rhs.layout.nonlinear
        self.read_states = sorted({k for c in fluxes for k in c.states})
        # Of the first stage, all rows where something needs them; else only those that laws read are solved for.
        all_used = chain.fresh == 1 or chain.result[0] or chain.error[0] or chain.gained[0]
        self.first_stage_rows = range(self.size) if all_used or records else self.read_states
        self.slopes = m.scratch(sum(len(c.states) for c in fluxes))
        self.levels = m.scratch(len(rhs.arguments))
        self.start_slope, self.rates = m.scratch(self.size), m.scratch(len(fluxes))
        self.nonlinear_terms = m.scratch(self.stages * len(fluxes))
        self.after, self.error = m.scratch(self.size), m.scratch(self.size)
        self.gained = m.scratch(self.size) if integrals else None

    def read_state(self) -> list[Operand]:
        """x, where the step begins."""
        return [self.machine.get(self.scratch, self.base + k) for k in range(self.size)]

    def stage_slot(self, i: Index) -> Index:
        """Where w of stage i stands in the scratch."""
        return self.base + i * self.size + self.size

    def factor_equations(self, x: list[Operand], h: Operand) -> tuple[PivotFactors, list[Operand]]:
        """The factors of the equations of a step of h from x, and the laws' rates there; levels and slopes are kept."""
        m = self.machine
        levels = self.rhs.read_levels(x)
        for k, a in enumerate(self.rhs.arguments):
            m.put(self.levels, k, levels[a])
        rates, slopes = self.rhs.tangents(levels)
        for slot, slope in enumerate(s for of_law in slopes for s in of_law):
            m.put(self.slopes, slot, slope)
        return self.rhs.factor_step_matrix(slopes, self.chain.gamma * h), rates

    def take(self, h: Operand, with_error: bool = True) -> None:
        """Takes a step of h hours from x: its stages, what is after it and, if asked for, its error."""
        m, n, gh, fresh = self.machine, self.size, self.chain.gamma * h, self.chain.fresh
        x = self.read_state()
        factors, rates = self.factor_equations(x, h)
        for k, rate in enumerate(rates):
            m.put(self.rates, k, rate)
        slopes = [gh * f for f in self.rhs(x, rates)]
        for k, f in enumerate(slopes if fresh > 1 else []):
            m.put(self.start_slope, k, f)
        stage = solve_factored(m, factors, slopes, self.first_stage_rows)
        for k in self.first_stage_rows:
            m.put(self.scratch, self.stage_slot(0) + k, stage[k])
        for i in range(1, fresh):  # stages that begin with f, as the first does
            terms = self._nonlinear_rows(i, gh)
            rhs = [_add_row(terms, j, m.get(self.start_slope, j)) for j in range(n)]
            self._store_stage(i, solve_factored(m, factors, rhs))

        def following(k: Index) -> list[Operand]:
            """A stage that begins with the one before."""
            i = k + fresh
            terms = self._nonlinear_rows(i, gh)
            before = [m.get(self.scratch, self.stage_slot(i) + (j - n)) for j in range(n)]
            solved = solve_factored(m, factors, [_add_row(terms, j, w) for j, w in enumerate(before)])
            # The stage before is read again: to keep it in registers over the solution would leave none for that.
            self._store_stage(i, [q - m.get(self.scratch, self.stage_slot(i) + (j - n)) for j, q in enumerate(solved)])
            return []

        m.loop(self.stages - fresh, following)
        for_each(m, n, lambda k: self._write_results(k, with_error))

    def _store_stage(self, i: Index, values: list[Operand]) -> None:
        """Keeps a stage."""
        for k, w in enumerate(values):
            self.machine.put(self.scratch, self.stage_slot(i) + k, w)

    def _nonlinear_rows(self, i: Index, gh: Operand) -> dict[int, Operand]:
        """By compartment, what the laws have beyond their tangents in stage i and in the stages before adds to what stage i
        solves for. Stage i's own terms are kept."""
        m, count, laws = self.machine, self.stages, range(len(self.rhs.layout.nonlinear))
        increments = self.state_increments(i)

        def weight(j: Index) -> Operand:
            return self.nonlinear_weight(i, j)

        def term(j: Index, k: int) -> Operand:
            return m.get(self.nonlinear_terms, j + k * count)

        before: list[Operand] = []
        for some in split_evenly(laws, self.sums_at_once):
            before += self.sum_stages(i, weight, term, some, 1)
        terms, last = self._beyond_tangents(increments), self.nonlinear_weight(i, i)
        for k, value in enumerate(terms):
            m.put(self.nonlinear_terms, i + k * count, value)
        rows = self.rhs.distribute([last * value + rest for value, rest in zip(terms, before, strict=True)])
        return {row: gh * sum_operands(parts) for row, parts in rows.items()}

    def state_increments(self, i: Index) -> dict[int, Operand]:
        """What stage i's amounts are more than x, of the states that laws read."""
        m = self.machine

        def weight(j: Index) -> Operand:
            return self.state_weight(i, j)

        def stage(j: Index, k: int) -> Operand:
            return m.get(self.scratch, self.stage_slot(j) + k)

        increments: list[Operand] = []
        for some in split_evenly(self.read_states, self.sums_at_once):
            increments += self.sum_stages(i, weight, stage, some)
        return dict(zip(self.read_states, increments, strict=True))

    def sum_stages(
        self,
        until: Index,
        weight: Callable[[Index], Operand],
        value: Callable[[Index, int], Operand],
        numbers: Sequence[int],
        first: int = 0,
    ) -> list[Operand]:
        """Of each number, over stages j from `first` and before `until`: Σ weight(j) · value(j, number)."""
        sums: list[Operand] = [0.0] * len(numbers)
        if isinstance(until, int):
            for j in range(first, until):
                by = weight(j)
                if not isinstance(by, float) or by:
                    sums = [by * value(j, k) + s for k, s in zip(numbers, sums, strict=True)]
            return sums

        def add_stage(j: Index, *so_far: Operand) -> list[Operand]:
            by = weight(j + first)
            return [by * value(j + first, k) + s for k, s in zip(numbers, so_far, strict=True)]

        return self.machine.repeat(until + -first, add_stage, sums)[1]

    def _beyond_tangents(self, increments: dict[int, Operand]) -> list[Operand]:
        """Of each law: its rate at the stage's amounts less that on its tangent."""
        m, rhs = self.machine, self.rhs
        moved_by = rhs.read_levels(increments)
        levels = {a: m.get(self.levels, k) + moved_by[a] for k, a in enumerate(rhs.arguments)}
        terms, slot = [], 0
        for k, (c, rate) in enumerate(zip(rhs.layout.nonlinear, rhs.rates(levels), strict=True)):
            tangent = m.get(self.rates, k)
            for a in c.arguments:
                if a.state is not None:
                    tangent = m.get(self.slopes, slot) * moved_by[a] + tangent
                    slot += 1
            terms.append(rate - tangent)
        return terms

    def state_weight(self, i: Index, j: Index) -> Operand:
        """Weight of stage j in the amounts of stage i: a float where both are known, else read from the table."""
        if isinstance(i, int) and isinstance(j, int):
            return float(self.chain.moved[i, j])
        return self.machine.read(self.table, i * self.stages + j)

    def nonlinear_weight(self, i: Index, j: Index) -> Operand:
        """Weight of stage j's nonlinear terms in what stage i solves for, likewise."""
        if isinstance(i, int) and isinstance(j, int):
            return float(self.chain.bent[i, j])
        return self.machine.read(self.table, i * self.stages + j + self.stages**2)

    def result_weight(self, i: Index) -> Operand:
        """Weight of stage i in the result."""
        return self.machine.read(self.table, i + 2 * self.stages**2)

    def integral_weight(self, i: Index) -> Operand:
        """Weight of stage i in the integral."""
        return self.machine.read(self.table, i + (2 * self.stages**2 + self.stages))

    def _write_results(self, k: Index, with_error: bool) -> None:
        """Of the k-th amount: what is after the step, its error, its integral over the step's length."""
        m, chain = self.machine, self.chain
        x = m.get(self.scratch, self.base + k)
        w = [m.get(self.scratch, self.stage_slot(i) + k) for i in range(self.stages)]
        m.put(self.after, k, weighted_sum(chain.result, w) + x)
        if with_error:
            m.put(self.error, k, weighted_sum(chain.error, [m.fixed(one) for one in w]))
        if self.gained is not None:
            m.put(self.gained, k, weighted_sum(chain.gained, w) + x)


def _add_row(terms: dict[int, Operand], row: int, value: Operand) -> Operand:
    """The value, and the row's term where there is one."""
    return value + terms[row] if row in terms else value
