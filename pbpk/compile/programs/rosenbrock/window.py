"""Rosenbrock steps from stop to stop (pbpk.solve.rosenbrock has the method) on operands.

Every patient of a vector has steps of his own, or his own part of the shared grid; those who have arrived wait, and what
they hold is not touched, so that it depends on nobody else.

What is decided by numbers (`fixed`) has no derivatives: a step is a fraction of its gap that is taken as it is, of a
length that moves with the gap's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
from pbpk.compile.backend.functions import TOGETHER, divide, exp, log
from pbpk.compile.backend.redirected import arrive
from pbpk.compile.programs.rosenbrock.right_hand_side import Field, Flow, arrows_of
from pbpk.compile.programs.rosenbrock.step import Step, each, product, weights

if TYPE_CHECKING:
    from pbpk.linalg.tableau import Tableau

_LEAST = 1e-13  # of an interval: a step this short means that no step will do
_WORST = 1e10  # an error that is no number, or larger
_ROUND = 1.5 * 2.0**52  # adding it leaves the nearest integer in the last bits


@dataclass(frozen=True)
class Method:
    """What is the same for all intervals of a solution. `registers` is how many vectors the processor can hold."""

    field: Field
    tableau: Tableau
    rtol: float
    atol: float
    max_steps: int
    integrals: bool
    grid: tuple[float, float] | None
    room: int
    registers: int = 32


@dataclass(frozen=True)
class March:
    """The program of a window with `stops` stops, the same for all patients or not, with a constant inflow `fed` or none.

    `edges` are 0 and the stops; `memory` the next step's length, 0 where nothing is known of it, and the time since
    something changed; `lengths` the next step's at each edge; of `code` 4 and 64 are pbpk.solve.base's GAVE_UP and INACCURATE.
    """

    method: Method
    stops: int
    shared: bool
    fed: bool

    @property
    def size(self) -> int:
        return len(self.method.field.system.names)

    @property
    def common(self) -> tuple[Buffer, ...]:
        """Arguments of both ways."""
        arrows, n = arrows_of(self.method.field), self.size
        given = [Buffer("linear", (self.method.field.elimination.nonzeros,)), Buffer("constant", (n,))]
        given += [Buffer("given", (len(arrows.rows),))] if arrows.rows else []
        given += [Buffer("rate", (n,))] if self.fed else []
        table = Buffer("table", weights(self.method.tableau).shape, True)
        return (*given, Buffer("edges", (self.stops + 1,), self.shared), Buffer("memory", (2,)), table)

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return (Buffer("start", (self.size,)), *self.common)

    @property
    def results(self) -> tuple[Buffer, ...]:
        amounts = Buffer("amounts", (self.stops, self.size))
        integral = [Buffer("integral", amounts.shape)] if self.method.integrals else []
        return (amounts, *integral, Buffer("code", (1,)), Buffer("lengths", (self.stops + 1,)))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Machine) -> None:
        march(machine, self)


class Stand(NamedTuple):
    """Where each patient is between two stops: above 0 where he goes on, the fraction behind him, the next step (h); his
    steps; on a grid, the next one's fraction; whether he gave up, and whether he was inaccurate."""

    going: Operand
    done: Operand
    length: Operand
    count: Operand
    width: Operand
    gave_up: Operand
    inaccurate: Operand


class Gap(NamedTuple):
    """Between two stops: its hours, and the same with their derivatives; by species, what is negligible and the inverse of
    what there is; on a grid the number of steps and their ratio."""

    hours: Operand
    moving: Operand
    atol: list[Operand]
    per: list[Operand]
    steps: Operand
    ratio: Operand


def march(m: Machine, w: March) -> None:
    n, method, buffer = w.size, w.method, w.buffer
    walk = Walk(m, w, method, buffer, method.integrals)
    for k in range(n):
        m.put(walk.step.room, k, m.read(buffer["start"], k))
    total = m.scratch(n) if method.integrals else None
    if method.integrals:
        each(m, n, lambda k: m.put(total, k, 0.0))
    length, since = m.read(buffer["memory"], 0), m.read(buffer["memory"], 1)
    length = m.choose(length, length, walk.first(m.fixed(m.read(buffer["edges"], w.stops))))

    def to_stop(i: Any, length: Operand, since: Operand, gave_up: Operand, inaccurate: Operand) -> list[Operand]:
        m.write(buffer["lengths"], i, length)
        hours = m.read(buffer["edges"], i + 1) - m.read(buffer["edges"], i)
        gap = walk.gap(hours, since)

        def once(_: Any, *here: Operand) -> list[Operand]:
            stand, passed, _ = walk.once(gap, Stand(*here))
            if total is not None:
                by = passed * gap.moving

                def add(k: Any) -> None:  # where nothing is passed, what was tried may be no number
                    gained = m.choose(passed, by * m.get(walk.step.gained, k), 0.0)
                    m.put(total, k, m.get(total, k) + gained)

                each(m, n, add)
            return list(stand)

        _, end = m.repeat(walk.most, once, list(walk.begin(gap, length, since)), going=True)
        stand = Stand(*end)

        found = [(buffer["amounts"], lambda k: m.get(walk.step.room, k))]
        found += [] if total is None else [(buffer["integral"], lambda k: m.get(total, k))]
        arrive(m, i, n, *found)
        gave_up = m.larger(gave_up, m.choose(stand.going, 1.0, stand.gave_up))
        return [stand.length, since + gap.hours, gave_up, m.larger(inaccurate, stand.inaccurate)]

    none = m.fixed(0.0)
    length, _, gave_up, inaccurate = m.loop(w.stops, to_stop, [length, since, none, none])
    m.write(buffer["lengths"], w.stops, length)
    m.write(buffer["code"], 0, 4.0 * gave_up + 64.0 * inaccurate)


class Walk:
    """Steps between two stops, from what `step.room` has at `step.base`, `onto` another place there or the same. On a grid,
    errors change no step: they are not estimated where steps are taken again for `records` of them."""

    def __init__(
        self, m: Machine, w: Any, method: Method, buffer: dict[str, Buffer], integrals: bool, records: int = 0
    ):
        self.judged = not records
        self.onto: Index = 0
        self.machine, self.method, self.buffer, self.size = m, method, buffer, w.size
        self.flow = Flow(m, arrows_of(method.field), buffer)
        self.step = Step(m, self.flow, method.tableau, buffer["table"], method.registers, integrals, records)
        self.species = [int(s) for s in method.field.system.species]
        self.most = method.max_steps if method.grid is None else 10 * method.max_steps

    def present(self, hours: Operand) -> list[Operand]:
        """All there is, and is to flow in, of each species."""
        m, total = self.machine, [0.0] * (max(self.species) + 1)
        for k, s in enumerate(self.species):
            own = m.size(m.peek(self.step.room, self.step.base + k))
            if "rate" in self.buffer:
                own = m.size(m.fixed(m.read(self.buffer["rate"], k))) * hours + own
            total[s] = total[s] + own
        return [m.choose(t, t, 1.0) for t in total]

    def first(self, hours: Operand) -> Operand:
        """A hundredth of the time in which the amounts would double, as a first step."""
        m, method = self.machine, self.method
        x = [m.peek(self.step.room, self.step.base + k) for k in range(self.size)]
        atol = [method.atol * p for p in self.present(hours)]
        size: Operand = 0.0
        speed: Operand = 0.0
        slopes = self.flow(x, self.flow.rates(self.flow.levels(x)))
        for k, (own, slope) in enumerate(zip(x, slopes, strict=True)):
            per = 1.0 / (atol[self.species[k]] + method.rtol * m.size(own))
            size, speed = m.larger(m.size(own) * per, size), m.larger(m.size(m.fixed(slope)) * per, speed)
        wanted = m.choose(speed, 0.01 * size / m.choose(speed, speed, 1.0), hours) + 1e-6 * hours
        return m.compare(hours, wanted, wanted, hours)

    def gap(self, moving: Operand, since: Operand) -> Gap:
        m, method = self.machine, self.method
        hours = m.fixed(moving)
        present = self.present(hours)
        atol, per = [method.atol * p for p in present], [1.0 / p for p in present]
        if method.grid is None:
            return Gap(hours, moving, atol, per, 0.0, 0.0)
        first, density = method.grid
        begin = since + float(first / np.expm1(1 / density))
        whole = log(m, (begin + hours) / begin)
        wanted = density * whole - 1e-6
        nearest = (wanted + _ROUND) - _ROUND
        steps = m.larger(m.compare(wanted, nearest, nearest + 1.0, nearest), 1.0)
        return Gap(hours, moving, atol, per, steps, exp(m, whole / steps))

    def begin(self, gap: Gap, length: Operand, since: Operand) -> Stand:
        m = self.machine
        done = m.choose(gap.hours, 0.0, 1.0)
        width: Operand = 0.0
        if self.method.grid is not None:
            first, density = self.method.grid
            begin = since + float(first / np.expm1(1 / density))
            width = begin * (gap.ratio - 1.0) / m.choose(gap.hours, gap.hours, 1.0)
        return Stand(*(m.fixed(v) for v in (1.0 - done, done, length, 0.0, width, 0.0, 0.0)))

    def once(self, gap: Gap, here: Stand) -> tuple[Stand, Operand, Operand]:
        """One step, taken or refused, of those who go on; the fraction that was passed, and that was tried."""
        m, method = self.machine, self.method
        left = 1.0 - here.done
        fraction = self._own_fraction(gap, here, left) if method.grid is None else self._grid_fraction(gap, here, left)
        fraction = m.choose(here.going, fraction, 0.0)
        judged = self.judged or method.grid is None
        self.step.take(fraction * gap.moving, judged)
        size = self._error(gap) if judged else 0.0
        active = m.choose(fraction, 1.0, 0.0)
        bad = m.compare(size, 1.0, active, 0.0)
        passed = fraction if method.grid is not None else m.choose(bad, 0.0, fraction)
        self._move(passed)
        arrived = m.choose(passed, m.compare(left, fraction, 0.0, 1.0), 0.0)
        done = m.choose(arrived, 1.0, here.done + passed)
        count = here.count + 1.0
        if method.grid is not None:
            inaccurate = m.larger(here.inaccurate, bad)
            going = m.choose(here.going, m.compare(1.0, done, 1.0, 0.0), 0.0)
            stand = Stand(going, done, here.length, count, here.width * gap.ratio, 0.0, inaccurate)
            return stand, passed, fraction
        factor = 0.9 * exp(m, log(m, size + 1e-12) * (-1.0 / method.tableau.order))
        factor = m.larger(0.2, -m.larger(-6.0, -factor))
        length = m.choose(active, fraction * gap.hours * factor, here.length)
        # A step cut short by the interval's end says nothing against the longer one that was intended.
        intended = m.compare(1.0, factor, 0.0, here.length)
        length = m.choose(passed, m.larger(intended, length), length)
        stuck = m.compare(_LEAST, fraction, bad, 0.0)
        late = m.compare(method.max_steps, count, 0.0, m.compare(1.0, done, 1.0, 0.0))
        gave_up = m.larger(here.gave_up, m.choose(here.going, m.larger(stuck, late), 0.0))
        going = m.choose(here.going, m.compare(1.0, done, 1.0 - gave_up, 0.0), 0.0)
        return Stand(going, done, length, count, 0.0, gave_up, 0.0), passed, fraction

    def _own_fraction(self, gap: Gap, here: Stand, left: Operand) -> Operand:
        """What is left in one or two equal steps when it is not far."""
        m = self.machine
        wanted = here.length / m.choose(gap.hours, gap.hours, 1.0)
        return m.compare(left, wanted, m.compare(wanted, 0.5 * left, 0.5 * left, wanted), left)

    def _grid_fraction(self, gap: Gap, here: Stand, left: Operand) -> Operand:
        m = self.machine
        return m.compare(gap.steps, here.count + 1.0, m.compare(left, here.width, here.width, left), left)

    def _error(self, gap: Gap) -> Operand:
        """The root mean square of the error over what is tolerated."""
        m, method = self.machine, self.method
        crossed: Operand = 0.0
        bent = {k for c in self.flow.arrows.curves for k in c.states}
        per = [method.rtol * one for one in gap.per]
        own: list[tuple[Operand, Operand]] = []
        found: list[Operand] = []
        for k, s in enumerate(self.species):
            before, after = m.peek(self.step.room, self.step.base + k), m.peek(self.step.after, k)
            error, larger = m.peek(self.step.error, k), m.larger(m.size(before), m.size(after))
            own.append((error * gap.per[s], larger * per[s] + method.atol))
            if len(own) == TOGETHER or k == self.size - 1:  # at once: many numbers that wait are dear to compile
                found.append(product((part, part) for part in divide(m, own)))
                own = []
            if k in bent:
                # Below zero a saturable law is another one (VM·c/(KM + c) takes at full speed again).
                crossed = m.compare(-gap.atol[s], after, m.compare(-gap.atol[s], before, crossed, 1.0), crossed)
        squares = product((one, 1.0) for one in found)
        size = m.root(squares * (1.0 / self.size))
        size = m.compare(_WORST, size, size, _WORST)
        return m.choose(crossed, m.larger(size, 1e3), size)

    def _move(self, passed: Operand) -> None:
        m, room, base, onto = self.machine, self.step.room, self.step.base, self.onto
        each(
            m,
            self.size,
            lambda k: m.put(room, onto + k, m.choose(passed, m.get(self.step.after, k), m.get(room, base + k))),
        )
