"""A whole solution as one program: windows one after another, and the events between them.

A window is crossed by the program that crosses it alone, `LinearWindowForward` or `RosenbrockWindow`, which here starts from
where the last one ended: its buffers are redirected (redirected.py). Events are events.py's, outputs outputs.py's. When and
where something happens may be the same for all patients or each patient's own; how much of it always is each patient's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
from pbpk.compile.backend.redirected import Read, RedirectedBackend, ScratchView, Write, copy_rows
from pbpk.compile.programs.events import EventOps
from pbpk.compile.programs.outputs import OutputWriter, OwnTimes, SharedTimes, read_zero
from pbpk.compile.programs.solution.layout import SolutionLayout, StopColumn, read_cell, slice_stop_tables


@dataclass(frozen=True)
class SolutionProgram:
    """The program of a whole solution; with `keeps_residuals` it writes what the adjoint (adjoint.py) needs, too.

    Results: `amounts` and `integral`, from the first event on, (rows, n or readings); of each of the window's `diagnostics`
    the largest over all windows, (1,); and `nonfinite` (1,), 0 where all that was written is finite, else NaN.
    """

    layout: SolutionLayout
    keeps_residuals: bool

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The layout's."""
        return self.layout.arguments

    @property
    def results(self) -> tuple[Buffer, ...]:
        """Outputs, checks and, where they are kept, residuals."""
        shape = (self.layout.output_rows, self.layout.output_width)
        outputs = [Buffer("amounts", shape), *([Buffer("integral", shape)] if self.layout.integrals else [])]
        return (*outputs, *self.checks, *(self.layout.residuals if self.keeps_residuals else ()))

    @property
    def checks(self) -> tuple[Buffer, ...]:
        """The results that tell whether the outputs are any good."""
        return *(Buffer(name, (1,)) for name in self.layout.window.diagnostics), Buffer("nonfinite", (1,))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        """All buffers by name."""
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it."""
        SolutionForward(machine, self).run()


class SolutionForward:
    """One run of the program. `outputs` takes every state as it is reached: rows of the results, if nothing else is given.

    Scratch: `x` amounts and `inflow` inflows, with a place for what goes nowhere; `last_amounts` and `last_integrals` of the
    window at its last stop; `integral` so far. A window without memory gives its stops in any order, to `window_amounts` and
    `window_integrals`; one with memory hands over each stop when it reaches it."""

    def __init__(self, m: Backend, program: SolutionProgram, outputs: OutputWriter | None = None):
        self.m, self.program, self.layout, self.buffer = m, program, program.layout, program.buffer
        layout, n = self.layout, self.layout.size
        self.x = ScratchView(m, n + 1)
        self.outputs = outputs or (OwnTimes if layout.per_patient else SharedTimes)(m, layout, self.buffer)
        self.inflow = ScratchView(m, n + 1) if layout.has_infusions else None
        self.window_integrals, self.integral = None, ScratchView(m, n) if layout.integrals else None
        sums_readings = layout.window.sums_readings
        if layout.has_memory or sums_readings:
            self.last_amounts, self.last_integrals = ScratchView(m, n), ScratchView(m, n) if layout.integrals else None
        if not layout.has_memory:
            count = layout.stops * (layout.output_width if sums_readings else n)
            self.window_amounts, self.window_integrals = (
                ScratchView(m, count),
                ScratchView(m, count) if layout.integrals else None,
            )
        if not layout.has_memory and not sums_readings:
            last = (layout.stops - 1) * n
            self.last_amounts = self.window_amounts.part(last)
            self.last_integrals = None if self.window_integrals is None else self.window_integrals.part(last)
        self.diagnostics = ScratchView(m, len(layout.window.diagnostics))
        self.step_lengths, self.step_memory = None, None
        if layout.has_memory:
            self.step_lengths, self.step_memory = ScratchView(m, layout.stops + 1), ScratchView(m, 2)

    def run(self) -> None:
        """Writes the program, or runs it."""
        m, layout, n = self.m, self.layout, self.layout.size
        states, initial = self.buffer["initial_states"], self.buffer.get("initial_inflow")
        copy_rows(m, n, self.x.put, lambda k: m.read(states, k + (layout.initial_events - 1) * n))
        if self.inflow is not None and initial is not None:
            production = self.buffer["production"]
            copy_rows(m, n, self.inflow.put, lambda k: m.read(production, k) + m.read(initial, k))
        for scratch in (self.integral, self.diagnostics, self.step_memory):
            if scratch is not None:
                scratch.clear()
        self.outputs.write_initial()
        m.loop(layout.segments, self._run_segment)
        self.outputs.finish()
        for k, name in enumerate(layout.window.diagnostics):
            m.write(self.buffer[name], 0, self.diagnostics.get(k))
        m.write(self.buffer["nonfinite"], 0, self.outputs.nonfinite.get(0))

    def _run_segment(self, g: Index) -> list[Operand]:
        """Crosses a window, applies the event that closes it, and takes the outputs."""
        m, layout, n = self.m, self.layout, self.layout.size
        if self.step_memory is not None:
            restart = m.read(self.buffer["restart"], g)
            for k in range(2):
                self.step_memory.put(k, m.choose(restart, 0.0, self.step_memory.get(k)))
        self._keep_start(g)
        layout.window.run(self._window_machine(g))
        if self.step_memory is not None and self.step_lengths is not None:
            edges = m.part(self.buffer["edges"], g * (layout.stops + 1), (layout.stops + 1,))
            self.step_memory.put(0, self.step_lengths.get(layout.stops))
            self.step_memory.put(1, self.step_memory.get(1) + m.read(edges, layout.stops))
            self._keep_step_lengths(g)
        EventOps(m, layout, self.buffer, g).apply_event(self.x, self.last_amounts, self.inflow)
        if not layout.has_memory and layout.stops > 1:
            m.loop(layout.stops - 1, lambda t: self._write_stop(g, t))
        # An output at the time of the event is of the state after it.
        stop = g * layout.stops + (layout.stops - 1)
        area = None if self.last_integrals is None else self.last_integrals.get
        self.outputs.write_stop(stop, layout.sum_readings(self.x.get), self._integral_so_far(area, False))
        if self.integral is not None and area is not None:
            copy_rows(m, n, self.integral.add, area)
        if layout.readings:  # what is in no reading must be finite too
            copy_rows(m, n, lambda k, value: self.outputs.nonfinite.add(0, value * 0.0), self.x.get)
        return []

    def _write_stop(self, g: Index, t: Index) -> list[Operand]:
        """Takes the outputs at a stop of a window that has been crossed."""
        layout, summed = self.layout, self.layout.window.sums_readings
        stop, first = g * layout.stops + t, t * (layout.output_width if summed else layout.size)
        amount = self.window_amounts.part(first).get
        area = None if self.window_integrals is None else self.window_integrals.part(first).get
        amount = amount if summed else layout.sum_readings(amount)
        self.outputs.write_stop(stop, amount, self._integral_so_far(area, summed))
        return []

    def _receive_stop(self, g: Index, t: Index, amount: Read, area: Read | None = None) -> None:
        """Takes a stop of a window that is being crossed. The last one is no output yet, as the closing event follows."""
        m, layout, n = self.m, self.layout, self.layout.size
        stop, table = g * layout.stops + t, self.buffer["stop_outputs"]
        copy_rows(m, n, self.last_amounts.put, amount)
        if area is not None and self.last_integrals is not None:
            copy_rows(m, n, self.last_integrals.put, area)

        def take(_: Index) -> list[Operand]:
            if self.program.keeps_residuals:
                following = read_cell(m, table, stop, StopColumn.NEXT_STOP, layout.stops)
                copy_rows(m, n, self._residual_writer("window_starts", (g * layout.stops + following) * n, n), amount)
            self.outputs.write_stop(stop, layout.sum_readings(amount), self._integral_so_far(area, False))
            return []

        m.repeat(read_cell(m, table, stop, StopColumn.HAS_NEXT, 2), take, [])

    def _integral_so_far(self, area: Read | None, summed: bool) -> Read:
        """The integral of what is output from the first event on, from the window's: of readings if `summed`, or of all
        amounts."""
        if self.integral is None or area is None:
            return read_zero
        sum_readings = self.layout.sum_readings
        before, within = sum_readings(self.integral.get), area if summed else sum_readings(area)
        return lambda k: before(k) + within(k)

    def _window_machine(self, g: Index) -> Any:
        """The machine that a window's program runs on: its buffers are the solution's scratch and tables."""
        m, writes = self.m, {}
        reads = slice_stop_tables(m, self.layout, self.buffer, g)
        reads["start"] = self.x.get
        if self.layout.has_inflow:
            reads["inflow"] = self.buffer["production"] if self.inflow is None else self.inflow.get
        for k, name in enumerate(self.layout.window.diagnostics):
            writes[name] = partial(self._keep_largest, k)
        if self.step_memory is None or self.step_lengths is None:
            writes |= {"amounts": self.window_amounts.put, "last_amounts": self.last_amounts.put}
            if self.window_integrals is not None and self.last_integrals is not None:
                writes |= {"integral": self.window_integrals.put, "last_integral": self.last_integrals.put}
            return RedirectedBackend(m, reads, writes)
        reads["step_memory"], writes["step_lengths"] = self.step_memory.get, self.step_lengths.put
        return RedirectedBackend(m, reads, writes, partial(self._receive_stop, g))

    def _keep_largest(self, k: int, _: Index, value: Operand) -> None:
        """Keeps the largest of a diagnostic over all windows."""
        self.diagnostics.put(k, self.m.larger(self.diagnostics.get(k), value))

    def _keep_start(self, g: Index) -> None:
        """Keeps what the adjoint of a window starts from."""
        if not self.program.keeps_residuals:
            return
        m, layout, n = self.m, self.layout, self.layout.size
        count = layout.stops * n if layout.has_memory else n
        copy_rows(m, n, self._residual_writer("window_starts", g * count, n), self.x.get)
        if self.inflow is not None:
            copy_rows(m, n, self._residual_writer("window_inflows", g * n, n), self.inflow.get)
        if self.step_memory is not None:
            copy_rows(m, 2, self._residual_writer("step_memories", g * 2, 2), self.step_memory.get)

    def _keep_step_lengths(self, g: Index) -> None:
        """Keeps the steps' lengths that the adjoint begins with."""
        if self.program.keeps_residuals and self.step_lengths is not None:
            edges = self.layout.stops + 1
            copy_rows(self.m, edges, self._residual_writer("step_lengths", g * edges, edges), self.step_lengths.get)

    def _residual_writer(self, name: str, first: Index, count: int) -> Write:
        """Writes rows of a residual from `first` on, past the caches: nothing reads them before the adjoint."""
        rows = self.m.part(self.buffer[name], first, (max(count, 1),))
        return lambda k, value: self.m.stream(rows, k, [value])
