"""What is known of a window of stops when its kernel is written, and so the shapes of all that goes in and out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pbpk.compile.backend.base import Buffer

if TYPE_CHECKING:
    from pbpk.linalg.series import Series
    from pbpk.model.system import System

_EXTRA_TERMS = 8  # terms beyond the order that d is computed from: what c neglects, d would have 1/(smallest |z|) times
_GROUP_SIZES = range(9, 17)  # terms that are summed together: their vectors stay in the first cache


@dataclass(frozen=True)
class LinearWindow:
    """`stops` M, `shared` by all patients or not; `registers` is how many sums may be held in them at once.

    With `readings`, sums of amounts by the numbers of their compartments, those are what is computed at every stop, and all
    amounts at the last alone. With `nilpotents` K, every rate, amount and inflow is a polynomial in e₁ … e_K, eᵢ² = 0
    (tangent.py). Its `parts`, 2^K coefficients, are numbered by sets as bits, and each is a buffer of its own, whose name
    ends with the number but for 0.
    """

    system: System
    series: Series
    stops: int
    shared: bool
    integrals: bool
    inflow: bool
    derivative_order: int = 0
    registers: int = 24
    readings: tuple[tuple[int, ...], ...] = ()

    @property
    def size(self) -> int:
        return len(self.system.names)

    @property
    def coefficients(self) -> int:
        return 2**self.derivative_order

    @property
    def vector_width(self) -> int:
        """How many numbers a vector of amounts is: all parts, one after another."""
        return self.coefficients * self.size

    @property
    def stride(self) -> int:
        """From one vector to the next: its numbers, and its readings."""
        return self.vector_width + len(self.readings)

    @property
    def terms(self) -> int:
        return self.series.order + 1

    @cached_property
    def terms_at_once(self) -> int:
        """How many terms are summed together: what leaves the fewest places empty in the last group."""
        return min(_GROUP_SIZES, key=lambda q: (-(-self.terms // q) * q, -q))

    @property
    def term_groups(self) -> int:
        return -(-self.terms // self.terms_at_once)

    @property
    def table_rows(self) -> int:
        """Of tables of coefficients: the terms, and zeros to the end of the last group."""
        return self.term_groups * self.terms_at_once

    @property
    def sums_per_amount(self) -> int:
        """For each amount: of the start for the amount and its integral, and the same of the source."""
        return (1 + self.integrals) * (1 + self.inflow)

    def tile_size(self, state_count: int, stops: int) -> tuple[int, int]:
        """Of so many, those that are summed in one go."""
        stops_at_least = max(min(self.registers // (self.sums_per_amount * state_count), 16), 6)
        times = -(-stops // -(-stops // stops_at_least))
        return max(min(self.registers // (self.sums_per_amount * times), 8), 1), times

    @property
    def extended_series(self) -> Series:
        """The series whose coefficients `right` is made of."""
        return replace(self.series, order=self.series.order + _EXTRA_TERMS)

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """`weights` are the cⱼ of each stop, and last the largest of them; `right` what integral.py makes of more of them;
        `lasting` the coefficients of the double integral."""
        given = self.coefficient_buffers("rates", (len(self.system.slopes[0]),)) + self.coefficient_buffers("start", (self.size,))
        if self.inflow:
            given += self.coefficient_buffers("source", (self.size,))
        given.append(Buffer("stops", (self.stops,), self.shared))
        given.append(Buffer("weights", (self.table_rows + 2, self.stops + 1), self.shared))
        if self.inflow or self.integrals:
            given.append(Buffer("right", (self.extended_series.order + 1, self.stops), self.shared))
        if self.inflow and self.integrals:
            given.append(Buffer("lasting", (self.table_rows, self.stops)))
        return tuple(given)

    @property
    def results(self) -> tuple[Buffer, ...]:
        names = ("amounts", "integral") if self.integrals else ("amounts",)
        seen = (self.stops, len(self.readings) or self.size)
        found = [b for name in names for b in self.coefficient_buffers(name, seen)]
        found += [Buffer(f"last_{name}", (self.size,)) for name in names if self.readings]
        return *found, Buffer("error", (1,))

    def coefficient_buffers(self, name: str, shape: tuple[int, ...]) -> list[Buffer]:
        return [Buffer(self.coefficient_name(name, part), shape) for part in range(self.coefficients)]

    def coefficient_name(self, name: str, part: int) -> str:
        return f"{name}{part}" if part else name

    def coefficient_number(self, buffer: Buffer) -> int:
        """0 for what has no parts: all the others are made of it."""
        return int(buffer.name[len(buffer.name.rstrip("0123456789")) :] or 0)

    def coefficient_buffer(self, name: str, part: int) -> Buffer:
        return self.buffer[self.coefficient_name(name, part)]

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}
