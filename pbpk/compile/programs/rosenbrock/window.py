"""Rosenbrock steps from stop to stop (pbpk.solve.rosenbrock has the method) on operands.

Every patient of a vector takes steps of their own length, or those of the shared grid. Patients who have arrived wait, and
nothing of theirs is touched: their numbers depend on nobody else.

What is decided by numbers (`fixed`) has no derivatives: a step is a fraction of its interval that is taken as it is, of a
length that moves with the interval's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
from pbpk.compile.backend.functions import TOGETHER, divide, exp, log
from pbpk.compile.backend.redirected import write_at_stop
from pbpk.compile.programs.loops import dot_product, for_each
from pbpk.compile.programs.rosenbrock.right_hand_side import RightHandSide, RightHandSideField, lay_out_fluxes
from pbpk.compile.programs.rosenbrock.step import RosenbrockStep, step_weights
from pbpk.linalg.step_control import (
    CROSSING_ERROR,
    FIRST_STEP,
    GRID_SLACK,
    GROW,
    LARGEST_ERROR,
    LEAST_ERROR,
    LEAST_SHARE,
    SAFETY,
    SHORTEST_FRACTION,
    SHRINK,
)

if TYPE_CHECKING:
    from pbpk.linalg.tableau import RosenbrockTableau

_ROUNDING_SHIFT = 1.5 * 2.0**52  # adding it leaves the nearest integer in the last bits


@dataclass(frozen=True)
class RosenbrockMethod:
    """What is the same for all windows of a solution: the model's `field`, the `tableau`, tolerances (`rtol` of each amount,
    `atol` of all that is present), the most steps of an interval, whether amounts are integrated, the shared `grid` or None,
    how many steps of one interval the adjoint can record, and how many vector registers the processor has."""

    field: RightHandSideField
    tableau: RosenbrockTableau
    rtol: float
    atol: float
    max_steps: int
    integrals: bool
    grid: tuple[float, float] | None
    recorded_steps: int
    registers: int = 32


@dataclass(frozen=True)
class RosenbrockWindow:
    """The program of a window with `stops` stops, the same for all patients if `shared`, with a constant `inflow` or none.

    Arguments: `edges` are 0 and the stops; `step_memory` the next step's length, 0 where nothing is known of it, and the hours
    since something changed; `step_weights` what a step's loops read. Results: amounts and integrals at the stops;
    `gave_up` and `inaccurate`, 1 where a patient did or was, else 0 (`ResultCode`); `step_lengths`, the next step's at each
    edge.
    """

    method: RosenbrockMethod
    stops: int
    shared: bool
    inflow: bool

    has_memory = True
    sums_readings = False
    diagnostics = ("gave_up", "inaccurate")

    @property
    def size(self) -> int:
        """Number of compartments."""
        return len(self.method.field.system.names)

    @property
    def integrals(self) -> bool:
        """Whether amounts are integrated."""
        return self.method.integrals

    @property
    def field_parameters(self) -> tuple[Buffer, ...]:
        """The field's bound parameters: the packed linear matrix, what flows at zero amounts, the laws' parameters."""
        rows = lay_out_fluxes(self.method.field).parameter_rows
        linear = Buffer("linear", (self.method.field.elimination.nonzeros,))
        return (linear, Buffer("constant", (self.size,)), *([Buffer("law_parameters", (len(rows),))] if rows else []))

    @property
    def weights_table(self) -> Buffer:
        """The table that a step's loops read."""
        return Buffer("step_weights", step_weights(self.method.tableau).shape, True)

    @property
    def parameters(self) -> tuple[Buffer, ...]:
        """Arguments that are the same for all windows of a solution."""
        return (*self.field_parameters, self.weights_table)

    @property
    def stop_tables(self) -> tuple[Buffer, ...]:
        """Arguments that follow from the stops."""
        return (Buffer("edges", (self.stops + 1,), self.shared),)

    @property
    def common_arguments(self) -> tuple[Buffer, ...]:
        """Arguments of this program and of its adjoint."""
        inflow = [Buffer("inflow", (self.size,))] if self.inflow else []
        memory = Buffer("step_memory", (2,))
        return (*self.field_parameters, *inflow, *self.stop_tables, memory, self.weights_table)

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """Amounts at the start, and what the adjoint takes too."""
        return (Buffer("start", (self.size,)), *self.common_arguments)

    @property
    def results(self) -> tuple[Buffer, ...]:
        """Amounts, integrals, diagnostics and steps' lengths."""
        amounts = Buffer("amounts", (self.stops, self.size))
        integral = [Buffer("integral", amounts.shape)] if self.integrals else []
        flags = (Buffer(name, (1,)) for name in self.diagnostics)
        return (amounts, *integral, *flags, Buffer("step_lengths", (self.stops + 1,)))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        """All buffers by name."""
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it."""
        integrate(machine, self)


class StepState(NamedTuple):
    """Where each patient is between two stops: `going`, above 0 while the patient goes on; `done`, the fraction of the interval
    behind; the next step's length (h) and the number of steps taken; on a grid, the next step's fraction; whether the patient
    gave up or was inaccurate, 1 or 0."""

    going: Operand
    done: Operand
    step_length: Operand
    steps: Operand
    grid_fraction: Operand
    gave_up: Operand
    inaccurate: Operand


class StopInterval(NamedTuple):
    """The interval between two stops: its `hours`, and the same with their derivatives; by species, what is negligible and
    the inverse of what is present; on a grid the number of steps and the ratio of one to the next."""

    hours: Operand
    moving_hours: Operand
    atol: list[Operand]
    inverse_present: list[Operand]
    steps: Operand
    ratio: Operand


def integrate(m: Backend, w: RosenbrockWindow) -> None:
    """Steps from `start` to every stop of the window, and writes the results."""
    n, method, buffer = w.size, w.method, w.buffer
    stepper = Stepper(m, w, method, buffer, method.integrals)
    for k in range(n):
        m.put(stepper.step.scratch, k, m.read(buffer["start"], k))
    integral = m.scratch(n) if method.integrals else None
    if method.integrals:
        for_each(m, n, lambda k: m.put(integral, k, 0.0))
    length, since = m.read(buffer["step_memory"], 0), m.read(buffer["step_memory"], 1)
    length = m.choose(length, length, stepper.first_step(m.fixed(m.read(buffer["edges"], w.stops))))

    def to_stop(i: Any, length: Operand, since: Operand, gave_up: Operand, inaccurate: Operand) -> list[Operand]:
        m.write(buffer["step_lengths"], i, length)
        hours = m.read(buffer["edges"], i + 1) - m.read(buffer["edges"], i)
        interval = stepper.start_interval(hours, since)

        def step(_: Any, *before: Operand) -> list[Operand]:
            after, passed, _ = stepper.try_step(interval, StepState(*before))
            if integral is not None:
                passed_hours = passed * interval.moving_hours

                def add(k: Any) -> None:  # where nothing is passed, what was tried may be no number
                    gained = m.choose(passed, passed_hours * m.get(stepper.step.gained, k), 0.0)
                    m.put(integral, k, m.get(integral, k) + gained)

                for_each(m, n, add)
            return list(after)

        start = stepper.start_state(interval, length, since)
        _, end = m.repeat(stepper.max_tries, step, list(start), going=True)
        state = StepState(*end)

        reached = [(buffer["amounts"], lambda k: m.get(stepper.step.scratch, k))]
        reached += [] if integral is None else [(buffer["integral"], lambda k: m.get(integral, k))]
        write_at_stop(m, i, n, *reached)
        gave_up = m.larger(gave_up, m.choose(state.going, 1.0, state.gave_up))
        return [state.step_length, since + interval.hours, gave_up, m.larger(inaccurate, state.inaccurate)]

    none = m.fixed(0.0)
    length, _, gave_up, inaccurate = m.loop(w.stops, to_stop, [length, since, none, none])
    m.write(buffer["step_lengths"], w.stops, length)
    m.write(buffer["gave_up"], 0, gave_up)
    m.write(buffer["inaccurate"], 0, inaccurate)


class Stepper:
    """Takes steps between two stops, from the state at `step.base` in the step's scratch to `target` there, another place or
    the same. On a grid, errors change no step: they are not estimated where steps are taken again to record them (`records`
    of them)."""

    def __init__(
        self, m: Backend, w: Any, method: RosenbrockMethod, buffer: dict[str, Buffer], integrals: bool, records: int = 0
    ):
        self.estimates_error = not records
        self.target: Index = 0
        self.machine, self.method, self.buffer, self.size = m, method, buffer, w.size
        self.inflow = buffer.get("inflow")
        layout = lay_out_fluxes(method.field)
        self.right_hand_side = RightHandSide(m, layout, buffer)
        rhs, weights = self.right_hand_side, buffer["step_weights"]
        self.step = RosenbrockStep(m, rhs, method.tableau, weights, method.registers, integrals, records)
        self.species = [int(s) for s in method.field.system.species]
        self.nonlinear_states = {k for c in layout.nonlinear for k in c.states}
        self.max_tries = method.max_steps if method.grid is None else 10 * method.max_steps

    def sum_present(self, hours: Operand) -> list[Operand]:
        """All there is, and is to flow in, of each species, and at least LEAST_SHARE of all that has its unit; 1 where there
        is nothing."""
        m, total = self.machine, [0.0] * (max(self.species) + 1)
        for k, s in enumerate(self.species):
            amount = m.size(m.peek(self.step.scratch, self.step.base + k))
            if self.inflow is not None:
                amount = m.size(m.fixed(m.read(self.inflow, k))) * hours + amount
            total[s] = total[s] + amount
        units = [int(u) for u in self.method.field.system.unit_of_species]
        of_unit = [sum((t for t, other in zip(total, units, strict=True) if other == u), 0.0) for u in units]
        if len(total) > 1:
            total = [m.larger(t, LEAST_SHARE * of) for t, of in zip(total, of_unit, strict=True)]
        return [m.choose(t, t, 1.0) for t in total]

    def first_step(self, hours: Operand) -> Operand:
        """A hundredth of the time in which the amounts would double, as a first step (h)."""
        m, method, rhs = self.machine, self.method, self.right_hand_side
        x = [m.peek(self.step.scratch, self.step.base + k) for k in range(self.size)]
        atol = [method.atol * p for p in self.sum_present(hours)]
        size: Operand = 0.0
        speed: Operand = 0.0
        slopes = rhs(x, rhs.rates(rhs.read_levels(x)))
        for k, (amount, slope) in enumerate(zip(x, slopes, strict=True)):
            per = 1.0 / (atol[self.species[k]] + method.rtol * m.size(amount))
            size, speed = m.larger(m.size(amount) * per, size), m.larger(m.size(m.fixed(slope)) * per, speed)
        wanted = m.choose(speed, FIRST_STEP * size / m.choose(speed, speed, 1.0), hours) + 1e-6 * hours
        return m.compare(hours, wanted, wanted, hours)

    def start_interval(self, moving: Operand, since: Operand) -> StopInterval:
        """The interval of so many hours, `since` hours after something changed. On a grid, steps are equal in log(t + t₀)."""
        m, method = self.machine, self.method
        hours = m.fixed(moving)
        present = self.sum_present(hours)
        atol, inverse = [method.atol * p for p in present], [1.0 / p for p in present]
        if method.grid is None:
            return StopInterval(hours, moving, atol, inverse, 0.0, 0.0)
        begin = since + _grid_origin(method.grid)
        log_span = log(m, (begin + hours) / begin)
        wanted = method.grid[1] * log_span - GRID_SLACK
        nearest = (wanted + _ROUNDING_SHIFT) - _ROUNDING_SHIFT
        steps = m.larger(m.compare(wanted, nearest, nearest + 1.0, nearest), 1.0)
        return StopInterval(hours, moving, atol, inverse, steps, exp(m, log_span / steps))

    def start_state(self, interval: StopInterval, length: Operand, since: Operand) -> StepState:
        """The state at the beginning of an interval. Where it has no hours, the patient has arrived."""
        m = self.machine
        done = m.choose(interval.hours, 0.0, 1.0)
        fraction: Operand = 0.0
        if self.method.grid is not None:
            begin = since + _grid_origin(self.method.grid)
            fraction = begin * (interval.ratio - 1.0) / m.choose(interval.hours, interval.hours, 1.0)
        return StepState(*(m.fixed(v) for v in (1.0 - done, done, length, 0.0, fraction, 0.0, 0.0)))

    def try_step(self, interval: StopInterval, before: StepState) -> tuple[StepState, Operand, Operand]:
        """One step, taken or refused, of the patients who go on: the state after it, the fraction of the interval that was
        passed, and that was tried."""
        m, on_grid = self.machine, self.method.grid is not None
        left = 1.0 - before.done
        choose_fraction = self._grid_fraction if on_grid else self._own_fraction
        fraction = m.choose(before.going, choose_fraction(interval, before, left), 0.0)
        with_error = self.estimates_error or not on_grid
        self.step.take(fraction * interval.moving_hours, with_error)
        size = self._error_size(interval) if with_error else 0.0
        active = m.choose(fraction, 1.0, 0.0)
        bad = m.compare(size, 1.0, active, 0.0)
        passed = fraction if on_grid else m.choose(bad, 0.0, fraction)
        self._accept(passed)
        arrived = m.choose(passed, m.compare(left, fraction, 0.0, 1.0), 0.0)
        done = m.choose(arrived, 1.0, before.done + passed)
        steps = before.steps + 1.0
        if on_grid:
            inaccurate = m.larger(before.inaccurate, bad)
            going = m.choose(before.going, m.compare(1.0, done, 1.0, 0.0), 0.0)
            following = before.grid_fraction * interval.ratio
            return StepState(going, done, before.step_length, steps, following, 0.0, inaccurate), passed, fraction
        length = self._next_length(interval, before, fraction, passed, size)
        stuck = m.compare(SHORTEST_FRACTION, fraction, bad, 0.0)
        late = m.compare(self.method.max_steps, steps, 0.0, m.compare(1.0, done, 1.0, 0.0))
        gave_up = m.larger(before.gave_up, m.choose(before.going, m.larger(stuck, late), 0.0))
        going = m.choose(before.going, m.compare(1.0, done, 1.0 - gave_up, 0.0), 0.0)
        return StepState(going, done, length, steps, 0.0, gave_up, 0.0), passed, fraction

    def _next_length(
        self, interval: StopInterval, before: StepState, fraction: Operand, passed: Operand, size: Operand
    ) -> Operand:
        """The next step's length (h) after one of this fraction of the interval with an error of this size."""
        m = self.machine
        factor = SAFETY * exp(m, log(m, size + LEAST_ERROR) * (-1.0 / self.method.tableau.order))
        factor = m.larger(SHRINK, -m.larger(-GROW, -factor))
        wanted = m.choose(fraction, fraction * interval.hours * factor, before.step_length)
        # A step cut short by the interval's end says nothing against the longer one that was intended.
        intended = m.compare(1.0, factor, 0.0, before.step_length)
        return m.choose(passed, m.larger(intended, wanted), wanted)

    def _own_fraction(self, interval: StopInterval, state: StepState, left: Operand) -> Operand:
        """The next step as a fraction of the interval: what is left in one or two equal steps when it is not far."""
        m = self.machine
        wanted = state.step_length / m.choose(interval.hours, interval.hours, 1.0)
        return m.compare(left, wanted, m.compare(wanted, 0.5 * left, 0.5 * left, wanted), left)

    def _grid_fraction(self, interval: StopInterval, state: StepState, left: Operand) -> Operand:
        """The grid's next step, and in the last step all that is left."""
        m, wanted = self.machine, state.grid_fraction
        return m.compare(interval.steps, state.steps + 1.0, m.compare(left, wanted, wanted, left), left)

    def _error_size(self, interval: StopInterval) -> Operand:
        """The root mean square of the error over what is tolerated: above 1 it is too large."""
        m, method = self.machine, self.method
        crossed: Operand = 0.0
        rtol = [method.rtol * inverse for inverse in interval.inverse_present]
        quotients: list[tuple[Operand, Operand]] = []
        squares: list[Operand] = []
        for k, s in enumerate(self.species):
            before, after = m.peek(self.step.scratch, self.step.base + k), m.peek(self.step.after, k)
            error, larger = m.peek(self.step.error, k), m.larger(m.size(before), m.size(after))
            quotients.append((error * interval.inverse_present[s], larger * rtol[s] + method.atol))
            if len(quotients) == TOGETHER or k == self.size - 1:  # at once: many numbers that wait are dear to compile
                squares.append(dot_product((part, part) for part in divide(m, quotients)))
                quotients = []
            if k in self.nonlinear_states:
                # Below zero a saturable law is another one (VM·c/(KM + c) takes at full speed again).
                atol = interval.atol[s]
                crossed = m.compare(-atol, after, m.compare(-atol, before, crossed, 1.0), crossed)
        size = m.root(dot_product((one, 1.0) for one in squares) * (1.0 / self.size))
        size = m.compare(LARGEST_ERROR, size, size, LARGEST_ERROR)  # NaN is not below it either
        return m.choose(crossed, m.larger(size, CROSSING_ERROR), size)

    def _accept(self, passed: Operand) -> None:
        """Moves the state to `target`: after the step where it was passed, else as it was."""
        m, scratch, base, target, after = self.machine, self.step.scratch, self.step.base, self.target, self.step.after
        for_each(
            m,
            self.size,
            lambda k: m.put(scratch, target + k, m.choose(passed, m.get(after, k), m.get(scratch, base + k))),
        )


def _grid_origin(grid: tuple[float, float]) -> float:
    """t₀ (h) of a grid (hours, steps): equal steps in log(t + t₀), the first of so many hours."""
    first, density = grid
    return float(first / np.expm1(1 / density))
