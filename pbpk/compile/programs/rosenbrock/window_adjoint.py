"""The adjoint of a window of Rosenbrock steps. Each interval between stops is stepped through again, recording where every
step began, its stages and its length, and then gone back through, the last interval first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pbpk.compile.backend.base import Backend, Buffer, Operand
from pbpk.compile.programs.loops import for_each
from pbpk.compile.programs.rosenbrock.step_adjoint import StepAdjoint, WindowCotangents, add_to, collect_rows
from pbpk.compile.programs.rosenbrock.window import RosenbrockWindow, Stepper, StepState


@dataclass(frozen=True)
class RosenbrockWindowAdjoint:
    """The program of the cotangents of a window's program, `forward`. `starts` are the amounts at each edge but the last, and
    `step_lengths` the steps' there. A patient who needs more steps for one interval than can be recorded gets NaN."""

    forward: RosenbrockWindow

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """What the forward program took and gave, and cotangents of amounts and integrals."""
        w = self.forward
        of_amounts = Buffer("of_amounts", (w.stops, w.size))
        of_integral = [Buffer("of_integral", of_amounts.shape)] if w.integrals else []
        starts, lengths = Buffer("starts", of_amounts.shape), Buffer("step_lengths", (w.stops + 1,))
        return (starts, *w.common_arguments, lengths, of_amounts, *of_integral)

    @property
    def results(self) -> tuple[Buffer, ...]:
        """Cotangents of the start, of the field's parameters and of the edges; an inflow's are those of `constant`."""
        w = self.forward
        of_parameters = (Buffer(f"of_{b.name}", b.shape) for b in w.field_parameters)
        return (Buffer("of_start", (w.size,)), *of_parameters, Buffer("of_edges", (w.stops + 1,)))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        """All buffers by name."""
        return {b.name: b for b in (*self.arguments, *self.results)}

    @property
    def size(self) -> int:
        """Number of compartments."""
        return self.forward.size

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it."""
        window_adjoint(machine, self)


def window_adjoint(m: Backend, w: RosenbrockWindowAdjoint) -> None:
    """From cotangents of amounts and integrals at the stops to those of all that the window started from."""
    n, method, buffer, stops = w.size, w.forward.method, w.buffer, w.forward.stops
    stepper = Stepper(m, w, method, buffer, False, records=method.recorded_steps)
    step, records = stepper.step, method.recorded_steps
    record_size, fractions = (step.stages + 1) * n, m.scratch(records)
    bars = WindowCotangents(m, stepper.right_hand_side, method.integrals)
    step_adjoint = StepAdjoint(m, step, bars)

    def pull_interval(i: Any, later: Operand, lost: Operand) -> list[Operand]:
        """Interval stops − 1 − i; `later` is the cotangent of the hours of the interval after it."""
        number = i * -1 + (stops - 1)
        step.base = 0
        for k in range(n):
            m.put(step.scratch, k, m.read(buffer["starts"], number * n + k))
        begin, end = (m.read(buffer["edges"], number + k) for k in (0, 1))
        hours, since = end - begin, m.read(buffer["step_memory"], 1) + m.fixed(begin)
        interval = stepper.start_interval(hours, since)

        def record(at: Any, *before: Operand) -> list[Operand]:
            step.base, stepper.target = at * record_size, at * record_size + record_size
            after, passed, _ = stepper.try_step(interval, StepState(*before))
            m.put(fractions, at, passed)

            def keep(k: Any) -> None:  # of a step refused, nothing: it may be no number
                stage = step.stage_slot(0) + k
                m.put(step.scratch, stage, m.choose(passed, m.get(step.scratch, stage), 0.0))

            if method.grid is None:
                for_each(m, record_size - n, keep)
            return list(after)

        start = stepper.start_state(interval, m.read(buffer["step_lengths"], number), since)
        count, state = m.repeat(min(records, stepper.max_tries), record, list(start), going=True)
        lost = m.larger(lost, m.choose(StepState(*state).going, 1.0, 0.0))
        for k in range(n):
            add_to(m, bars.x, k, m.read(buffer["of_amounts"], number * n + k))
            if bars.integral is not None:
                add_to(m, bars.integral, k, m.read(buffer["of_integral"], number * n + k))

        def pull(j: Any, of_hours: Operand) -> list[Operand]:
            at = count + j * -1 + -1
            fraction = m.peek(fractions, at)
            step.base = at * record_size
            return [of_hours + fraction * step_adjoint.pull_step(fraction, fraction * hours)]

        _, (of_hours,) = m.repeat(count, pull, [0.0])
        # Each stop ends one interval and begins the next.
        m.write(buffer["of_edges"], number + 1, of_hours - later)
        return [of_hours, lost]

    later, lost = m.loop(stops, pull_interval, [0.0, m.fixed(0.0)])

    def mark_lost(value: Operand) -> Operand:
        """More steps than could be recorded: no number is better than a wrong one."""
        return m.choose(lost, float("nan"), 1.0) * value

    m.write(buffer["of_edges"], 0, mark_lost(-later))
    for k in range(1, stops + 1):
        m.write(buffer["of_edges"], k, mark_lost(m.read(buffer["of_edges"], k)))
    for k in range(n):
        m.write(buffer["of_start"], k, mark_lost(m.get(bars.x, k)))
    rows = collect_rows(bars, mark_lost)
    for b in w.forward.field_parameters:
        values = dict(rows[b.name])
        for row in range(b.shape[0]):
            m.write(buffer[f"of_{b.name}"], row, values.get(row, 0.0))
