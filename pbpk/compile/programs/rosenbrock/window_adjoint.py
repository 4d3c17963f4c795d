"""The reverse of a window of Rosenbrock steps: each gap between stops is marched again, recording where every step began, its
stages and its length, and then gone back through, the last gap first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pbpk.compile.backend.base import Buffer, Machine, Operand
from pbpk.compile.programs.rosenbrock.right_hand_side import arrows_of
from pbpk.compile.programs.rosenbrock.step import each
from pbpk.compile.programs.rosenbrock.step_adjoint import Cotangents, Pull, add, gathered
from pbpk.compile.programs.rosenbrock.window import March, Stand, Walk


@dataclass(frozen=True)
class Unmarch:
    """The program of a March's cotangents. `starts` are the amounts at each edge but the last, and `lengths` the steps'
    there; a patient who needs more steps for one gap than there is room for gets no numbers."""

    forward: March

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        w = self.forward
        seen = Buffer("of_amounts", (w.stops, w.size))
        integral = [Buffer("of_integral", seen.shape)] if w.method.integrals else []
        return (Buffer("starts", seen.shape), *w.common, Buffer("lengths", (w.stops + 1,)), seen, *integral)

    @property
    def results(self) -> tuple[Buffer, ...]:
        w, n = self.forward, self.forward.size
        rows = len(arrows_of(w.method.field).rows)
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
        unmarch(machine, self)


def unmarch(m: Machine, w: Unmarch) -> None:
    n, method, buffer, stops = w.size, w.forward.method, w.buffer, w.forward.stops
    walk = Walk(m, w, method, buffer, False, records=method.room)
    flow, step, room = walk.flow, walk.step, method.room
    whole, fractions = (step.stages + 1) * n, m.scratch(room)
    bar = Cotangents(m, flow, method.integrals)
    pull = Pull(m, step, bar)

    def gap_back(i: Any, later: Operand, lost: Operand) -> list[Operand]:
        """Gap stops − 1 − i; `later` is the cotangent of the hours of the gap after it."""
        gap_number = i * -1 + (stops - 1)
        step.base = 0
        for k in range(n):
            m.put(step.room, k, m.read(buffer["starts"], gap_number * n + k))
        before, after = (m.read(buffer["edges"], gap_number + k) for k in (0, 1))
        hours, since = after - before, m.read(buffer["memory"], 1) + m.fixed(before)
        gap = walk.gap(hours, since)

        def once(at: Any, *here: Operand) -> list[Operand]:
            step.base, walk.onto = at * whole, at * whole + whole
            stand, passed, _ = walk.once(gap, Stand(*here))
            m.put(fractions, at, passed)

            def keep(k: Any) -> None:  # of a step refused, nothing: it may be no number
                stage = step.stage(0) + k
                m.put(step.room, stage, m.choose(passed, m.get(step.room, stage), 0.0))

            if method.grid is None:
                each(m, whole - n, keep)
            return list(stand)

        begin = walk.begin(gap, m.read(buffer["lengths"], gap_number), since)
        count, end = m.repeat(min(room, walk.most), once, list(begin), going=True)
        lost = m.larger(lost, m.choose(end[0], 1.0, 0.0))
        for k in range(n):
            add(m, bar.x, k, m.read(buffer["of_amounts"], gap_number * n + k))
            if bar.gain is not None:
                add(m, bar.gain, k, m.read(buffer["of_integral"], gap_number * n + k))

        def back(j: Any, of_hours: Operand) -> list[Operand]:
            at = count + j * -1 + -1
            fraction = m.peek(fractions, at)
            step.base = at * whole
            return [of_hours + fraction * pull.back(fraction, fraction * hours)]

        _, (of_hours,) = m.repeat(count, back, [0.0])
        # Each stop ends one gap and begins the next.
        m.write(buffer["of_edges"], gap_number + 1, of_hours - later)
        return [of_hours, lost]

    later, lost = m.loop(stops, gap_back, [0.0, m.fixed(0.0)])

    def spoil(value: Operand) -> Operand:
        """More steps than there was room for: no number is better than a wrong one."""
        return m.choose(lost, float("nan"), 1.0) * value

    m.write(buffer["of_edges"], 0, spoil(-later))
    for k in range(1, stops + 1):
        m.write(buffer["of_edges"], k, spoil(m.read(buffer["of_edges"], k)))
    for k in range(n):
        m.write(buffer["of_start"], k, spoil(m.get(bar.x, k)))
    rows = gathered(bar, spoil)
    for name, count in (("linear", method.field.elimination.nonzeros), ("constant", n), ("given", len(bar.given))):
        values = dict(rows[name])
        for row in range(count):
            m.write(buffer[f"of_{name}"], row, values.get(row, 0.0))
