"""A whole solution as one program: windows one after another, and the events between them.

A window (a *leg*) is crossed by the program that crosses it alone, `Crossing` or `March`, which here starts from where the
last one ended (redirected.py). What happens in between is events.py's, who sees what is outputs.py's. When and where something
happens may be the same for all or each patient's own; how much of it is his own always.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
from pbpk.compile.backend.redirected import Read, Rows, Within, Write, copy
from pbpk.compile.programs.events import EventOps
from pbpk.compile.programs.outputs import OutputWriter, OwnTimes, SharedTimes, read_zero
from pbpk.compile.programs.solution.layout import SolutionLayout, slice_stop_tables


@dataclass(frozen=True)
class SolutionProgram:
    """The program forward. `keeps` for the way back (adjoint.py) too. Results: amounts and integrals from the first
    event on, (rows, n); the largest `error` of the legs, or all their `code`s; and `sound`, 0 where all that was
    written is finite, else no number."""

    layout: SolutionLayout
    keeps_residuals: bool

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return self.layout.arguments

    @property
    def results(self) -> tuple[Buffer, ...]:
        seen = (self.layout.output_rows, self.layout.output_width)
        found = [Buffer("amounts", seen), *([Buffer("integral", seen)] if self.layout.integrals else [])]
        found += [Buffer("judged", (2 if self.layout.has_memory else 1,)), Buffer("sound", (1,))]
        return (*found, *(self.layout.residuals if self.keeps_residuals else ()))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Machine) -> None:
        SolutionForward(machine, self).run()


class SolutionForward:
    """`seen` takes what is there at every place: rows of the results, if nothing else (outputs.py).

    Rooms: `x` amounts, with a place for what goes outside; `flow` inflows likewise; `last` and `last_areas` of the leg at
    its last stop; `total` the integral so far; `sound`, see there. A leg that gives its stops in any order does so to `after`
    and `areas`; from one that arrives at one after another, each is seen when it does."""

    def __init__(self, m: Machine, journey: SolutionProgram, seen: OutputWriter | None = None):
        self.m, self.program, self.layout, self.buffer = m, journey, journey.layout, journey.buffer
        plan, n = self.layout, self.layout.size
        self.x = Rows(m, n + 1)
        self.outputs = seen or (OwnTimes if plan.per_patient else SharedTimes)(m, plan, self.buffer)
        self.inflow = Rows(m, n + 1) if plan.has_infusions else None
        self.window_integrals, self.integral = None, Rows(m, n) if plan.integrals else None
        if plan.has_memory or plan.window_sums_readings:
            self.last_amounts, self.last_integrals = Rows(m, n), Rows(m, n) if plan.integrals else None
        if not plan.has_memory:
            wide = plan.stops * (plan.output_width if plan.window_sums_readings else n)
            self.window_amounts, self.window_integrals = Rows(m, wide), Rows(m, wide) if plan.integrals else None
        if not plan.has_memory and not plan.window_sums_readings:
            self.last_amounts = self.window_amounts.part((plan.stops - 1) * n)
            self.last_integrals = None if self.window_integrals is None else self.window_integrals.part((plan.stops - 1) * n)
        self.quality = Rows(m, 2 if plan.has_memory else 1)
        self.step_lengths, self.step_memory = (Rows(m, plan.stops + 1), Rows(m, 2)) if plan.has_memory else (None, None)

    def run(self) -> None:
        m, plan, n = self.m, self.layout, self.layout.size
        first, inflow = self.buffer["firsts"], self.buffer.get("inflow")
        copy(m, n, self.x.put, lambda k: m.read(first, k + (plan.initial_events - 1) * n))
        if self.inflow is not None and inflow is not None:
            base = self.buffer["base"]
            copy(m, n, self.inflow.put, lambda k: m.read(base, k) + m.read(inflow, k))
        for room in (self.integral, self.quality, self.step_memory):
            if room is not None:
                room.clear()
        self.outputs.write_initial()
        m.loop(plan.segments, self._solve_segment)
        self.outputs.finish()
        for k in range(self.quality.count):
            m.write(self.buffer["judged"], k, self.quality.get(k))
        m.write(self.buffer["sound"], 0, self.outputs.nonfinite.get(0))

    def _solve_segment(self, g: Index) -> list[Operand]:
        m, plan, n = self.m, self.layout, self.layout.size
        if self.step_memory is not None:
            fresh = m.read(self.buffer["fresh"], g)
            for k in range(2):
                self.step_memory.put(k, m.choose(fresh, 0.0, self.step_memory.get(k)))
        self._keep_start(g)
        plan.window.run(self._window_backend(g))
        if self.step_memory is not None and self.step_lengths is not None:
            edges = m.part(self.buffer["edges"], g * (plan.stops + 1), (plan.stops + 1,))
            self.step_memory.put(0, self.step_lengths.get(plan.stops))
            self.step_memory.put(1, self.step_memory.get(1) + m.read(edges, plan.stops))
            self._keep_step_lengths(g)
        EventOps(m, plan, self.buffer, g).apply_event(self.x, self.last_amounts, self.inflow)
        if not plan.has_memory and plan.stops > 1:
            m.loop(plan.stops - 1, lambda t: self._write_stop(g, t))
        place = g * plan.stops + (plan.stops - 1)
        area = None if self.last_integrals is None else self.last_integrals.get
        self.outputs.write_stop(place, plan.sum_readings(self.x.get), self._integral_so_far(area, False))
        if self.integral is not None and area is not None:
            copy(m, n, self.integral.add, area)
        if plan.readings:  # what is not shown counts too
            copy(m, n, lambda k, value: self.outputs.nonfinite.add(0, value * 0.0), self.x.get)
        return []

    def _write_stop(self, g: Index, t: Index) -> list[Operand]:
        """A stop of a leg that has been crossed."""
        plan = self.layout
        place, shown = g * plan.stops + t, plan.output_width if plan.window_sums_readings else plan.size
        amount, area = (None if room is None else room.part(t * shown).get for room in (self.window_amounts, self.window_integrals))
        assert amount is not None
        self.outputs.write_stop(place, amount if plan.window_sums_readings else plan.sum_readings(amount), self._integral_so_far(area, plan.window_sums_readings))
        return []

    def _receive_stop(self, g: Index, t: Index, amount: Read, area: Read | None = None) -> None:
        """A stop of a leg that is being crossed: the last one is not seen yet, as the closing event follows."""
        m, plan, n = self.m, self.layout, self.layout.size
        place = g * plan.stops + t
        copy(m, n, self.last_amounts.put, amount)
        if area is not None and self.last_integrals is not None:
            copy(m, n, self.last_integrals.put, area)

        def between(_: Index) -> list[Operand]:
            if self.program.keeps_residuals:
                following = m.whole(self.buffer["row"], place * 4 + 3, plan.stops)
                copy(m, n, self._residual_writer("starts", (g * plan.stops + following) * n, n), amount)
            self.outputs.write_stop(place, plan.sum_readings(amount), self._integral_so_far(area, False))
            return []

        m.repeat(m.whole(self.buffer["row"], place * 4 + 2, 2), between, [])

    def _integral_so_far(self, area: Read | None, summed: bool) -> Read:
        """The integral from the first event on, of what is shown, from the leg's: of that, or of all amounts."""
        if self.integral is None or area is None:
            return read_zero
        read = self.layout.sum_readings
        total, own = read(self.integral.get), area if summed else read(area)
        return lambda k: total(k) + own(k)

    def _window_backend(self, g: Index) -> Any:
        """The machine that a leg runs on."""
        reads, writes = slice_stop_tables(self.m, self.layout, self.buffer, g), {}
        reads["start"] = self.x.get
        if self.layout.inflow:
            reads[self.layout.inflow] = self.buffer["base"] if self.inflow is None else self.inflow.get
        if self.step_memory is None or self.step_lengths is None:
            writes |= {"amounts": self.window_amounts.put, "last_amounts": self.last_amounts.put}
            if self.window_integrals is not None and self.last_integrals is not None:
                writes |= {"integral": self.window_integrals.put, "last_integral": self.last_integrals.put}
            writes["error"] = lambda _, error: self.quality.put(0, self.m.larger(self.quality.get(0), error))
            return Within(self.m, reads, writes)
        reads["memory"], writes["lengths"], writes["code"] = self.step_memory.get, self.step_lengths.put, self._judge
        return Within(self.m, reads, writes, partial(self._receive_stop, g))

    def _judge(self, _: Index, code: Operand) -> None:
        """A leg's code is 4, 64 or both: told apart by 64, kept as the largest of either."""
        m = self.m
        inaccurate = m.compare(code, 63.0, 64.0, 0.0)
        for k, flag in enumerate((code - inaccurate, inaccurate)):
            self.quality.put(k, m.larger(self.quality.get(k), flag))

    def _keep_start(self, g: Index) -> None:
        if not self.program.keeps_residuals:
            return
        m, plan, n = self.m, self.layout, self.layout.size
        count = plan.stops * n if plan.has_memory else n
        copy(m, n, self._residual_writer("starts", g * count, n), self.x.get)
        if self.inflow is not None:
            copy(m, n, self._residual_writer("flows", g * n, n), self.inflow.get)
        if self.step_memory is not None:
            copy(m, 2, self._residual_writer("memories", g * 2, 2), self.step_memory.get)

    def _keep_step_lengths(self, g: Index) -> None:
        if self.program.keeps_residuals and self.step_lengths is not None:
            edges = self.layout.stops + 1
            copy(self.m, edges, self._residual_writer("lengths", g * edges, edges), self.step_lengths.get)

    def _residual_writer(self, name: str, first: Index, count: int) -> Write:
        """Rows of a result from `first` on."""
        rows = self.m.part(self.buffer[name], first, (max(count, 1),))
        return lambda k, value: self.m.stream(rows, k, [value])
