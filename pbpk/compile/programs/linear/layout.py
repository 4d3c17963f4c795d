"""What is known of a linear window when its kernel is written, and so the shapes of all that goes in and out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pbpk.compile.backend.base import Buffer

if TYPE_CHECKING:
    from pbpk.linalg.series import ResolventSeries
    from pbpk.model.system import System

_EXTRA_TERMS = 8  # beyond the order that d is computed from: what c neglects, d would have 1/(smallest |z|) times
_GROUP_SIZES = range(9, 17)  # terms that are summed together: their vectors stay in the first cache


@dataclass(frozen=True)
class LinearWindow:
    """The layout of one window of a linear system: `stops` M, `shared` by all patients or not; with `integrals` of the amounts
    or without; with a constant `inflow` or none. `registers` is how many sums may be held in them at once.

    With `readings`, sums of amounts by the numbers of their compartments, those are what is computed at every stop, and all
    amounts at the last alone. With `derivative_order` K, every rate, amount and inflow is a polynomial in e₁ … e_K, eᵢ² = 0
    (tangent.py). Its 2^K coefficients are numbered by sets as bits, and each is a buffer of its own, whose name ends with the
    number but for 0.
    """

    system: System
    series: ResolventSeries
    stops: int
    shared: bool
    integrals: bool
    inflow: bool
    derivative_order: int = 0
    registers: int = 24
    readings: tuple[tuple[int, ...], ...] = ()

    has_memory = False
    diagnostics = ("error",)

    @property
    def size(self) -> int:
        """Number of compartments."""
        return len(self.system.names)

    @property
    def sums_readings(self) -> bool:
        """Whether readings are given at the stops, and all amounts at the last alone."""
        return bool(self.readings)

    @property
    def coefficients(self) -> int:
        """How many coefficients every number has."""
        return 2**self.derivative_order

    @property
    def vector_width(self) -> int:
        """How many numbers a vector of amounts is: all coefficients, one after another."""
        return self.coefficients * self.size

    @property
    def stride(self) -> int:
        """From one vector to the next in scratch: its numbers, and its readings."""
        return self.vector_width + len(self.readings)

    @property
    def terms(self) -> int:
        """Number of terms of the series."""
        return self.series.order + 1

    @cached_property
    def terms_at_once(self) -> int:
        """How many terms are summed together: what leaves the fewest places empty in the last group."""
        return min(_GROUP_SIZES, key=lambda q: (-(-self.terms // q) * q, -q))

    @property
    def term_groups(self) -> int:
        """How many groups of terms there are."""
        return -(-self.terms // self.terms_at_once)

    @property
    def table_rows(self) -> int:
        """Rows of tables of coefficients: the terms, and zeros to the end of the last group."""
        return self.term_groups * self.terms_at_once

    @property
    def sums_per_amount(self) -> int:
        """Sums for each amount at each stop: of the start for the amount and its integral, and the same of the inflow."""
        return (1 + self.integrals) * (1 + self.inflow)

    def tile_size(self, numbers: int, stops: int) -> tuple[int, int]:
        """How many numbers of a vector and how many stops, of so many, are summed in one go: their sums fill the registers."""
        at_most = max(min(self.registers // (self.sums_per_amount * numbers), 16), 6)
        tile_stops = -(-stops // -(-stops // at_most))
        return max(min(self.registers // (self.sums_per_amount * tile_stops), 8), 1), tile_stops

    @property
    def extended_series(self) -> ResolventSeries:
        """The series with the terms that `integral_terms` are made of."""
        return replace(self.series, order=self.series.order + _EXTRA_TERMS)

    @property
    def parameters(self) -> tuple[Buffer, ...]:
        """Arguments that are the same for all windows of a solution: the rates, as `System.rate_jacobian` gives them."""
        return tuple(self.coefficient_buffers("rates", (len(self.system.slopes[0]),)))

    @property
    def stop_tables(self) -> tuple[Buffer, ...]:
        """Arguments that follow from the stops alone. `weights` are the cⱼ of each stop, and last the largest of them;
        `integral_terms` what integral.py makes of more of them."""
        tables = [Buffer("stops", (self.stops,), self.shared)]
        tables.append(Buffer("weights", (self.table_rows + 2, self.stops + 1), self.shared))
        if self.inflow or self.integrals:
            tables.append(Buffer("integral_terms", (self.extended_series.order + 1, self.stops), self.shared))
        return tuple(tables)

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """Rates, start and inflow, the tables of the stops and, each patient's own, the `double_integral_weights`."""
        buffers = [*self.parameters, *self.coefficient_buffers("start", (self.size,))]
        if self.inflow:
            buffers += self.coefficient_buffers("inflow", (self.size,))
        buffers += self.stop_tables
        if self.inflow and self.integrals:
            buffers.append(Buffer("double_integral_weights", (self.table_rows, self.stops)))
        return tuple(buffers)

    @property
    def results(self) -> tuple[Buffer, ...]:
        """Amounts or readings, their integrals, with readings all amounts at the last stop, and the estimated error relative to
        the amount present."""
        names = ("amounts", "integral") if self.integrals else ("amounts",)
        shape = (self.stops, len(self.readings) or self.size)
        buffers = [b for name in names for b in self.coefficient_buffers(name, shape)]
        buffers += [Buffer(f"last_{name}", (self.size,)) for name in names if self.readings]
        return *buffers, Buffer("error", (1,))

    def coefficient_buffers(self, name: str, shape: tuple[int, ...]) -> list[Buffer]:
        """The buffers of all coefficients."""
        return [Buffer(self.coefficient_name(name, number), shape) for number in range(self.coefficients)]

    def coefficient_name(self, name: str, number: int) -> str:
        """The name of one coefficient's buffer."""
        return f"{name}{number}" if number else name

    def coefficient_number(self, buffer: Buffer) -> int:
        """Which coefficient a buffer holds: 0 for what has no others, as all of them are made of it."""
        return int(buffer.name[len(buffer.name.rstrip("0123456789")) :] or 0)

    def coefficient_buffer(self, name: str, number: int) -> Buffer:
        """One coefficient's buffer."""
        return self.buffer[self.coefficient_name(name, number)]

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        """All buffers by name."""
        return {b.name: b for b in (*self.arguments, *self.results)}
