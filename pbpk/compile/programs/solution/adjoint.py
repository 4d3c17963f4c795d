"""The adjoint of a whole solution: from cotangents of outputs to those of everything that is each patient's own.

Segment by segment from the last: what later segments hand back, and the cotangents of outputs, go back through the closing
event, then through the window by its own adjoint program, `LinearWindowAdjoint` or `RosenbrockWindowAdjoint`, from the start
that the program forward has kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
from pbpk.compile.backend.redirected import Read, RedirectedBackend, ScratchView, Write, copy_rows
from pbpk.compile.programs.events import EventOps
from pbpk.compile.programs.outputs import OutputCotangents, OwnTimesAdjoint, SharedTimesAdjoint
from pbpk.compile.programs.solution.layout import SolutionLayout, cotangent_name, slice_stop_tables

if TYPE_CHECKING:
    from pbpk.compile.programs.linear.window_adjoint import LinearWindowAdjoint
    from pbpk.compile.programs.rosenbrock.window_adjoint import RosenbrockWindowAdjoint

    WindowAdjoint = LinearWindowAdjoint | RosenbrockWindowAdjoint

_FIXED = ("void_fraction",)  # amounts of events without derivatives; times have none either


@dataclass(frozen=True)
class SolutionAdjointProgram:
    """The program of a solution's cotangents; `window` is the adjoint of the layout's window.

    Arguments: those of the program forward, its residuals, and the cotangents of its outputs. Results are named after the
    arguments that they are cotangents of (`cotangent_name`); fractions that go elsewhere, and times, are taken as fixed.
    """

    layout: SolutionLayout
    window: WindowAdjoint

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """Of the program forward, what it kept, and cotangents of outputs."""
        names = ("amounts", "integral") if self.layout.integrals else ("amounts",)
        shape = (self.layout.output_rows, self.layout.size)
        cotangents = (Buffer(cotangent_name(name), shape) for name in names)
        return (*self.layout.arguments, *self.layout.residuals, *cotangents)

    @property
    def window_parameters(self) -> tuple[Buffer, ...]:
        """The window's arguments that are the same for all windows, and each patient's own."""
        return tuple(b for b in self.layout.window.parameters if not b.share)

    @property
    def results(self) -> tuple[Buffer, ...]:
        """Cotangents of what events do, and of the window's parameters."""
        differentiated = (*(b for b in self.layout.event_amounts if b.name not in _FIXED), *self.window_parameters)
        return tuple(Buffer(cotangent_name(b.name), b.shape) for b in differentiated)

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        """All buffers by name."""
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it."""
        SolutionAdjoint(machine, self).run()


class SolutionAdjoint:
    """One run of the program. `outputs` gives the cotangents of every state: those of the results, if nothing else is given.

    Scratch for cotangents: `x` of the amounts after an event and `inflow` of the inflows, with a place for what goes nowhere;
    `window_amounts` and `window_integrals` of what the window gives; `integral` of the integral so far; `reset_state` and
    `production` of what resets set; `window_parameters` of what all windows share."""

    def __init__(self, m: Backend, program: SolutionAdjointProgram, outputs: OutputCotangents | None = None):
        self.m, self.program, self.layout, self.buffer = m, program, program.layout, program.buffer
        layout, n = self.layout, self.layout.size
        self.x, self.reset_state, self.window_amounts = (
            ScratchView(m, n + 1),
            ScratchView(m, n),
            ScratchView(m, layout.stops * n),
        )
        self.inflow, self.production, self.window_integrals, self.integral = None, None, None, None
        if layout.has_inflow:
            self.inflow, self.production = ScratchView(m, n + 1), ScratchView(m, n)
        if layout.integrals:
            self.window_integrals, self.integral = ScratchView(m, layout.stops * n), ScratchView(m, n)
        self.window_parameters = {b.name: ScratchView(m, b.shape[0]) for b in program.window_parameters}
        self.edges = ScratchView(m, layout.stops + 1) if layout.has_memory else None
        self.outputs = outputs or (OwnTimesAdjoint if layout.per_patient else SharedTimesAdjoint)(
            m, layout, self.buffer
        )

    def run(self) -> None:
        """Writes the program, or runs it."""
        m, layout, n = self.m, self.layout, self.layout.size
        state = (self.x, self.reset_state, self.inflow, self.production, self.integral)
        for scratch in (*state, *self.window_parameters.values()):
            if scratch is not None:
                scratch.clear()
        m.loop(layout.segments, lambda i: self._pull_segment(i * -1 + (layout.segments - 1)))
        initial_states = ScratchView(m, layout.initial_events * n)
        initial_states.clear()
        copy_rows(m, n, initial_states.part((layout.initial_events - 1) * n).put, self.x.get)
        self.outputs.collect_initial(initial_states)
        self._write("initial_states", initial_states.get)
        if layout.has_reset:
            self._write("reset_state", self.reset_state.get)
        if self.inflow is not None and self.production is not None:
            inflow, production = self.inflow, self.production
            if layout.has_infusions:
                self._write("initial_inflow", inflow.get)
            self._write("production", lambda k: production.get(k) + inflow.get(k))
        for name, scratch in self.window_parameters.items():
            self._write(name, scratch.get)

    def _write(self, name: str, bars: Read) -> None:
        """Writes the cotangents of an argument."""
        result = self.buffer[cotangent_name(name)]
        copy_rows(self.m, prod(result.shape), lambda k, bar: self.m.write(result, k, bar), bars)

    def _pull_segment(self, g: Index) -> list[Operand]:
        """From the cotangents after a segment's event to those at its window's start."""
        m, layout, n = self.m, self.layout, self.layout.size
        self.window_amounts.clear()
        last = (layout.stops - 1) * n
        integral, areas = self.integral, self.window_integrals
        stop = g * layout.stops + (layout.stops - 1)
        self.outputs.collect_stop(stop, self.x.add, None if integral is None else integral.add)
        events = EventOps(m, layout, self.buffer, g)
        events.event_adjoint(self.x, self.reset_state, self.inflow, self.production)
        copy_rows(m, n, self.window_amounts.part(last).put, self.x.get)
        if integral is not None and areas is not None:
            areas.clear()
            copy_rows(m, n, areas.part(last).put, integral.get)

        def area_writer(t: Index) -> Write | None:
            """The integral at a stop is the window's and what was before: both have its cotangents."""
            if integral is None or areas is None:
                return None

            before, within = integral, areas.part(t * n)

            def add(k: Index, bar: Operand) -> None:
                within.put(k, bar)
                before.add(k, bar)

            return add

        def collect(t: Index) -> list[Operand]:
            self.outputs.collect_stop(g * layout.stops + t, self.window_amounts.part(t * n).put, area_writer(t))
            return []

        if layout.stops > 1:
            m.loop(layout.stops - 1, collect)
        self.program.window.run(self._window_machine(g))
        return []

    def _window_machine(self, g: Index) -> Any:
        """The machine that the window's adjoint runs on: its buffers are the solution's scratch, residuals and tables."""
        m, layout, n = self.m, self.layout, self.layout.size
        reads, writes = slice_stop_tables(m, layout, self.buffer, g), {}
        count = layout.stops * n if layout.has_memory else n
        starts = m.part(self.buffer["window_starts"], g * count, (count,))
        reads["starts" if layout.has_memory else "start"] = starts
        if layout.has_infusions:
            reads["inflow"] = m.part(self.buffer["window_inflows"], g * n, (n,))
        elif layout.has_inflow:
            reads["inflow"] = self.buffer["production"]
        reads["of_amounts"], writes["of_start"] = self.window_amounts.get, self.x.put
        if self.window_integrals is not None:
            reads["of_integral"] = self.window_integrals.get
        for name, bar in self.window_parameters.items():
            writes[cotangent_name(name)] = bar.add
        inflow = self.inflow
        if not layout.has_memory:
            if inflow is not None:
                writes["of_inflow"] = inflow.add
            return RedirectedBackend(m, reads, writes)
        assert self.edges is not None
        edges = layout.stops + 1
        reads["step_memory"] = m.part(self.buffer["step_memories"], g * 2, (2,))
        reads["step_lengths"] = m.part(self.buffer["step_lengths"], g * edges, (edges,))
        reads["of_edges"], writes["of_edges"] = self.edges.get, self.edges.put
        if inflow is not None:
            of_constant = self.window_parameters["constant"]

            def add_both(k: Index, bar: Operand) -> None:
                """What flows in is added to what flows at zero amounts: their cotangents are the same."""
                of_constant.add(k, bar)
                inflow.add(k, bar)

            writes["of_constant"] = add_both
        return RedirectedBackend(m, reads, writes)
