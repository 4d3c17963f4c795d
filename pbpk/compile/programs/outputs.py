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
from pbpk.compile.programs.rosenbrock.step import blocks

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
    from pbpk.compile.programs.solution.layout import Plan


def nothing(_: Index) -> float:
    return 0.0


class Handed(Protocol):
    """Where cotangents come from: of the amounts at a stop, and of those after the first events."""

    def stop(self, stop: Index, amount: Write, area: Write | None) -> None: ...

    def firsts(self, bars: Rows) -> None: ...


class Shown(ABC):
    """Rows of the results; in `sound`, 0 while all that was written is finite."""

    def __init__(self, m: Machine, plan: Plan, buffer: dict[str, Buffer]):
        self.m, self.plan, self.buffer, self.sound = m, plan, buffer, Rows(m, 1)
        self.sound.clear()

    def row(self, row: Index, amount: Read, total: Read) -> None:
        m, n = self.m, self.plan.shown
        seen = m.part(self.buffer["amounts"], row * n, (n,))
        areas = m.part(self.buffer["integral"], row * n, (n,)) if self.plan.integrals else None

        def some(first: Index, width: int) -> None:
            values = [amount(first + k) for k in range(width)]
            m.stream(seen, first, values)
            if areas is not None:
                m.stream(areas, first, [total(first + k) for k in range(width)])
            self.sound.add(0, summed([value * 0.0 for value in values]))

        if self.plan.readings:
            some(0, n)
        else:
            blocks(m, n, some)

    @abstractmethod
    def begin(self) -> None:
        """What is there after the events at the first instant."""

    @abstractmethod
    def stop(self, stop: Index, amount: Read, total: Read) -> None: ...

    @abstractmethod
    def end(self) -> None:
        """All stops have been passed."""

    def first(self, event: Index) -> Read:
        """What a row shows of the amounts after an event at the first instant."""
        first = self.m.part(self.buffer["firsts"], event * self.plan.size, (self.plan.size,))
        return self.plan.read(lambda k: self.m.read(first, k))


class Together(Shown):
    """By the table that all share."""

    def begin(self) -> None:
        m, plan = self.m, self.plan

        def first(t: Index) -> list[Operand]:
            amount = self.first(m.whole(self.buffer["begun"], t * 2 + 1, plan.firsts))
            m.repeat(m.whole(self.buffer["begun"], t * 2, 2), lambda _: self.row(t, amount, nothing) or [], [])
            return []

        m.loop(plan.rows, first)

    def stop(self, stop: Index, amount: Read, total: Read) -> None:
        m, table = self.m, self.buffer["row"]
        row = m.whole(table, stop * 4 + 1, self.plan.rows)
        m.repeat(m.whole(table, stop * 4, 2), lambda _: self.row(row, amount, total) or [], [])

    def end(self) -> None:
        pass


class Apart(Shown):
    """Each patient's own places."""

    def __init__(self, m: Machine, plan: Plan, buffer: dict[str, Buffer]):
        super().__init__(m, plan, buffer)
        self.places = Rows(m, plan.places * plan.shown)
        self.areas = Rows(m, plan.places * plan.shown) if plan.integrals else None

    def begin(self) -> None:
        self.m.loop(self.plan.firsts, lambda k: self._put(k, self.first(k), nothing) or [])

    def stop(self, stop: Index, amount: Read, total: Read) -> None:
        self._put(stop + self.plan.firsts, amount, total)

    def end(self) -> None:
        self.m.loop(self.plan.rows, lambda t: self.row(t, self.look(self.places, t), self.look(self.areas, t)) or [])

    def look(self, room: Rows | None, t: Index) -> Read:
        """What each patient sees at his t-th look."""
        at, below = looked_at(self.m, self.plan, self.buffer, t)
        return nothing if room is None else lambda k: room.part(k).pick(at, below)

    def _put(self, place: Index, amount: Read, total: Read) -> None:
        n = self.plan.shown
        copy(self.m, n, self.places.part(place * n).put, amount)
        if self.areas is not None:
            copy(self.m, n, self.areas.part(place * n).put, total)


class TogetherBack:
    """Cotangents by the same table."""

    def __init__(self, m: Machine, plan: Plan, buffer: dict[str, Buffer]):
        self.m, self.plan, self.buffer = m, plan, buffer

    def stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        self._seen("row", stop * 4, self.m.whole(self.buffer["row"], stop * 4 + 1, self.plan.rows), amount, area)

    def firsts(self, bars: Rows) -> None:
        m, plan = self.m, self.plan

        def first(t: Index) -> list[Operand]:
            event = m.whole(self.buffer["begun"], t * 2 + 1, plan.firsts)
            self._seen("begun", t * 2, t, bars.part(event * plan.size).add, None)
            return []

        m.loop(plan.rows, first)

    def _seen(self, table: str, place: Index, row: Index, amount: Write, area: Write | None) -> None:
        m, n = self.m, self.plan.size

        def read(_: Index) -> list[Operand]:
            for name, put in (("of_amounts", amount), ("of_integral", area)):
                if put is not None:
                    bars = m.part(self.buffer[name], row * n, (n,))
                    copy(m, n, put, lambda k, bars=bars: m.read(bars, k))
            return []

        m.repeat(m.whole(self.buffer[table], place, 2), read, [])


class ApartBack:
    """Cotangents of each patient's own places, gathered there first: several looks may be at one."""

    def __init__(self, m: Machine, plan: Plan, buffer: dict[str, Buffer]):
        self.m, self.plan, self.buffer = m, plan, buffer
        self.places = Rows(m, plan.places * plan.size)
        self.areas = Rows(m, plan.places * plan.size) if plan.integrals else None
        for name, room in (("of_amounts", self.places), ("of_integral", self.areas)):
            if room is not None:
                room.clear()
                m.loop(plan.rows, lambda t, name=name, room=room: self._gather(name, room, t))

    def _gather(self, name: str, room: Rows, t: Index) -> list[Operand]:
        m, n = self.m, self.plan.size
        at, below = looked_at(m, self.plan, self.buffer, t)
        bars = m.part(self.buffer[name], t * n, (n,))

        def add(k: Index, bar: Operand) -> None:
            own = room.part(k)
            own.place(at, below, own.pick(at, below) + bar)

        copy(m, n, add, lambda k: m.read(bars, k))
        return []

    def stop(self, stop: Index, amount: Write, area: Write | None) -> None:
        n = self.plan.size
        first = (stop + self.plan.firsts) * n
        copy(self.m, n, amount, self.places.part(first).get)
        if area is not None and self.areas is not None:
            copy(self.m, n, area, self.areas.part(first).get)

    def firsts(self, bars: Rows) -> None:
        copy(self.m, self.plan.firsts * self.plan.size, bars.add, self.places.get)


def looked_at(m: Machine, plan: Plan, buffer: dict[str, Buffer], t: Index) -> tuple[Any, int]:
    """Where the place of each patient's t-th look begins in scratch, and what that is less than."""
    return m.read(buffer["look"], t) * float(plan.shown), (plan.places - 1) * plan.shown + 1
