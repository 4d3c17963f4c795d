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
from pbpk.compile.programs.rosenbrock.right_hand_side import RightHandSide, RightHandSideField, lay_out_fluxes
from pbpk.compile.programs.rosenbrock.step import RosenbrockStep, dot_product, for_each, step_weights

if TYPE_CHECKING:
    from pbpk.linalg.tableau import Tableau

_SHORTEST = 1e-13  # of an interval: a step this short means that no step will do
_LARGEST_ERROR = 1e10  # an error that is no number, or larger
_ROUNDING_SHIFT = 1.5 * 2.0**52  # adding it leaves the nearest integer in the last bits


@dataclass(frozen=True)
class RosenbrockMethod:
    """What is the same for all intervals of a solution. `registers` is how many vectors the processor can hold."""

    field: RightHandSideField
    tableau: Tableau
    rtol: float
    atol: float
    max_steps: int
    integrals: bool
    grid: tuple[float, float] | None
    recorded_steps: int
    registers: int = 32


@dataclass(frozen=True)
class RosenbrockWindow:
    """The program of a window with `stops` stops, the same for all patients or not, with a constant inflow `fed` or none.

    `edges` are 0 and the stops; `memory` the next step's length, 0 where nothing is known of it, and the time since
    something changed; `lengths` the next step's at each edge; of `code` 4 and 64 are pbpk.solve.base's GAVE_UP and INACCURATE.
    """

    method: RosenbrockMethod
    stops: int
    shared: bool
    inflow: bool

    @property
    def size(self) -> int:
        return len(self.method.field.system.names)

    @property
    def common_arguments(self) -> tuple[Buffer, ...]:
        """Arguments of both ways."""
        arrows, n = lay_out_fluxes(self.method.field), self.size
        given = [Buffer("linear", (self.method.field.elimination.nonzeros,)), Buffer("constant", (n,))]
        given += [Buffer("given", (len(arrows.parameter_rows),))] if arrows.parameter_rows else []
        given += [Buffer("rate", (n,))] if self.inflow else []
        table = Buffer("table", step_weights(self.method.tableau).shape, True)
        return (*given, Buffer("edges", (self.stops + 1,), self.shared), Buffer("memory", (2,)), table)

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return (Buffer("start", (self.size,)), *self.common_arguments)

    @property
    def results(self) -> tuple[Buffer, ...]:
        amounts = Buffer("amounts", (self.stops, self.size))
        integral = [Buffer("integral", amounts.shape)] if self.method.integrals else []
        return (amounts, *integral, Buffer("code", (1,)), Buffer("lengths", (self.stops + 1,)))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Machine) -> None:
        integrate(machine, self)


class StepState(NamedTuple):
    """Where each patient is between two stops: above 0 where he goes on, the fraction behind him, the next step (h); his
    steps; on a grid, the next one's fraction; whether he gave up, and whether he was inaccurate."""

    going: Operand
    done: Operand
    step_length: Operand
    steps: Operand
    grid_fraction: Operand
    gave_up: Operand
    inaccurate: Operand


class StopInterval(NamedTuple):
    """Between two stops: its hours, and the same with their derivatives; by species, what is negligible and the inverse of
    what there is; on a grid the number of steps and their ratio."""

    hours: Operand
    moving_hours: Operand
    atol: list[Operand]
    inverse_present: list[Operand]
    steps: Operand
    ratio: Operand


def integrate(m: Machine, w: RosenbrockWindow) -> None:
    n, method, buffer = w.size, w.method, w.buffer
    stepper = Stepper(m, w, method, buffer, method.integrals)
    for k in range(n):
        m.put(stepper.step.scratch, k, m.read(buffer["start"], k))
    total = m.scratch(n) if method.integrals else None
    if method.integrals:
        for_each(m, n, lambda k: m.put(total, k, 0.0))
    length, since = m.read(buffer["memory"], 0), m.read(buffer["memory"], 1)
    length = m.choose(length, length, stepper.first_step(m.fixed(m.read(buffer["edges"], w.stops))))

    def to_stop(i: Any, length: Operand, since: Operand, gave_up: Operand, inaccurate: Operand) -> list[Operand]:
        m.write(buffer["lengths"], i, length)
        hours = m.read(buffer["edges"], i + 1) - m.read(buffer["edges"], i)
        gap = stepper.start_interval(hours, since)

        def once(_: Any, *here: Operand) -> list[Operand]:
            stand, passed, _ = stepper.try_step(gap, StepState(*here))
            if total is not None:
                by = passed * gap.moving_hours

                def add(k: Any) -> None:  # where nothing is passed, what was tried may be no number
                    gained = m.choose(passed, by * m.get(stepper.step.gained, k), 0.0)
                    m.put(total, k, m.get(total, k) + gained)

                for_each(m, n, add)
            return list(stand)

        _, end = m.repeat(stepper.max_tries, once, list(stepper.start_state(gap, length, since)), going=True)
        stand = StepState(*end)

        found = [(buffer["amounts"], lambda k: m.get(stepper.step.scratch, k))]
        found += [] if total is None else [(buffer["integral"], lambda k: m.get(total, k))]
        arrive(m, i, n, *found)
        gave_up = m.larger(gave_up, m.choose(stand.going, 1.0, stand.gave_up))
        return [stand.step_length, since + gap.hours, gave_up, m.larger(inaccurate, stand.inaccurate)]

    none = m.fixed(0.0)
    length, _, gave_up, inaccurate = m.loop(w.stops, to_stop, [length, since, none, none])
    m.write(buffer["lengths"], w.stops, length)
    m.write(buffer["code"], 0, 4.0 * gave_up + 64.0 * inaccurate)


class Stepper:
    """Steps between two stops, from what `step.room` has at `step.base`, `onto` another place there or the same. On a grid,
    errors change no step: they are not estimated where steps are taken again for `records` of them."""

    def __init__(
        self, m: Machine, w: Any, method: RosenbrockMethod, buffer: dict[str, Buffer], integrals: bool, records: int = 0
    ):
        self.estimates_error = not records
        self.target: Index = 0
        self.machine, self.method, self.buffer, self.size = m, method, buffer, w.size
        self.right_hand_side = RightHandSide(m, lay_out_fluxes(method.field), buffer)
        self.step = RosenbrockStep(m, self.right_hand_side, method.tableau, buffer["table"], method.registers, integrals, records)
        self.species = [int(s) for s in method.field.system.species]
        self.max_tries = method.max_steps if method.grid is None else 10 * method.max_steps

    def sum_present(self, hours: Operand) -> list[Operand]:
        """All there is, and is to flow in, of each species."""
        m, total = self.machine, [0.0] * (max(self.species) + 1)
        for k, s in enumerate(self.species):
            amount = m.size(m.peek(self.step.scratch, self.step.base + k))
            if "rate" in self.buffer:
                amount = m.size(m.fixed(m.read(self.buffer["rate"], k))) * hours + amount
            total[s] = total[s] + amount
        return [m.choose(t, t, 1.0) for t in total]

    def first_step(self, hours: Operand) -> Operand:
        """A hundredth of the time in which the amounts would double, as a first step."""
        m, method = self.machine, self.method
        x = [m.peek(self.step.scratch, self.step.base + k) for k in range(self.size)]
        atol = [method.atol * p for p in self.sum_present(hours)]
        size: Operand = 0.0
        speed: Operand = 0.0
        slopes = self.right_hand_side(x, self.right_hand_side.rates(self.right_hand_side.read_levels(x)))
        for k, (amount, slope) in enumerate(zip(x, slopes, strict=True)):
            per = 1.0 / (atol[self.species[k]] + method.rtol * m.size(amount))
            size, speed = m.larger(m.size(amount) * per, size), m.larger(m.size(m.fixed(slope)) * per, speed)
        wanted = m.choose(speed, 0.01 * size / m.choose(speed, speed, 1.0), hours) + 1e-6 * hours
        return m.compare(hours, wanted, wanted, hours)

    def start_interval(self, moving: Operand, since: Operand) -> StopInterval:
        m, method = self.machine, self.method
        hours = m.fixed(moving)
        present = self.sum_present(hours)
        atol, per = [method.atol * p for p in present], [1.0 / p for p in present]
        if method.grid is None:
            return StopInterval(hours, moving, atol, per, 0.0, 0.0)
        first, density = method.grid
        begin = since + float(first / np.expm1(1 / density))
        log_span = log(m, (begin + hours) / begin)
        wanted = density * log_span - 1e-6
        nearest = (wanted + _ROUNDING_SHIFT) - _ROUNDING_SHIFT
        steps = m.larger(m.compare(wanted, nearest, nearest + 1.0, nearest), 1.0)
        return StopInterval(hours, moving, atol, per, steps, exp(m, log_span / steps))

    def start_state(self, gap: StopInterval, length: Operand, since: Operand) -> StepState:
        m = self.machine
        done = m.choose(gap.hours, 0.0, 1.0)
        width: Operand = 0.0
        if self.method.grid is not None:
            first, density = self.method.grid
            begin = since + float(first / np.expm1(1 / density))
            width = begin * (gap.ratio - 1.0) / m.choose(gap.hours, gap.hours, 1.0)
        return StepState(*(m.fixed(v) for v in (1.0 - done, done, length, 0.0, width, 0.0, 0.0)))

    def try_step(self, gap: StopInterval, before: StepState) -> tuple[StepState, Operand, Operand]:
        """One step, taken or refused, of those who go on; the fraction that was passed, and that was tried."""
        m, method = self.machine, self.method
        left = 1.0 - before.done
        fraction = self._own_fraction(gap, before, left) if method.grid is None else self._grid_fraction(gap, before, left)
        fraction = m.choose(before.going, fraction, 0.0)
        with_error = self.estimates_error or method.grid is None
        self.step.take(fraction * gap.moving_hours, with_error)
        size = self._error_size(gap) if with_error else 0.0
        active = m.choose(fraction, 1.0, 0.0)
        bad = m.compare(size, 1.0, active, 0.0)
        passed = fraction if method.grid is not None else m.choose(bad, 0.0, fraction)
        self._accept(passed)
        arrived = m.choose(passed, m.compare(left, fraction, 0.0, 1.0), 0.0)
        done = m.choose(arrived, 1.0, before.done + passed)
        count = before.steps + 1.0
        if method.grid is not None:
            inaccurate = m.larger(before.inaccurate, bad)
            going = m.choose(before.going, m.compare(1.0, done, 1.0, 0.0), 0.0)
            after = StepState(going, done, before.step_length, count, before.grid_fraction * gap.ratio, 0.0, inaccurate)
            return after, passed, fraction
        factor = 0.9 * exp(m, log(m, size + 1e-12) * (-1.0 / method.tableau.order))
        factor = m.larger(0.2, -m.larger(-6.0, -factor))
        length = m.choose(active, fraction * gap.hours * factor, before.step_length)
        # A step cut short by the interval's end says nothing against the longer one that was intended.
        intended = m.compare(1.0, factor, 0.0, before.step_length)
        length = m.choose(passed, m.larger(intended, length), length)
        stuck = m.compare(_SHORTEST, fraction, bad, 0.0)
        late = m.compare(method.max_steps, count, 0.0, m.compare(1.0, done, 1.0, 0.0))
        gave_up = m.larger(before.gave_up, m.choose(before.going, m.larger(stuck, late), 0.0))
        going = m.choose(before.going, m.compare(1.0, done, 1.0 - gave_up, 0.0), 0.0)
        return StepState(going, done, length, count, 0.0, gave_up, 0.0), passed, fraction

    def _own_fraction(self, gap: StopInterval, state: StepState, left: Operand) -> Operand:
        """What is left in one or two equal steps when it is not far."""
        m = self.machine
        wanted = state.step_length / m.choose(gap.hours, gap.hours, 1.0)
        return m.compare(left, wanted, m.compare(wanted, 0.5 * left, 0.5 * left, wanted), left)

    def _grid_fraction(self, gap: StopInterval, state: StepState, left: Operand) -> Operand:
        m = self.machine
        return m.compare(gap.steps, state.steps + 1.0, m.compare(left, state.grid_fraction, state.grid_fraction, left), left)

    def _error_size(self, gap: StopInterval) -> Operand:
        """The root mean square of the error over what is tolerated."""
        m, method = self.machine, self.method
        crossed: Operand = 0.0
        nonlinear_states = {k for c in self.right_hand_side.layout.nonlinear for k in c.states}
        per = [method.rtol * one for one in gap.inverse_present]
        quotients: list[tuple[Operand, Operand]] = []
        found: list[Operand] = []
        for k, s in enumerate(self.species):
            before, after = m.peek(self.step.scratch, self.step.base + k), m.peek(self.step.after, k)
            error, larger = m.peek(self.step.error, k), m.larger(m.size(before), m.size(after))
            quotients.append((error * gap.inverse_present[s], larger * per[s] + method.atol))
            if len(quotients) == TOGETHER or k == self.size - 1:  # at once: many numbers that wait are dear to compile
                found.append(dot_product((part, part) for part in divide(m, quotients)))
                quotients = []
            if k in nonlinear_states:
                # Below zero a saturable law is another one (VM·c/(KM + c) takes at full speed again).
                crossed = m.compare(-gap.atol[s], after, m.compare(-gap.atol[s], before, crossed, 1.0), crossed)
        squares = dot_product((one, 1.0) for one in found)
        size = m.root(squares * (1.0 / self.size))
        size = m.compare(_LARGEST_ERROR, size, size, _LARGEST_ERROR)
        return m.choose(crossed, m.larger(size, 1e3), size)

    def _accept(self, passed: Operand) -> None:
        m, room, base, onto = self.machine, self.step.scratch, self.step.base, self.target
        for_each(
            m,
            self.size,
            lambda k: m.put(room, onto + k, m.choose(passed, m.get(self.step.after, k), m.get(room, base + k))),
        )
