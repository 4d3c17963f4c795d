"""A saturable model's right-hand side and Jacobian on operands.

The linear arrows are one sparse matrix, as `pbpk.solve.right_hand_side` packs it; the others are laws (laws.py), evaluated flux by
flux. What a loop does not change, the matrix's diagonal and what parameters make of one another, is computed before it
and waits in scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

from pbpk.compile.backend.base import Buffer, Machine, Operand
from pbpk.compile.backend.functions import TOGETHER, total
from pbpk.compile.programs.elimination import (
    ColumnValues,
    ComputedMapping,
    Pivot,
    PivotFactors,
    factor_matrix,
    plan_pivots,
)
from pbpk.compile.programs.laws import (
    PreparedExpression,
    TracedExpression,
    UnsupportedOperation,
    evaluate_expressions,
    prepare_expression,
    trace_function,
)

if TYPE_CHECKING:
    from pbpk.linalg.elimination import Elimination
    from pbpk.linalg.packing import Packing
    from pbpk.model.system import FluxGroup, System

Entry = tuple[int, int]
Levels = dict["LawArgument", Operand]
_PARALLEL_SUMS = 4  # sums side by side


class RightHandSideField(Protocol):
    """What is used of a `pbpk.solve.right_hand_side.Field`, which is compared by identity."""

    @property
    def system(self) -> System: ...
    @property
    def nonlinear_groups(self) -> tuple[FluxGroup, ...]: ...
    @property
    def nonlinear_ends(self) -> tuple[np.ndarray, np.ndarray]: ...
    @property
    def linear_entries(self) -> Packing: ...
    @property
    def elimination(self) -> Elimination: ...


@dataclass(frozen=True)
class TracedLaw:
    """Of scalars in the group's order: its rate; that and its slopes in the arguments that are states; its slopes in all of
    them; and those of Σ tₖ · slope k, where the t follow the arguments."""

    rate: TracedExpression
    tangent: TracedExpression
    gradient: TracedExpression
    second_derivative: TracedExpression


@dataclass(frozen=True)
class LawArgument:
    """An amount, over a row of parameters if there is one; or that row."""

    state: int | None
    row: int | None


@dataclass(frozen=True)
class NonlinearFlux:
    """One nonlinear flux: `source` and `target` are None outside."""

    law: TracedLaw
    arguments: tuple[LawArgument, ...]
    source: int | None
    target: int | None

    @property
    def states(self) -> tuple[int, ...]:
        return tuple(a.state for a in self.arguments if a.state is not None)


@dataclass(frozen=True)
class FluxLayout:
    """`arrows` and `sums`: where the linear matrix's entries off the diagonal and its columns' sums are packed. `rows`:
    of the laws' parameters, one after another, those that are used, each once."""

    size: int
    pivots: tuple[Pivot, ...]
    off_diagonal: dict[Entry, int]
    column_sums: dict[int, int]
    nonlinear: tuple[NonlinearFlux, ...]
    parameter_rows: tuple[int, ...]


@cache
def lay_out_fluxes(field: RightHandSideField) -> FluxLayout:
    """Raises `Unsupported`."""
    place = {slot: entry for entry, slot in field.elimination.position.items()}
    linear = sorted({int(s) for s in field.linear_entries.slot})
    arrows = {place[s]: s for s in linear if place[s][0] != place[s][1]}
    sums = {place[s][0]: s for s in linear if place[s][0] == place[s][1]}
    curves, rows, known, size = [], [], {}, len(field.system.names)
    ends = iter(zip(*field.nonlinear_ends, strict=True))
    at = 0
    for group in field.nonlinear_groups:
        law = trace_law(
            group.law, tuple(a.name for a in group.arguments), tuple(a.state is not None for a in group.arguments)
        )
        columns = []
        for a in group.arguments:
            row: list[int | None] = [None] * group.size
            if a.parameter is not None:
                for k, index in enumerate(a.parameter):
                    if int(index) not in known:
                        known[int(index)] = len(rows)
                        rows.append(at + k)
                    row[k] = known[int(index)]
                at += group.size
            states = [None] * group.size if a.state is None else [int(s) for s in a.state]
            columns.append([LawArgument(s, r) for s, r in zip(states, row, strict=True)])
        for arguments in zip(*columns, strict=True):
            source, target = (int(end) if end < size else None for end in next(ends))
            curves.append(NonlinearFlux(law, arguments, source, target))
    return FluxLayout(size, plan_pivots(field.elimination), arrows, sums, tuple(curves), tuple(rows))


@cache
def trace_law(law: Callable, names: tuple[str, ...], is_state: tuple[bool, ...]) -> TracedLaw:
    count, states = len(names), [k for k, of_state in enumerate(is_state) if of_state]

    def rate(*values):
        return law(**dict(zip(names, values, strict=True))) * 1.0

    def slope(k: int, values):
        along = [1.0 if i == k else 0.0 for i in range(count)]
        return jax.jvp(lambda x: rate(*values[:k], x, *values[k + 1 :]), (values[k],), (along[k],))[1]

    def slopes(*values):
        return [slope(k, values) for k in states]

    def weighed(*all_):
        return sum(t * s for t, s in zip(all_[count:], slopes(*all_[:count]), strict=True))

    every = tuple(range(count))
    return TracedLaw(
        trace_function(rate, count),
        trace_function(lambda *values: [rate(*values), *slopes(*values)], count),
        trace_function(jax.grad(rate, every), count),
        trace_function(jax.grad(weighed, every), count + len(states)),
    )


def unsupported(field: RightHandSideField) -> str:
    """Which operation of its laws no kernel has; "" when they all can be compiled."""
    try:
        lay_out_fluxes(field)
    except UnsupportedOperation as e:
        return f"a law uses `{e}`"
    return ""


class RightHandSide:
    """The right-hand side of one vector of patients, ready for many evaluations. `volumes` are the rows of the laws'
    parameters by which amounts are divided, and the places of their inverses."""

    def __init__(self, m: Machine, arrows: FluxLayout, buffer: dict[str, Buffer]):
        self.machine, self.layout, n = m, arrows, arrows.size
        self._off_diagonal = m.scratch(len(arrows.off_diagonal))
        self._slot_of = {entry: k for k, entry in enumerate(arrows.off_diagonal)}
        self._diagonal, self._constant, self._column_sums = m.scratch(n), m.scratch(n), m.scratch(n)
        sums: list[Operand] = [m.read(buffer["linear"], arrows.column_sums[j]) if j in arrows.column_sums else 0.0 for j in range(n)]
        own = list(sums)
        for (i, j), slot in arrows.off_diagonal.items():
            value = m.read(buffer["linear"], slot)
            m.put(self._off_diagonal, self._slot_of[i, j], value)
            own[j] = own[j] - value
        for i in range(n):
            fixed = m.read(buffer["constant"], i)
            m.put(self._constant, i, fixed + m.read(buffer["rate"], i) if "rate" in buffer else fixed)
            m.put(self._diagonal, i, own[i])
            m.put(self._column_sums, i, sums[i])
        given = [m.read(buffer["given"], k) for k in range(len(arrows.parameter_rows))]
        volumes = sorted(
            {a.row for c in arrows.nonlinear for a in c.arguments if a.state is not None and a.row is not None}
        )
        self.volume_slots = {row: k for k, row in enumerate(volumes)}
        self.inverse_volumes = m.scratch(len(volumes))
        for row, k in self.volume_slots.items():
            m.put(self.inverse_volumes, k, 1.0 / given[row])
        self.known_arguments = [
            {k: given[a.row] for k, a in enumerate(c.arguments) if a.state is None and a.row is not None}
            for c in arrows.nonlinear
        ]
        self.arguments = tuple(dict.fromkeys(a for c in arrows.nonlinear for a in c.arguments if a.state is not None))
        self._rates = self.prepare_laws(lambda law: law.rate)
        self._tangents = self.prepare_laws(lambda law: law.tangent)

    def diagonal(self, k: int) -> Operand:
        """The linear matrix's diagonal."""
        return self.machine.get(self._diagonal, k)

    def off_diagonal(self, k: int) -> Operand:
        """Its k-th entry off the diagonal."""
        return self.machine.get(self._off_diagonal, k)

    def prepare_laws(self, of: Callable[[TracedLaw], TracedExpression]) -> list[PreparedExpression]:
        return [
            prepare_expression(self.machine, of(c.law), known) for c, known in zip(self.layout.nonlinear, self.known_arguments, strict=True)
        ]

    def inverse_volume(self, a: LawArgument) -> Operand:
        """1/volume."""
        assert a.row is not None
        return self.machine.get(self.inverse_volumes, self.volume_slots[a.row])

    def read_levels(self, y: ColumnValues) -> Levels:
        """What states make of the laws' arguments."""
        found: Levels = {}
        for a in self.arguments:
            assert a.state is not None
            found[a] = y[a.state] if a.row is None else y[a.state] * self.inverse_volume(a)
        return found

    def law_arguments(self, levels: Levels) -> list[dict[int, Operand]]:
        """The same for each nonlinear flux, by the number of its argument."""
        return [{k: levels[a] for k, a in enumerate(c.arguments) if a.state is not None} for c in self.layout.nonlinear]

    def rates(self, levels: Levels) -> list[Operand]:
        """Of the nonlinear fluxes."""
        return [rate for (rate,) in self._evaluate(self._rates, levels)]

    def tangents(self, levels: Levels) -> tuple[list[Operand], list[list[Operand]]]:
        """The rates, and the slopes of each in those of its arguments that states make."""
        found = self._evaluate(self._tangents, levels)
        return [own[0] for own in found], [own[1:] for own in found]

    def _evaluate(self, prepared: list[PreparedExpression], levels: Levels) -> list[list[Operand]]:
        return evaluate_expressions(self.machine, list(zip(prepared, self.law_arguments(levels), strict=True)))

    def __call__(self, y: list[Operand], rates: Sequence[Operand]) -> list[Operand]:
        """dy/dt, the nonlinear fluxes given."""
        m, terms = self.machine, [[] for _ in y]
        for (i, j), k in self._slot_of.items():
            terms[i].append((k, j))
        carried = self.distribute(rates)
        found = []
        for i, own in enumerate(terms):
            parts = [self.diagonal(i) * y[i] + m.get(self._constant, i)]
            for number, (k, j) in enumerate(own):
                product = self.off_diagonal(k) * y[j]
                if number % 4 == 3 and len(parts) < _PARALLEL_SUMS:
                    parts.append(product)
                else:
                    parts[number % len(parts)] = product + parts[number % len(parts)]
            found.append(total([*parts, *carried.get(i, [])]))
        return found

    def distribute(self, amounts: Sequence[Operand]) -> dict[int, list[Operand]]:
        """By compartment, what nonlinear fluxes bring to it and take from it."""
        found: dict[int, list[Operand]] = {}
        for c, amount in zip(self.layout.nonlinear, amounts, strict=True):
            if c.target is not None:
                found.setdefault(c.target, []).append(amount)
            if c.source is not None:
                found.setdefault(c.source, []).append(-amount)
        return found

    def factor_step_matrix(self, slopes: list[list[Operand]], gh: Operand) -> PivotFactors:
        """Of I − γh J, where the laws have these slopes."""
        m, bent = self.machine, {}
        for c, own in zip(self.layout.nonlinear, slopes, strict=True):
            with_states = [a for a in c.arguments if a.state is not None]
            for a, slope in zip(with_states, own, strict=True):
                for place, value in jacobian_entries(c, a, slope if a.row is None else slope * self.inverse_volume(a)):
                    bent[place] = bent[place] + value if place in bent else value

        def entry(place: Entry) -> Operand:
            if place not in self._slot_of:
                return gh * bent[place]
            own = self.off_diagonal(self._slot_of[place])
            return gh * (own + bent[place] if place in bent else own)

        def excess(j: int) -> Operand:
            own = m.get(self._column_sums, j)
            return 1.0 - gh * (own + bent[j] if j in bent else own)

        entries = [*self._slot_of, *(place for place in bent if isinstance(place, tuple) and place not in self._slot_of)]
        return factor_matrix(
            m, self.layout.pivots, ComputedMapping(entries, entry), ComputedMapping(range(self.layout.size), excess), TOGETHER
        )


def jacobian_entries(c: NonlinearFlux, a: LawArgument, slope: Any) -> list[tuple[Entry | int, Any]]:
    """Where a slope goes in the packed Jacobian: entries off the diagonal, and the sum of its column."""
    state = a.state
    assert state is not None
    inside = [(end, sign) for end, sign in ((c.source, -1), (c.target, 1)) if end is not None]
    found: list[tuple[Entry | int, Any]] = []
    for end, sign in inside:
        if end != state:
            found.append(((end, state), slope if sign > 0 else -slope))
    if len(inside) == 1:
        found.append((state, slope if inside[0][1] > 0 else -slope))
    return found
