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
from pbpk.compile.programs.elimination import ColumnValues, PivotFactors, Pivot, ComputedMapping, factor_matrix, plan
from pbpk.compile.programs.laws import TracedExpression, PreparedExpression, UnsupportedOperation, evaluate_expressions, prepare_expression, trace_function

if TYPE_CHECKING:
    from pbpk.linalg.elimination import Elimination
    from pbpk.linalg.packing import Packing
    from pbpk.model.system import Group, System

Entry = tuple[int, int]
Levels = dict["Argument", Operand]
_CHAINS = 4  # sums side by side


class Field(Protocol):
    """What is used of a `pbpk.solve.right_hand_side.Field`, which is compared by identity."""

    @property
    def system(self) -> System: ...
    @property
    def curved(self) -> tuple[Group, ...]: ...
    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]: ...
    @property
    def linear_entries(self) -> Packing: ...
    @property
    def elimination(self) -> Elimination: ...


@dataclass(frozen=True)
class Law:
    """Of scalars in the group's order: its rate; that and its slopes in the arguments that are states; its slopes in all of
    them; and those of Σ tₖ · slope k, where the t follow the arguments."""

    rate: TracedExpression
    tangent: TracedExpression
    gradient: TracedExpression
    bend: TracedExpression


@dataclass(frozen=True)
class Argument:
    """An amount, over a row of parameters if there is one; or that row."""

    state: int | None
    row: int | None


@dataclass(frozen=True)
class Curve:
    """One nonlinear flux: `source` and `target` are None outside."""

    law: Law
    arguments: tuple[Argument, ...]
    source: int | None
    target: int | None

    @property
    def states(self) -> tuple[int, ...]:
        return tuple(a.state for a in self.arguments if a.state is not None)


@dataclass(frozen=True)
class Arrows:
    """`arrows` and `sums`: where the linear matrix's entries off the diagonal and its columns' sums are packed. `rows`:
    of the laws' parameters, one after another, those that are used, each once."""

    size: int
    pivots: tuple[Pivot, ...]
    arrows: dict[Entry, int]
    sums: dict[int, int]
    curves: tuple[Curve, ...]
    rows: tuple[int, ...]


@cache
def arrows_of(field: Field) -> Arrows:
    """Raises `Unsupported`."""
    place = {slot: entry for entry, slot in field.elimination.position.items()}
    linear = sorted({int(s) for s in field.linear_entries.slot})
    arrows = {place[s]: s for s in linear if place[s][0] != place[s][1]}
    sums = {place[s][0]: s for s in linear if place[s][0] == place[s][1]}
    curves, rows, known, size = [], [], {}, len(field.system.names)
    ends = iter(zip(*field.ends, strict=True))
    at = 0
    for group in field.curved:
        law = law_of(
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
            columns.append([Argument(s, r) for s, r in zip(states, row, strict=True)])
        for arguments in zip(*columns, strict=True):
            source, target = (int(end) if end < size else None for end in next(ends))
            curves.append(Curve(law, arguments, source, target))
    return Arrows(size, plan(field.elimination), arrows, sums, tuple(curves), tuple(rows))


@cache
def law_of(law: Callable, names: tuple[str, ...], is_state: tuple[bool, ...]) -> Law:
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
    return Law(
        trace_function(rate, count),
        trace_function(lambda *values: [rate(*values), *slopes(*values)], count),
        trace_function(jax.grad(rate, every), count),
        trace_function(jax.grad(weighed, every), count + len(states)),
    )


def unsupported(field: Field) -> str:
    """Which operation of its laws no kernel has; "" when they all can be compiled."""
    try:
        arrows_of(field)
    except UnsupportedOperation as e:
        return f"a law uses `{e}`"
    return ""


class Flow:
    """The right-hand side of one vector of patients, ready for many evaluations. `volumes` are the rows of the laws'
    parameters by which amounts are divided, and the places of their inverses."""

    def __init__(self, m: Machine, arrows: Arrows, buffer: dict[str, Buffer]):
        self.machine, self.arrows, n = m, arrows, arrows.size
        self._off = m.scratch(len(arrows.arrows))
        self._place = {entry: k for k, entry in enumerate(arrows.arrows)}
        self._own, self._fixed, self._sums = m.scratch(n), m.scratch(n), m.scratch(n)
        sums: list[Operand] = [m.read(buffer["linear"], arrows.sums[j]) if j in arrows.sums else 0.0 for j in range(n)]
        own = list(sums)
        for (i, j), slot in arrows.arrows.items():
            value = m.read(buffer["linear"], slot)
            m.put(self._off, self._place[i, j], value)
            own[j] = own[j] - value
        for i in range(n):
            fixed = m.read(buffer["constant"], i)
            m.put(self._fixed, i, fixed + m.read(buffer["rate"], i) if "rate" in buffer else fixed)
            m.put(self._own, i, own[i])
            m.put(self._sums, i, sums[i])
        given = [m.read(buffer["given"], k) for k in range(len(arrows.rows))]
        volumes = sorted(
            {a.row for c in arrows.curves for a in c.arguments if a.state is not None and a.row is not None}
        )
        self.volumes = {row: k for k, row in enumerate(volumes)}
        self.inverse = m.scratch(len(volumes))
        for row, k in self.volumes.items():
            m.put(self.inverse, k, 1.0 / given[row])
        self.known = [
            {k: given[a.row] for k, a in enumerate(c.arguments) if a.state is None and a.row is not None}
            for c in arrows.curves
        ]
        self.arguments = tuple(dict.fromkeys(a for c in arrows.curves for a in c.arguments if a.state is not None))
        self._rates = self.prepared(lambda law: law.rate)
        self._tangents = self.prepared(lambda law: law.tangent)

    def own(self, k: int) -> Operand:
        """The linear matrix's diagonal."""
        return self.machine.get(self._own, k)

    def off(self, k: int) -> Operand:
        """Its k-th entry off the diagonal."""
        return self.machine.get(self._off, k)

    def prepared(self, of: Callable[[Law], TracedExpression]) -> list[PreparedExpression]:
        return [
            prepare_expression(self.machine, of(c.law), known) for c, known in zip(self.arrows.curves, self.known, strict=True)
        ]

    def per(self, a: Argument) -> Operand:
        """1/volume."""
        assert a.row is not None
        return self.machine.get(self.inverse, self.volumes[a.row])

    def levels(self, y: ColumnValues) -> Levels:
        """What states make of the laws' arguments."""
        found: Levels = {}
        for a in self.arguments:
            assert a.state is not None
            found[a] = y[a.state] if a.row is None else y[a.state] * self.per(a)
        return found

    def given(self, levels: Levels) -> list[dict[int, Operand]]:
        """The same for each nonlinear flux, by the number of its argument."""
        return [{k: levels[a] for k, a in enumerate(c.arguments) if a.state is not None} for c in self.arrows.curves]

    def rates(self, levels: Levels) -> list[Operand]:
        """Of the nonlinear fluxes."""
        return [rate for (rate,) in self._evaluate(self._rates, levels)]

    def tangents(self, levels: Levels) -> tuple[list[Operand], list[list[Operand]]]:
        """The rates, and the slopes of each in those of its arguments that states make."""
        found = self._evaluate(self._tangents, levels)
        return [own[0] for own in found], [own[1:] for own in found]

    def _evaluate(self, prepared: list[PreparedExpression], levels: Levels) -> list[list[Operand]]:
        return evaluate_expressions(self.machine, list(zip(prepared, self.given(levels), strict=True)))

    def __call__(self, y: list[Operand], rates: Sequence[Operand]) -> list[Operand]:
        """dy/dt, the nonlinear fluxes given."""
        m, terms = self.machine, [[] for _ in y]
        for (i, j), k in self._place.items():
            terms[i].append((k, j))
        carried = self.carried(rates)
        found = []
        for i, own in enumerate(terms):
            parts = [self.own(i) * y[i] + m.get(self._fixed, i)]
            for number, (k, j) in enumerate(own):
                product = self.off(k) * y[j]
                if number % 4 == 3 and len(parts) < _CHAINS:
                    parts.append(product)
                else:
                    parts[number % len(parts)] = product + parts[number % len(parts)]
            found.append(total([*parts, *carried.get(i, [])]))
        return found

    def carried(self, amounts: Sequence[Operand]) -> dict[int, list[Operand]]:
        """By compartment, what nonlinear fluxes bring to it and take from it."""
        found: dict[int, list[Operand]] = {}
        for c, amount in zip(self.arrows.curves, amounts, strict=True):
            if c.target is not None:
                found.setdefault(c.target, []).append(amount)
            if c.source is not None:
                found.setdefault(c.source, []).append(-amount)
        return found

    def factor(self, slopes: list[list[Operand]], gh: Operand) -> PivotFactors:
        """Of I − γh J, where the laws have these slopes."""
        m, bent = self.machine, {}
        for c, own in zip(self.arrows.curves, slopes, strict=True):
            with_states = [a for a in c.arguments if a.state is not None]
            for a, slope in zip(with_states, own, strict=True):
                for place, value in placed(c, a, slope if a.row is None else slope * self.per(a)):
                    bent[place] = bent[place] + value if place in bent else value

        def entry(place: Entry) -> Operand:
            if place not in self._place:
                return gh * bent[place]
            own = self.off(self._place[place])
            return gh * (own + bent[place] if place in bent else own)

        def excess(j: int) -> Operand:
            own = m.get(self._sums, j)
            return 1.0 - gh * (own + bent[j] if j in bent else own)

        entries = [*self._place, *(place for place in bent if isinstance(place, tuple) and place not in self._place)]
        return factor_matrix(
            m, self.arrows.pivots, ComputedMapping(entries, entry), ComputedMapping(range(self.arrows.size), excess), TOGETHER
        )


def placed(c: Curve, a: Argument, slope: Any) -> list[tuple[Entry | int, Any]]:
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
