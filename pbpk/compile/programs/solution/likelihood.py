"""The likelihood of each patient's observations with all its slopes as one program: solved, evaluated and gone back through.

The solution (forward.py) leaves what is read of every state in scratch. Each observation is evaluated at each patient's own
output time, by its endpoint's −2 ln likelihood as JAX traced it (laws.py). Its slopes are the cotangents that the adjoint
(adjoint.py) starts from, without leaving the caches. Nothing of the solution itself is a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import jax

from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
from pbpk.compile.backend.redirected import ScratchView, Write
from pbpk.compile.backend.scratch import ScratchResults
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
from pbpk.compile.programs.solution.layout import cotangent_name

if TYPE_CHECKING:
    from pbpk.compile.programs.solution.adjoint import WindowAdjoint
    from pbpk.compile.programs.solution.layout import SolutionLayout


@dataclass(frozen=True)
class LikelihoodTerm:
    """An endpoint: −2 ln likelihood of one observation.

    `function` (compared by equality) takes scalars, or arrays, in this order: the `readings` by their numbers, `columns` of the
    data by name, and `parameters` by their numbers.
    """

    function: Callable[..., Any]
    readings: tuple[int, ...]
    columns: tuple[str, ...]
    parameters: tuple[int, ...]

    @property
    def argument_count(self) -> int:
        """How many arguments the function takes."""
        return len(self.readings) + len(self.columns) + len(self.parameters)

    def trace(self, with_slopes: bool) -> TracedExpression:
        """The function as operations, with its slopes in the readings and in the parameters if asked for. Raises
        `UnsupportedOperation`."""
        first = len(self.readings) + len(self.columns)
        slopes = (*range(len(self.readings)), *range(first, self.argument_count)) if with_slopes else ()
        return _trace_term(self.function, self.argument_count, slopes)


@cache
def _trace_term(function: Callable[..., Any], arguments: int, slopes: tuple[int, ...]) -> TracedExpression:
    """A term's trace, once for equal functions."""
    if not slopes:
        return trace_function(function, arguments)
    return trace_function(lambda *values: [function(*values), *jax.grad(function, slopes)(*values)], arguments)


@dataclass(frozen=True)
class LikelihoodTerms:
    """What the likelihood is made of. `readings` are the sums of amounts that are read, each by the numbers of its
    compartments; a patient's own factors make observed quantities of them. `terms` take as many `parameters`."""

    readings: tuple[tuple[int, ...], ...]
    terms: tuple[LikelihoodTerm, ...]
    parameters: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data that some term takes."""
        return tuple(sorted({name for term in self.terms for name in term.columns}))


def column_buffer_name(name: str) -> str:
    """The name of a data column's buffer."""
    return f"data_{name}"


@cache
def unsupported_likelihood(likelihood: LikelihoodTerms) -> str:
    """Which operation of a likelihood no kernel has; "" when all can be compiled."""
    try:
        for term in likelihood.terms:
            term.trace(True)
    except UnsupportedOperation as e:
        return f"a likelihood uses `{e}`"
    return ""


@dataclass(frozen=True)
class LikelihoodProgram:
    """The program of a likelihood. `layout` is of a solution with events of each patient's own and the likelihood's readings;
    `window_adjoint` is its window's adjoint, without which there are no slopes.

    Arguments beside the layout's: the `factors` of the readings; the `parameters`; for each output `term_index`, which term it
    belongs to, from 1, or 0, and the columns. Results: `minus2ll`, a solution's checks, and cotangents of what is each
    patient's own, named after it (`cotangent_name`).
    """

    layout: SolutionLayout
    likelihood: LikelihoodTerms
    window_adjoint: WindowAdjoint | None

    @property
    def patient_arguments(self) -> tuple[Buffer, ...]:
        """Arguments that there are slopes in, beside the solution's."""
        factor = Buffer("factors", (len(self.likelihood.readings),))
        return (factor, *([Buffer("parameters", (self.likelihood.parameters,))] if self.likelihood.parameters else []))

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The layout's, factors and parameters, and a row of data for each output."""
        names = ("term_index", *map(column_buffer_name, self.likelihood.columns))
        columns = (Buffer(name, (self.layout.output_rows,)) for name in names)
        return (*self.layout.arguments, *self.patient_arguments, *columns)

    @property
    def results(self) -> tuple[Buffer, ...]:
        """The likelihood, the solution's checks and, with an adjoint, the slopes."""
        results = (Buffer("minus2ll", (1,)), *self.forward.checks)
        if self.window_adjoint is None:
            return results
        slopes = (Buffer(cotangent_name(b.name), b.shape) for b in self.patient_arguments)
        return (*results, *self.adjoint.results, *slopes)

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        """All buffers by name."""
        return {b.name: b for b in (*self.arguments, *self.results)}

    @property
    def forward(self) -> SolutionProgram:
        """The program of the solution."""
        return SolutionProgram(self.layout, self.window_adjoint is not None)

    @property
    def adjoint(self) -> SolutionAdjointProgram:
        """The program of the solution's cotangents."""
        assert self.window_adjoint is not None
        return SolutionAdjointProgram(self.layout, self.window_adjoint)

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it. What the solution keeps for its adjoint stays in scratch."""
        m: Any = ScratchResults(machine, self.layout.residuals if self.window_adjoint is not None else ())
        writer = _LikelihoodWriter(m, self)
        SolutionForward(m, self.forward, writer).run()
        if self.window_adjoint is not None:
            SolutionAdjoint(m, self.adjoint, _LikelihoodCotangents(writer)).run()
        for name, rows in writer.sums.items():
            for k in range(rows.count):
                m.write(self.buffer[name], k, rows.get(k))


class _LikelihoodWriter(OwnTimes):
    """Evaluates the likelihood where a solution alone would write its rows.

    `sums` over all of a patient's observations: −2 ln likelihood and its slopes in factors and parameters. `cotangents`: its
    slopes in the readings of every state."""

    def __init__(self, m: Any, program: LikelihoodProgram):
        super().__init__(m, program.layout, program.buffer)
        self.program, self.with_slopes = program, program.window_adjoint is not None
        self.sums = {"minus2ll": ScratchView(m, 1)}
        if self.with_slopes:
            self.sums |= {cotangent_name(b.name): ScratchView(m, b.shape[0]) for b in program.patient_arguments}
            self.cotangents = ScratchView(m, self.layout.state_count * self.layout.output_width)
            self.cotangents.clear()
        for rows in self.sums.values():
            rows.clear()
        likelihood = program.likelihood
        self.factors = [m.read(self.buffer["factors"], k) for k in range(len(likelihood.readings))]
        self.prepared = [self._prepare_term(term) for term in likelihood.terms]

    def _prepare_term(self, term: LikelihoodTerm) -> PreparedExpression:
        """A term's expression ready for all observations: parameters are known."""
        first = len(term.readings) + len(term.columns)
        known = {first + k: self.m.read(self.buffer["parameters"], p) for k, p in enumerate(term.parameters)}
        return prepare_expression(self.m, term.trace(self.with_slopes), known)

    def finish(self) -> None:
        """Evaluates all observations: their states are buffered."""
        self.m.loop(self.layout.output_rows, self._add_observation)

    def _add_observation(self, t: Index) -> list[Operand]:
        """Adds each patient's t-th observation to the sums, and its slopes to the cotangents of its state."""
        m, likelihood = self.m, self.program.likelihood
        sample, which = self.sample(self.state_amounts, t), m.read(self.buffer["term_index"], t)
        readings = [sample(k) for k in range(len(likelihood.readings))]
        bars: list[Operand] = [0.0] * len(readings)
        for number, (term, prepared) in enumerate(zip(likelihood.terms, self.prepared, strict=True), 1):
            # Above 0 where the observation is this term's. What the term makes of another's may be no number: not added.
            selected = 0.25 - (which - number) * (which - number)
            minus2ll, *slopes = self._evaluate_term(t, term, prepared, selected, readings)
            self.sums["minus2ll"].add(0, minus2ll)
            for k in term.readings:
                self.nonfinite.add(0, m.choose(selected, readings[k] * 0.0, 0.0))
            for k, slope in zip(term.readings, slopes, strict=False):
                bars[k] = bars[k] + slope
            for p, slope in zip(term.parameters, slopes[len(term.readings) :], strict=False):
                self.sums[cotangent_name("parameters")].add(p, slope)
        if self.with_slopes:
            first, below = locate_sample(m, self.layout, self.buffer, t)
            for k, (value, bar) in enumerate(zip(readings, bars, strict=True)):
                self.sums[cotangent_name("factors")].add(k, bar * value)
                of_state = self.cotangents.part(k)
                of_state.place(first, below, of_state.pick(first, below) + bar * self.factors[k])
        return []

    def _evaluate_term(
        self,
        t: Index,
        term: LikelihoodTerm,
        prepared: PreparedExpression,
        selected: Operand,
        readings: Sequence[Operand],
    ) -> Sequence[Operand]:
        """−2 ln likelihood and its slopes, 0 where the observation is not this term's."""
        m = self.m
        values = [readings[k] * self.factors[k] for k in term.readings]
        values += [m.read(self.buffer[column_buffer_name(name)], t) for name in term.columns]

        def evaluate(*_: Any) -> list[Operand]:
            (results,) = evaluate_expressions(m, [(prepared, dict(enumerate(values)))], common_division=False)
            return [selected, *(m.choose(selected, value, 0.0) for value in results)]

        if len(self.prepared) == 1:
            return evaluate()[1:]
        # A loop of at most one pass, and of none where no lane has an observation of this term: its work is saved.
        return m.repeat(1, evaluate, [selected, *[0.0] * len(prepared.results)], going=True)[1][1:]


class _LikelihoodCotangents:
    """The likelihood's slopes as cotangents of outputs. A reading is a sum of amounts: each of them has the sum's."""

    def __init__(self, writer: _LikelihoodWriter):
        self.cotangents, self.layout = writer.cotangents, writer.layout

    def collect_stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        """Hands over the cotangents of the amounts at a stop."""
        self._hand_over(stop + self.layout.initial_events, amount)

    def collect_initial(self, bars: ScratchView) -> None:
        """Adds those of the initial states."""
        for k in range(self.layout.initial_events):
            self._hand_over(k, bars.part(k * self.layout.size).add)

    def _hand_over(self, state: Index, amount: Write) -> None:
        """Hands over the cotangents of a state's amounts: each has those of the readings that it is a part of."""
        bars = self.cotangents.part(state * self.layout.output_width)
        for k, readings in self._readings_of.items():
            amount(k, sum((bars.get(r) for r in readings[1:]), bars.get(readings[0])))

    @cached_property
    def _readings_of(self) -> dict[int, list[int]]:
        """By compartment, the readings that it is a part of."""
        readings = self.layout.readings
        compartments = sorted({k for members in readings for k in members})
        return {k: [r for r, members in enumerate(readings) if k in members] for k in compartments}
