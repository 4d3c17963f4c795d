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
from pbpk.compile.programs.laws import TracedExpression, PreparedExpression, UnsupportedOperation, evaluate_expressions, prepare_expression, trace_function
from pbpk.compile.programs.outputs import OwnTimes, locate_sample
from pbpk.compile.programs.solution.adjoint import Back, JourneyBack
from pbpk.compile.programs.solution.forward import Journey, Traveller

if TYPE_CHECKING:
    from pbpk.compile.programs.linear.window_adjoint import Pulling
    from pbpk.compile.programs.rosenbrock.window_adjoint import Unmarch
    from pbpk.compile.programs.solution.layout import Plan


@dataclass(frozen=True)
class Term:
    """An endpoint: −2 ln likelihood of one observation, a `function` (compared by equality) of scalars or of arrays: of what
    is read, by the numbers of the readings, of columns of the data by name, and of parameters by their numbers."""

    function: Callable[..., Any]
    reads: tuple[int, ...]
    columns: tuple[str, ...]
    parameters: tuple[int, ...]

    @property
    def arguments(self) -> int:
        return len(self.reads) + len(self.columns) + len(self.parameters)

    def expression(self, sloping: bool) -> TracedExpression:
        """That, or that and its slopes in what is read and in the parameters. Raises `Unsupported`."""
        first = len(self.reads) + len(self.columns)
        slopes = (*range(len(self.reads)), *range(first, self.arguments)) if sloping else ()
        return _traced(self.function, self.arguments, slopes)


@cache
def _traced(function: Callable[..., Any], arguments: int, slopes: tuple[int, ...]) -> TracedExpression:
    if not slopes:
        return trace_function(function, arguments)
    return trace_function(lambda *values: [function(*values), *jax.grad(function, slopes)(*values)], arguments)


@dataclass(frozen=True)
class Judge:
    """`readings`: the sums of amounts that are read; a patient's own factors make what is observed of them. `terms` take so
    many `parameters`."""

    readings: tuple[tuple[int, ...], ...]
    terms: tuple[Term, ...]
    parameters: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the data, those that some term takes."""
        return tuple(sorted({name for term in self.terms for name in term.columns}))


def column(name: str) -> str:
    """The name of a column's buffer."""
    return f"data_{name}"


@cache
def unjudged(judge: Judge) -> str:
    """Which operation of a likelihood no kernel has; "" when all can be compiled."""
    try:
        for term in judge.terms:
            term.expression(True)
    except UnsupportedOperation as e:
        return f"a likelihood uses `{e}`"
    return ""


@dataclass(frozen=True)
class Likelihood:
    """`plan` is of a solution with events of each patient's own and the judge's readings; `back` is its leg's reverse, without
    which there are no slopes. Arguments beside the plan's: each reading's `factor`; the `parameters`; of each look `which`
    term judges it, from 1, or 0, and the columns. Results: `loss`, `judged` and `sound` as of a journey, and cotangents of
    what is each patient's own, named after it."""

    plan: Plan
    judge: Judge
    back: Pulling | Unmarch | None

    @property
    def own(self) -> tuple[Buffer, ...]:
        given = [Buffer("factor", (len(self.judge.readings),))]
        return (*given, *([Buffer("parameters", (self.judge.parameters,))] if self.judge.parameters else []))

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        columns = (Buffer(name, (self.plan.rows,)) for name in ("which", *map(column, self.judge.columns)))
        return (*self.plan.arguments, *self.own, *columns)

    @property
    def results(self) -> tuple[Buffer, ...]:
        found = [Buffer("loss", (1,)), *(b for b in self.journey.results if b.name in ("judged", "sound"))]
        if self.back is None:
            return tuple(found)
        return (*found, *self.journey_back.results, *(Buffer(f"of_{b.name}", b.shape) for b in self.own))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    @property
    def journey(self) -> Journey:
        return Journey(self.plan, self.back is not None)

    @property
    def journey_back(self) -> JourneyBack:
        assert self.back is not None
        return JourneyBack(self.plan, self.back)

    def run(self, machine: Machine) -> None:
        m: Any = Held(machine, self.plan.kept if self.back is not None else ())
        judging = _Judging(m, self)
        Traveller(m, self.journey, judging).travel()
        if self.back is not None:
            Back(m, self.journey_back, _Handing(judging)).travel()
        for name, room in judging.sums.items():
            for k in range(room.count):
                m.write(self.buffer[name], k, room.get(k))


class _Judging(OwnTimes):
    """`bars`: the loss's slopes in what was read at each place. `sums`, of all a patient's looks: the loss and its slopes in
    what they have in common."""

    def __init__(self, m: Any, likelihood: Likelihood):
        super().__init__(m, likelihood.plan, likelihood.buffer)
        self.likelihood, self.sloping = likelihood, likelihood.back is not None
        self.sums = {"loss": Rows(m, 1)}
        if self.sloping:
            self.sums |= {f"of_{b.name}": Rows(m, b.shape[0]) for b in likelihood.own}
            self.bars = Rows(m, self.plan.places * self.plan.shown)
            self.bars.clear()
        for room in self.sums.values():
            room.clear()
        judge = likelihood.judge
        self.factors = [m.read(self.buffer["factor"], k) for k in range(len(judge.readings))]
        self.prepared = [self._prepared(term) for term in judge.terms]

    def _prepared(self, term: Term) -> PreparedExpression:
        first = len(term.reads) + len(term.columns)
        known = {first + k: self.m.read(self.buffer["parameters"], p) for k, p in enumerate(term.parameters)}
        return prepare_expression(self.m, term.expression(self.sloping), known)

    def end(self) -> None:
        self.m.loop(self.plan.rows, self._judge)

    def _judge(self, t: Index) -> list[Operand]:
        m, judge = self.m, self.likelihood.judge
        look, which = self.sample(self.state_amounts, t), m.read(self.buffer["which"], t)
        read = [look(k) for k in range(len(judge.readings))]
        bars: list[Operand] = [0.0] * len(read)
        for number, (term, prepared) in enumerate(zip(judge.terms, self.prepared, strict=True), 1):
            # Above 0 where the observation is this term's. What another's makes of it may be no number, and is not added.
            mine = 0.25 - (which - number) * (which - number)
            loss, *slopes = self._asked(t, term, prepared, mine, read)
            self.sums["loss"].add(0, loss)
            for k in term.reads:
                self.nonfinite.add(0, m.choose(mine, read[k] * 0.0, 0.0))
            for k, slope in zip(term.reads, slopes, strict=False):
                bars[k] = bars[k] + slope
            for p, slope in zip(term.parameters, slopes[len(term.reads) :], strict=False):
                self.sums["of_parameters"].add(p, slope)
        if self.sloping:
            at, below = locate_sample(m, self.plan, self.buffer, t)
            for k, (value, bar) in enumerate(zip(read, bars, strict=True)):
                self.sums["of_factor"].add(k, bar * value)
                there = self.bars.part(k)
                there.place(at, below, there.pick(at, below) + bar * self.factors[k])
        return []

    def _asked(self, t: Index, term: Term, prepared: PreparedExpression, mine: Operand, read: list[Operand]) -> Sequence[Operand]:
        """The loss and its slopes, 0 where the observation is not this term's; no work where it is that of no lane."""
        m = self.m
        values = [read[k] * self.factors[k] for k in term.reads]
        values += [m.read(self.buffer[column(name)], t) for name in term.columns]

        def once(*_: Any) -> list[Operand]:
            (found,) = evaluate_expressions(m, [(prepared, dict(enumerate(values)))], common_division=False)
            return [mine, *(m.choose(mine, value, 0.0) for value in found)]

        if len(self.prepared) == 1:
            return once()[1:]
        return m.repeat(1, once, [mine, *[0.0] * len(prepared.results)], going=True)[1][1:]


class _Handing:
    """The loss's slopes as cotangents. What is read is a sum of amounts: each of them has the sum's."""

    def __init__(self, judging: _Judging):
        self.bars, self.plan = judging.bars, judging.plan

    def stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        self._hand(stop + self.plan.firsts, amount)

    def firsts(self, bars: Rows) -> None:
        for k in range(self.plan.firsts):
            self._hand(k, bars.part(k * self.plan.size).add)

    def _hand(self, place: Index, amount: Write) -> None:
        bars = self.bars.part(place * self.plan.shown)
        for k, readings in self._read_by.items():
            amount(k, sum((bars.get(r) for r in readings[1:]), bars.get(readings[0])))

    @cached_property
    def _read_by(self) -> dict[int, list[int]]:
        readings = self.plan.readings
        members = sorted({k for own in readings for k in own})
        return {k: [r for r, own in enumerate(readings) if k in own] for k in members}
