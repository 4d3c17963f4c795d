"""A saturable model's right-hand side and Jacobian on operands.

The linear arrows are one sparse matrix, as `pbpk.solve.right_hand_side` packs it. The others are laws (laws.py), evaluated
flux by flux. What a loop does not change, the matrix's diagonal and what parameters make of one another, is computed before
the loop and waits in scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

from pbpk.compile.backend.base import Backend, Buffer, Operand
from pbpk.compile.backend.functions import TOGETHER, sum_operands
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
    from pbpk.linalg.packing import JacobianPacking
    from pbpk.model.system import FluxGroup, System

Entry = tuple[int, int]
Levels = dict["FluxArgument", Operand]
"""An amount or concentration for each argument of the laws that depends on a state."""
_PARALLEL_SUMS = 4  # sums side by side: what keeps a processor busy while one waits for the last


class RightHandSideField(Protocol):
    """What is used of a `pbpk.solve.right_hand_side.VectorField`, which is compared by identity."""

    @property
    def system(self) -> System:
        """The compiled system."""
        ...

    @property
    def nonlinear_groups(self) -> tuple[FluxGroup, ...]:
        """The groups of fluxes that are not linear."""
        ...

    @property
    def nonlinear_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of each of their fluxes."""
        ...

    @property
    def linear_entries(self) -> JacobianPacking:
        """Where the linear rates go in the packed matrix."""
        ...

    @property
    def elimination(self) -> Elimination:
        """The order of elimination of the Jacobian."""
        ...


@dataclass(frozen=True)
class TracedLaw:
    """A rate law as operations on scalars in the group's order: its `rate`; with its slopes in the arguments that are states
    (`tangent`); its slopes in all arguments (`gradient`); and those of Σ tₖ · slope k, where the t follow the arguments
    (`second_derivative`)."""

    rate: TracedExpression
    tangent: TracedExpression
    gradient: TracedExpression
    second_derivative: TracedExpression


@dataclass(frozen=True)
class FluxArgument:
    """An argument of a law: an amount, over a row of parameters if there is one; or that row."""

    state: int | None
    row: int | None


@dataclass(frozen=True)
class NonlinearFlux:
    """One nonlinear flux: its law, the law's arguments, and `source` and `target`, None outside."""

    law: TracedLaw
    arguments: tuple[FluxArgument, ...]
    source: int | None
    target: int | None

    @property
    def states(self) -> tuple[int, ...]:
        """The states that the law reads."""
        return tuple(a.state for a in self.arguments if a.state is not None)


@dataclass(frozen=True)
class FluxLayout:
    """What is known of a field's fluxes. `off_diagonal` and `column_sums`: where the linear matrix's entries off the diagonal
    and its columns' sums are packed. `parameter_rows`: of the laws' parameters, one after another, those that are used, each
    once."""

    size: int
    pivots: tuple[Pivot, ...]
    off_diagonal: dict[Entry, int]
    column_sums: dict[int, int]
    nonlinear: tuple[NonlinearFlux, ...]
    parameter_rows: tuple[int, ...]


@cache
def lay_out_fluxes(field: RightHandSideField) -> FluxLayout:
    """The layout of a field's fluxes. Raises `UnsupportedOperation` where a law cannot be written on operands."""
    entry_of = {slot: entry for entry, slot in field.elimination.position.items()}
    linear = sorted({int(s) for s in field.linear_entries.slot})
    off_diagonal = {entry_of[s]: s for s in linear if entry_of[s][0] != entry_of[s][1]}
    sums = {entry_of[s][0]: s for s in linear if entry_of[s][0] == entry_of[s][1]}
    fluxes, rows, row_of, size = [], [], {}, len(field.system.names)
    ends = iter(zip(*field.nonlinear_ends, strict=True))
    first = 0
    for group in field.nonlinear_groups:
        law = trace_law(
            group.law, tuple(a.name for a in group.arguments), tuple(a.state is not None for a in group.arguments)
        )
        columns = []
        for a in group.arguments:
            row: list[int | None] = [None] * group.size
            if a.parameter is not None:
                for k, index in enumerate(a.parameter):
                    if int(index) not in row_of:
                        row_of[int(index)] = len(rows)
                        rows.append(first + k)
                    row[k] = row_of[int(index)]
                first += group.size
            states = [None] * group.size if a.state is None else [int(s) for s in a.state]
            columns.append([FluxArgument(s, r) for s, r in zip(states, row, strict=True)])
        for arguments in zip(*columns, strict=True):
            source, target = (int(end) if end < size else None for end in next(ends))
            fluxes.append(NonlinearFlux(law, arguments, source, target))
    return FluxLayout(size, plan_pivots(field.elimination), off_diagonal, sums, tuple(fluxes), tuple(rows))


@cache
def trace_law(law: Callable, names: tuple[str, ...], is_state: tuple[bool, ...]) -> TracedLaw:
    """A law with arguments of these names, traced with its derivatives by JAX's rules. Raises `UnsupportedOperation`."""
    count, states = len(names), [k for k, of_state in enumerate(is_state) if of_state]

    def rate(*values):
        return law(**dict(zip(names, values, strict=True))) * 1.0

    def slope(k: int, values):
        direction = [1.0 if i == k else 0.0 for i in range(count)]
        return jax.jvp(lambda x: rate(*values[:k], x, *values[k + 1 :]), (values[k],), (direction[k],))[1]

    def slopes(*values):
        return [slope(k, values) for k in states]

    def weighted_slopes(*values):
        return sum(t * s for t, s in zip(values[count:], slopes(*values[:count]), strict=True))

    every = tuple(range(count))
    return TracedLaw(
        trace_function(rate, count),
        trace_function(lambda *values: [rate(*values), *slopes(*values)], count),
        trace_function(jax.grad(rate, every), count),
        trace_function(jax.grad(weighted_slopes, every), count + len(states)),
    )


def unsupported(field: RightHandSideField) -> str:
    """Which operation of its laws no kernel has; "" when they all can be compiled."""
    try:
        lay_out_fluxes(field)
    except UnsupportedOperation as e:
        return f"a law uses `{e}`"
    return ""


class RightHandSide:
    """The right-hand side of one vector of patients, ready for many evaluations: call it for dy/dt.

    `volume_slots`: the rows of the laws' parameters by which amounts are divided, and where in `inverse_volumes` their
    inverses are. `arguments`: those of all laws that depend on a state, each once. `known_arguments`: of each flux those that
    do not, by number."""

    def __init__(self, m: Backend, layout: FluxLayout, buffer: dict[str, Buffer]):
        self.machine, self.layout, n = m, layout, layout.size
        linear, inflow = buffer["linear"], buffer.get("inflow")
        self._off_diagonal = m.scratch(len(layout.off_diagonal))
        self._slot_of = {entry: k for k, entry in enumerate(layout.off_diagonal)}
        self._diagonal, self._constant, self._column_sums = m.scratch(n), m.scratch(n), m.scratch(n)
        slots = layout.column_sums
        sums: list[Operand] = [m.read(linear, slots[j]) if j in slots else 0.0 for j in range(n)]
        diagonal = list(sums)
        for (i, j), slot in layout.off_diagonal.items():
            value = m.read(linear, slot)
            m.put(self._off_diagonal, self._slot_of[i, j], value)
            diagonal[j] = diagonal[j] - value
        for i in range(n):
            constant = m.read(buffer["constant"], i)
            m.put(self._constant, i, constant if inflow is None else constant + m.read(inflow, i))
            m.put(self._diagonal, i, diagonal[i])
            m.put(self._column_sums, i, sums[i])
        parameters = [m.read(buffer["law_parameters"], k) for k in range(len(layout.parameter_rows))]
        arguments = [a for c in layout.nonlinear for a in c.arguments if a.state is not None]
        volumes = sorted({a.row for a in arguments if a.row is not None})
        self.volume_slots = {row: k for k, row in enumerate(volumes)}
        self.inverse_volumes = m.scratch(len(volumes))
        for row, k in self.volume_slots.items():
            m.put(self.inverse_volumes, k, 1.0 / parameters[row])
        self.known_arguments = [
            {k: parameters[a.row] for k, a in enumerate(c.arguments) if a.state is None and a.row is not None}
            for c in layout.nonlinear
        ]
        self.arguments = tuple(dict.fromkeys(arguments))
        self._rates = self.prepare_laws(lambda law: law.rate)
        self._tangents = self.prepare_laws(lambda law: law.tangent)

    def diagonal(self, k: int) -> Operand:
        """The linear matrix's k-th diagonal entry."""
        return self.machine.get(self._diagonal, k)

    def off_diagonal(self, k: int) -> Operand:
        """Its k-th entry off the diagonal."""
        return self.machine.get(self._off_diagonal, k)

    def prepare_laws(self, part: Callable[[TracedLaw], TracedExpression]) -> list[PreparedExpression]:
        """One expression of every flux's law, ready for many evaluations."""
        pairs = zip(self.layout.nonlinear, self.known_arguments, strict=True)
        return [prepare_expression(self.machine, part(c.law), known) for c, known in pairs]

    def inverse_volume(self, a: FluxArgument) -> Operand:
        """1/volume of an argument that is a concentration."""
        assert a.row is not None
        return self.machine.get(self.inverse_volumes, self.volume_slots[a.row])

    def read_levels(self, y: ColumnValues) -> Levels:
        """The amounts and concentrations that the laws take, from the states y."""
        levels: Levels = {}
        for a in self.arguments:
            assert a.state is not None
            levels[a] = y[a.state] if a.row is None else y[a.state] * self.inverse_volume(a)
        return levels

    def law_arguments(self, levels: Levels) -> list[dict[int, Operand]]:
        """The same for each nonlinear flux, by the number of its argument."""
        return [{k: levels[a] for k, a in enumerate(c.arguments) if a.state is not None} for c in self.layout.nonlinear]

    def rates(self, levels: Levels) -> list[Operand]:
        """The rates of the nonlinear fluxes."""
        return [rate for (rate,) in self._evaluate(self._rates, levels)]

    def tangents(self, levels: Levels) -> tuple[list[Operand], list[list[Operand]]]:
        """The rates, and the slopes of each in those of its arguments that states make."""
        results = self._evaluate(self._tangents, levels)
        return [values[0] for values in results], [values[1:] for values in results]

    def _evaluate(self, prepared: list[PreparedExpression], levels: Levels) -> list[list[Operand]]:
        """Every flux's expression at these levels."""
        return evaluate_expressions(self.machine, list(zip(prepared, self.law_arguments(levels), strict=True)))

    def __call__(self, y: list[Operand], rates: Sequence[Operand]) -> list[Operand]:
        """dy/dt, from the rates of the nonlinear fluxes."""
        m, columns_of = self.machine, [[] for _ in y]
        for (i, j), k in self._slot_of.items():
            columns_of[i].append((k, j))
        carried = self.distribute(rates)
        slopes = []
        for i, columns in enumerate(columns_of):
            parts = [self.diagonal(i) * y[i] + m.get(self._constant, i)]
            for number, (k, j) in enumerate(columns):
                product = self.off_diagonal(k) * y[j]
                if number % 4 == 3 and len(parts) < _PARALLEL_SUMS:
                    parts.append(product)
                else:
                    parts[number % len(parts)] = product + parts[number % len(parts)]
            slopes.append(sum_operands([*parts, *carried.get(i, [])]))
        return slopes

    def distribute(self, amounts: Sequence[Operand]) -> dict[int, list[Operand]]:
        """By compartment, what nonlinear fluxes of these amounts bring to it and take from it."""
        carried: dict[int, list[Operand]] = {}
        for c, amount in zip(self.layout.nonlinear, amounts, strict=True):
            if c.target is not None:
                carried.setdefault(c.target, []).append(amount)
            if c.source is not None:
                carried.setdefault(c.source, []).append(-amount)
        return carried

    def factor_step_matrix(self, slopes: list[list[Operand]], gh: Operand) -> PivotFactors:
        """The factors of I − γh J, where the laws have these slopes."""
        m, nonlinear = self.machine, {}
        for c, of_law in zip(self.layout.nonlinear, slopes, strict=True):
            with_states = [a for a in c.arguments if a.state is not None]
            for a, slope in zip(with_states, of_law, strict=True):
                for place, value in jacobian_entries(c, a, slope if a.row is None else slope * self.inverse_volume(a)):
                    nonlinear[place] = nonlinear[place] + value if place in nonlinear else value

        def entry(place: Entry) -> Operand:
            if place not in self._slot_of:
                return gh * nonlinear[place]
            linear = self.off_diagonal(self._slot_of[place])
            return gh * (linear + nonlinear[place] if place in nonlinear else linear)

        def excess(j: int) -> Operand:
            linear = m.get(self._column_sums, j)
            return 1.0 - gh * (linear + nonlinear[j] if j in nonlinear else linear)

        new = (place for place in nonlinear if isinstance(place, tuple) and place not in self._slot_of)
        entries = ComputedMapping([*self._slot_of, *new], entry)
        return factor_matrix(m, self.layout.pivots, entries, ComputedMapping(range(self.layout.size), excess), TOGETHER)


def jacobian_entries(c: NonlinearFlux, a: FluxArgument, slope: Any) -> list[tuple[Entry | int, Any]]:
    """Where a law's slope goes in the packed Jacobian: entries off the diagonal, and the sum of its column."""
    state = a.state
    assert state is not None
    inside = [(end, sign) for end, sign in ((c.source, -1), (c.target, 1)) if end is not None]
    entries: list[tuple[Entry | int, Any]] = []
    for end, sign in inside:
        if end != state:
            entries.append(((end, state), slope if sign > 0 else -slope))
    if len(inside) == 1:
        entries.append((state, slope if inside[0][1] > 0 else -slope))
    return entries
