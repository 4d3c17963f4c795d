"""The likelihood of each patient's observations with all its slopes as one program: there, judged, and back.

The solution there (forward.py) leaves what is read at every place in scratch; each observation is judged where its patient
looked, by its endpoint's loss as JAX traced it (laws.py); what the loss hands back goes the way back (adjoint.py)
without leaving the caches. Nothing of the solution is a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import jax

from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
from pbpk.compile.backend.redirected import Rows, Write
from pbpk.compile.backend.scratch import Held
from pbpk.compile.programs.laws import (
    PreparedExpression,
    TracedExpression,
    UnsupportedOperation,
    evaluate_expressions,
    prepare_expression,
    trace_function,
)
from pbpk.compile.programs.outputs import OwnTimes, locate_sample
from pbpk.compile.programs.solution.adjoint import SolutionAdjoint, SolutionAdjointProgram
from pbpk.compile.programs.solution.forward import SolutionForward, SolutionProgram

if TYPE_CHECKING:
    from pbpk.compile.programs.linear.window_adjoint import LinearWindowAdjoint
    from pbpk.compile.programs.rosenbrock.window_adjoint import RosenbrockWindowAdjoint
    from pbpk.compile.programs.solution.layout import SolutionLayout


@dataclass(frozen=True)
class LikelihoodTerm:
    """An endpoint: −2 ln likelihood of one observation, a `function` (compared by equality) of scalars or of arrays: of what
    is read, by the numbers of the readings, of columns of the data by name, and of parameters by their numbers."""

    function: Callable[..., Any]
    readings: tuple[int, ...]
    columns: tuple[str, ...]
    parameters: tuple[int, ...]

    @property
    def argument_count(self) -> int:
        return len(self.readings) + len(self.columns) + len(self.parameters)

    def trace(self, sloping: bool) -> TracedExpression:
        """That, or that and its slopes in what is read and in the parameters. Raises `Unsupported`."""
        first = len(self.readings) + len(self.columns)
        slopes = (*range(len(self.readings)), *range(first, self.argument_count)) if sloping else ()
        return _trace_term(self.function, self.argument_count, slopes)


@cache
def _trace_term(function: Callable[..., Any], arguments: int, slopes: tuple[int, ...]) -> TracedExpression:
    if not slopes:
        return trace_function(function, arguments)
    return trace_function(lambda *values: [function(*values), *jax.grad(function, slopes)(*values)], arguments)


@dataclass(frozen=True)
class LikelihoodTerms:
    """`readings`: the sums of amounts that are read; a patient's own factors make what is observed of them. `terms` take so
    many `parameters`."""

    readings: tuple[tuple[int, ...], ...]
    terms: tuple[LikelihoodTerm, ...]
    parameters: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the data, those that some term takes."""
        return tuple(sorted({name for term in self.terms for name in term.columns}))


def column_buffer_name(name: str) -> str:
    """The name of a column's buffer."""
    return f"data_{name}"


@cache
def unsupported_likelihood(judge: LikelihoodTerms) -> str:
    """Which operation of a likelihood no kernel has; "" when all can be compiled."""
    try:
        for term in judge.terms:
            term.trace(True)
    except UnsupportedOperation as e:
        return f"a likelihood uses `{e}`"
    return ""


@dataclass(frozen=True)
class LikelihoodProgram:
    """`plan` is of a solution with events of each patient's own and the judge's readings; `back` is its leg's reverse, without
    which there are no slopes. Arguments beside the plan's: each reading's `factor`; the `parameters`; of each look `which`
    term judges it, from 1, or 0, and the columns. Results: `loss`, `judged` and `sound` as of a journey, and cotangents of
    what is each patient's own, named after it."""

    layout: SolutionLayout
    likelihood: LikelihoodTerms
    window_adjoint: LinearWindowAdjoint | RosenbrockWindowAdjoint | None

    @property
    def patient_arguments(self) -> tuple[Buffer, ...]:
        given = [Buffer("factor", (len(self.likelihood.readings),))]
        return (*given, *([Buffer("parameters", (self.likelihood.parameters,))] if self.likelihood.parameters else []))

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        columns = (Buffer(name, (self.layout.output_rows,)) for name in ("which", *map(column_buffer_name, self.likelihood.columns)))
        return (*self.layout.arguments, *self.patient_arguments, *columns)

    @property
    def results(self) -> tuple[Buffer, ...]:
        found = [Buffer("loss", (1,)), *(b for b in self.forward.results if b.name in ("judged", "sound"))]
        if self.window_adjoint is None:
            return tuple(found)
        return (*found, *self.adjoint.results, *(Buffer(f"of_{b.name}", b.shape) for b in self.patient_arguments))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    @property
    def forward(self) -> SolutionProgram:
        return SolutionProgram(self.layout, self.window_adjoint is not None)

    @property
    def adjoint(self) -> SolutionAdjointProgram:
        assert self.window_adjoint is not None
        return SolutionAdjointProgram(self.layout, self.window_adjoint)

    def run(self, machine: Machine) -> None:
        m: Any = Held(machine, self.layout.residuals if self.window_adjoint is not None else ())
        judging = _LikelihoodWriter(m, self)
        SolutionForward(m, self.forward, judging).run()
        if self.window_adjoint is not None:
            SolutionAdjoint(m, self.adjoint, _LikelihoodCotangents(judging)).run()
        for name, room in judging.sums.items():
            for k in range(room.count):
                m.write(self.buffer[name], k, room.get(k))


class _LikelihoodWriter(OwnTimes):
    """`bars`: the loss's slopes in what was read at each place. `sums`, of all a patient's looks: the loss and its slopes in
    what they have in common."""

    def __init__(self, m: Any, likelihood: LikelihoodProgram):
        super().__init__(m, likelihood.layout, likelihood.buffer)
        self.program, self.with_slopes = likelihood, likelihood.window_adjoint is not None
        self.sums = {"loss": Rows(m, 1)}
        if self.with_slopes:
            self.sums |= {f"of_{b.name}": Rows(m, b.shape[0]) for b in likelihood.patient_arguments}
            self.cotangents = Rows(m, self.plan.state_count * self.plan.output_width)
            self.cotangents.clear()
        for room in self.sums.values():
            room.clear()
        judge = likelihood.likelihood
        self.factors = [m.read(self.buffer["factor"], k) for k in range(len(judge.readings))]
        self.prepared = [self._prepare_term(term) for term in judge.terms]

    def _prepare_term(self, term: LikelihoodTerm) -> PreparedExpression:
        first = len(term.readings) + len(term.columns)
        known = {first + k: self.m.read(self.buffer["parameters"], p) for k, p in enumerate(term.parameters)}
        return prepare_expression(self.m, term.trace(self.with_slopes), known)

    def end(self) -> None:
        self.m.loop(self.plan.output_rows, self._add_observation)

    def _add_observation(self, t: Index) -> list[Operand]:
        m, judge = self.m, self.program.likelihood
        look, which = self.sample(self.state_amounts, t), m.read(self.buffer["which"], t)
        read = [look(k) for k in range(len(judge.readings))]
        bars: list[Operand] = [0.0] * len(read)
        for number, (term, prepared) in enumerate(zip(judge.terms, self.prepared, strict=True), 1):
            # Above 0 where the observation is this term's. What another's makes of it may be no number, and is not added.
            mine = 0.25 - (which - number) * (which - number)
            loss, *slopes = self._evaluate_term(t, term, prepared, mine, read)
            self.sums["loss"].add(0, loss)
            for k in term.readings:
                self.nonfinite.add(0, m.choose(mine, read[k] * 0.0, 0.0))
            for k, slope in zip(term.readings, slopes, strict=False):
                bars[k] = bars[k] + slope
            for p, slope in zip(term.parameters, slopes[len(term.readings) :], strict=False):
                self.sums["of_parameters"].add(p, slope)
        if self.with_slopes:
            at, below = locate_sample(m, self.plan, self.buffer, t)
            for k, (value, bar) in enumerate(zip(read, bars, strict=True)):
                self.sums["of_factor"].add(k, bar * value)
                there = self.cotangents.part(k)
                there.place(at, below, there.pick(at, below) + bar * self.factors[k])
        return []

    def _evaluate_term(self, t: Index, term: LikelihoodTerm, prepared: PreparedExpression, mine: Operand, read: list[Operand]) -> Sequence[Operand]:
        """The loss and its slopes, 0 where the observation is not this term's; no work where it is that of no lane."""
        m = self.m
        values = [read[k] * self.factors[k] for k in term.readings]
        values += [m.read(self.buffer[column_buffer_name(name)], t) for name in term.columns]

        def once(*_: Any) -> list[Operand]:
            (found,) = evaluate_expressions(m, [(prepared, dict(enumerate(values)))], common_division=False)
            return [mine, *(m.choose(mine, value, 0.0) for value in found)]

        if len(self.prepared) == 1:
            return once()[1:]
        return m.repeat(1, once, [mine, *[0.0] * len(prepared.results)], going=True)[1][1:]


class _LikelihoodCotangents:
    """The loss's slopes as cotangents. What is read is a sum of amounts: each of them has the sum's."""

    def __init__(self, judging: _LikelihoodWriter):
        self.cotangents, self.plan = judging.cotangents, judging.plan

    def stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        self._add_cotangents(stop + self.plan.initial_events, amount)

    def firsts(self, bars: Rows) -> None:
        for k in range(self.plan.initial_events):
            self._add_cotangents(k, bars.part(k * self.plan.size).add)

    def _add_cotangents(self, place: Index, amount: Write) -> None:
        bars = self.cotangents.part(place * self.plan.output_width)
        for k, readings in self._read_by.items():
            amount(k, sum((bars.get(r) for r in readings[1:]), bars.get(readings[0])))

    @cached_property
    def _read_by(self) -> dict[int, list[int]]:
        readings = self.plan.readings
        members = sorted({k for own in readings for k in own})
        return {k: [r for r, own in enumerate(readings) if k in own] for k in members}
