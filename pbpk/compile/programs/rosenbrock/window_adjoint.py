"""The reverse of a window of Rosenbrock steps: each gap between stops is marched again, recording where every step began, its
stages and its length, and then gone back through, the last gap first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pbpk.compile.backend.base import Buffer, Machine, Operand
from pbpk.compile.programs.rosenbrock.right_hand_side import lay_out_fluxes
from pbpk.compile.programs.rosenbrock.step import for_each
from pbpk.compile.programs.rosenbrock.step_adjoint import StepAdjoint, WindowCotangents, add_to, collect_rows
from pbpk.compile.programs.rosenbrock.window import RosenbrockWindow, Stepper, StepState


@dataclass(frozen=True)
class RosenbrockWindowAdjoint:
    """The program of a March's cotangents. `starts` are the amounts at each edge but the last, and `lengths` the steps'
    there; a patient who needs more steps for one gap than there is room for gets no numbers."""

    forward: RosenbrockWindow

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        w = self.forward
        seen = Buffer("of_amounts", (w.stops, w.size))
        integral = [Buffer("of_integral", seen.shape)] if w.method.integrals else []
        return (Buffer("starts", seen.shape), *w.common_arguments, Buffer("lengths", (w.stops + 1,)), seen, *integral)

    @property
    def results(self) -> tuple[Buffer, ...]:
        w, n = self.forward, self.forward.size
        rows = len(lay_out_fluxes(w.method.field).parameter_rows)
        found = [Buffer("of_start", (n,)), Buffer("of_linear", (w.method.field.elimination.nonzeros,))]
        found += [Buffer("of_constant", (n,)), *([Buffer("of_given", (rows,))] if rows else [])]
        return (*found, Buffer("of_edges", (w.stops + 1,)))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    @property
    def size(self) -> int:
        return self.forward.size

    def run(self, machine: Machine) -> None:
        window_adjoint(machine, self)


def window_adjoint(m: Machine, w: RosenbrockWindowAdjoint) -> None:
    n, method, buffer, stops = w.size, w.forward.method, w.buffer, w.forward.stops
    stepper = Stepper(m, w, method, buffer, False, records=method.recorded_steps)
    flow, step, recorded_steps = stepper.right_hand_side, stepper.step, method.recorded_steps
    record_size, fractions = (step.stages + 1) * n, m.scratch(recorded_steps)
    cotangents = WindowCotangents(m, flow, method.integrals)
    step_adjoint = StepAdjoint(m, step, cotangents)

    def pull_interval(i: Any, later: Operand, lost: Operand) -> list[Operand]:
        """Gap stops − 1 − i; `later` is the cotangent of the hours of the gap after it."""
        number = i * -1 + (stops - 1)
        step.base = 0
        for k in range(n):
            m.put(step.scratch, k, m.read(buffer["starts"], number * n + k))
        before, after = (m.read(buffer["edges"], number + k) for k in (0, 1))
        hours, since = after - before, m.read(buffer["memory"], 1) + m.fixed(before)
        interval = stepper.start_interval(hours, since)

        def once(at: Any, *here: Operand) -> list[Operand]:
            step.base, stepper.target = at * record_size, at * record_size + record_size
            stand, passed, _ = stepper.try_step(interval, StepState(*here))
            m.put(fractions, at, passed)

            def keep(k: Any) -> None:  # of a step refused, nothing: it may be no number
                stage = step.stage_slot(0) + k
                m.put(step.scratch, stage, m.choose(passed, m.get(step.scratch, stage), 0.0))

            if method.grid is None:
                for_each(m, record_size - n, keep)
            return list(stand)

        begin = stepper.start_state(interval, m.read(buffer["lengths"], number), since)
        count, end = m.repeat(min(recorded_steps, stepper.max_tries), once, list(begin), going=True)
        lost = m.larger(lost, m.choose(end[0], 1.0, 0.0))
        for k in range(n):
            add_to(m, cotangents.x, k, m.read(buffer["of_amounts"], number * n + k))
            if cotangents.integral is not None:
                add_to(m, cotangents.integral, k, m.read(buffer["of_integral"], number * n + k))

        def back(j: Any, of_hours: Operand) -> list[Operand]:
            at = count + j * -1 + -1
            fraction = m.peek(fractions, at)
            step.base = at * record_size
            return [of_hours + fraction * step_adjoint.pull_step(fraction, fraction * hours)]

        _, (of_hours,) = m.repeat(count, back, [0.0])
        # Each stop ends one gap and begins the next.
        m.write(buffer["of_edges"], number + 1, of_hours - later)
        return [of_hours, lost]

    later, lost = m.loop(stops, pull_interval, [0.0, m.fixed(0.0)])

    def mark_lost(value: Operand) -> Operand:
        """More steps than there was room for: no number is better than a wrong one."""
        return m.choose(lost, float("nan"), 1.0) * value

    m.write(buffer["of_edges"], 0, mark_lost(-later))
    for k in range(1, stops + 1):
        m.write(buffer["of_edges"], k, mark_lost(m.read(buffer["of_edges"], k)))
    for k in range(n):
        m.write(buffer["of_start"], k, mark_lost(m.get(cotangents.x, k)))
    rows = collect_rows(cotangents, mark_lost)
    for name, count in (("linear", method.field.elimination.nonzeros), ("constant", n), ("given", len(cotangents.parameter_rows))):
        values = dict(rows[name])
        for row in range(count):
            m.write(buffer[f"of_{name}"], row, values.get(row, 0.0))
