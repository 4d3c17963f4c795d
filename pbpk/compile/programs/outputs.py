"""Where the amounts go that somebody looks at, and where their cotangents come from on the way back.

Where all patients look at the same times, a table says to which row of the results a stop's amounts go, and they go there at
once. Where each looks when he likes, what is at all stops waits in scratch, and each patient's rows are picked from it.
A `place` numbers the events at the first instant, and after them all stops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from pbpk.compile.backend.functions import total as summed
from pbpk.compile.backend.redirected import Read, Rows, Write, copy
from pbpk.compile.programs.rosenbrock.step import for_blocks

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
    from pbpk.compile.programs.solution.layout import SolutionLayout


def read_zero(_: Index) -> float:
    return 0.0


class OutputCotangents(Protocol):
    """Where cotangents come from: of the amounts at a stop, and of those after the first events."""

    def collect_stop(self, stop: Index, amount: Write, area: Write | None) -> None: ...

    def collect_initial(self, bars: Rows) -> None: ...


class OutputWriter(ABC):
    """Rows of the results; in `sound`, 0 while all that was written is finite."""

    def __init__(self, m: Machine, plan: SolutionLayout, buffer: dict[str, Buffer]):
        self.m, self.plan, self.buffer, self.nonfinite = m, plan, buffer, Rows(m, 1)
        self.nonfinite.clear()

    def write_row(self, row: Index, amount: Read, total: Read) -> None:
        m, n = self.m, self.plan.output_width
        seen = m.part(self.buffer["amounts"], row * n, (n,))
        areas = m.part(self.buffer["integral"], row * n, (n,)) if self.plan.integrals else None

        def some(first: Index, width: int) -> None:
            values = [amount(first + k) for k in range(width)]
            m.stream(seen, first, values)
            if areas is not None:
                m.stream(areas, first, [total(first + k) for k in range(width)])
            self.nonfinite.add(0, summed([value * 0.0 for value in values]))

        if self.plan.readings:
            some(0, n)
        else:
            for_blocks(m, n, some)

    @abstractmethod
    def write_initial(self) -> None:
        """What is there after the events at the first instant."""

    @abstractmethod
    def write_stop(self, stop: Index, amount: Read, total: Read) -> None: ...

    @abstractmethod
    def finish(self) -> None:
        """All stops have been passed."""

    def read_initial(self, event: Index) -> Read:
        """What a row shows of the amounts after an event at the first instant."""
        first = self.m.part(self.buffer["firsts"], event * self.plan.size, (self.plan.size,))
        return self.plan.sum_readings(lambda k: self.m.read(first, k))


class SharedTimes(OutputWriter):
    """By the table that all share."""

    def write_initial(self) -> None:
        m, plan = self.m, self.plan

        def first(t: Index) -> list[Operand]:
            amount = self.read_initial(m.whole(self.buffer["begun"], t * 2 + 1, plan.initial_events))
            m.repeat(m.whole(self.buffer["begun"], t * 2, 2), lambda _: self.write_row(t, amount, read_zero) or [], [])
            return []

        m.loop(plan.output_rows, first)

    def write_stop(self, stop: Index, amount: Read, total: Read) -> None:
        m, table = self.m, self.buffer["row"]
        row = m.whole(table, stop * 4 + 1, self.plan.output_rows)
        m.repeat(m.whole(table, stop * 4, 2), lambda _: self.write_row(row, amount, total) or [], [])

    def finish(self) -> None:
        pass


class OwnTimes(OutputWriter):
    """Each patient's own places."""

    def __init__(self, m: Machine, plan: SolutionLayout, buffer: dict[str, Buffer]):
        super().__init__(m, plan, buffer)
        self.state_amounts = Rows(m, plan.state_count * plan.output_width)
        self.state_integrals = Rows(m, plan.state_count * plan.output_width) if plan.integrals else None

    def write_initial(self) -> None:
        self.m.loop(self.plan.initial_events, lambda k: self._store(k, self.read_initial(k), read_zero) or [])

    def write_stop(self, stop: Index, amount: Read, total: Read) -> None:
        self._store(stop + self.plan.initial_events, amount, total)

    def finish(self) -> None:
        self.m.loop(self.plan.output_rows, lambda t: self.write_row(t, self.sample(self.state_amounts, t), self.sample(self.state_integrals, t)) or [])

    def sample(self, room: Rows | None, t: Index) -> Read:
        """What each patient sees at his t-th look."""
        at, below = locate_sample(self.m, self.plan, self.buffer, t)
        return read_zero if room is None else lambda k: room.part(k).pick(at, below)

    def _store(self, place: Index, amount: Read, total: Read) -> None:
        n = self.plan.output_width
        copy(self.m, n, self.state_amounts.part(place * n).put, amount)
        if self.state_integrals is not None:
            copy(self.m, n, self.state_integrals.part(place * n).put, total)


class SharedTimesAdjoint:
    """Cotangents by the same table."""

    def __init__(self, m: Machine, plan: SolutionLayout, buffer: dict[str, Buffer]):
        self.m, self.plan, self.buffer = m, plan, buffer

    def collect_stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        self._read_row("row", stop * 4, self.m.whole(self.buffer["row"], stop * 4 + 1, self.plan.output_rows), amount, area)

    def collect_initial(self, bars: Rows) -> None:
        m, plan = self.m, self.plan

        def first(t: Index) -> list[Operand]:
            event = m.whole(self.buffer["begun"], t * 2 + 1, plan.initial_events)
            self._read_row("begun", t * 2, t, bars.part(event * plan.size).add, None)
            return []

        m.loop(plan.output_rows, first)

    def _read_row(self, table: str, place: Index, row: Index, amount: Write, area: Write | None) -> None:
        m, n = self.m, self.plan.size

        def read(_: Index) -> list[Operand]:
            for name, put in (("of_amounts", amount), ("of_integral", area)):
                if put is not None:
                    bars = m.part(self.buffer[name], row * n, (n,))
                    copy(m, n, put, lambda k, bars=bars: m.read(bars, k))
            return []

        m.repeat(m.whole(self.buffer[table], place, 2), read, [])


class OwnTimesAdjoint:
    """Cotangents of each patient's own places, gathered there first: several looks may be at one."""

    def __init__(self, m: Machine, plan: SolutionLayout, buffer: dict[str, Buffer]):
        self.m, self.plan, self.buffer = m, plan, buffer
        self.amount_cotangents = Rows(m, plan.state_count * plan.size)
        self.integral_cotangents = Rows(m, plan.state_count * plan.size) if plan.integrals else None
        for name, room in (("of_amounts", self.amount_cotangents), ("of_integral", self.integral_cotangents)):
            if room is not None:
                room.clear()
                m.loop(plan.output_rows, lambda t, name=name, room=room: self._gather(name, room, t))

    def _gather(self, name: str, room: Rows, t: Index) -> list[Operand]:
        m, n = self.m, self.plan.size
        at, below = locate_sample(m, self.plan, self.buffer, t)
        bars = m.part(self.buffer[name], t * n, (n,))

        def add(k: Index, bar: Operand) -> None:
            own = room.part(k)
            own.place(at, below, own.pick(at, below) + bar)

        copy(m, n, add, lambda k: m.read(bars, k))
        return []

    def collect_stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        n = self.plan.size
        first = (stop + self.plan.initial_events) * n
        copy(self.m, n, amount, self.amount_cotangents.part(first).get)
        if area is not None and self.integral_cotangents is not None:
            copy(self.m, n, area, self.integral_cotangents.part(first).get)

    def collect_initial(self, bars: Rows) -> None:
        copy(self.m, self.plan.initial_events * self.plan.size, bars.add, self.amount_cotangents.get)


def locate_sample(m: Machine, plan: SolutionLayout, buffer: dict[str, Buffer], t: Index) -> tuple[Any, int]:
    """Where the place of each patient's t-th look begins in scratch, and what that is less than."""
    return m.read(buffer["look"], t) * float(plan.output_width), (plan.state_count - 1) * plan.output_width + 1
