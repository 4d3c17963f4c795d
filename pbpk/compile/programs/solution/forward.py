"""A whole solution as one program: windows one after another, and the events between them.

A window (a *leg*) is crossed by the program that crosses it alone, `Crossing` or `March`, which here starts from where the
last one ended (redirected.py). What happens in between is events.py's, who sees what is outputs.py's. When and where something
happens may be the same for all or each patient's own; how much of it is his own always.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
from pbpk.compile.backend.redirected import Read, Rows, Within, Write, copy
from pbpk.compile.programs.events import EventOps
from pbpk.compile.programs.outputs import OwnTimes, OutputWriter, SharedTimes, read_zero
from pbpk.compile.programs.solution.layout import Plan, leg_tables


@dataclass(frozen=True)
class Journey:
    """The program forward. `keeps` for the way back (adjoint.py) too. Results: amounts and integrals from the first
    event on, (rows, n); the largest `error` of the legs, or all their `code`s; and `sound`, 0 where all that was
    written is finite, else no number."""

    plan: Plan
    keeps: bool

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return self.plan.arguments

    @property
    def results(self) -> tuple[Buffer, ...]:
        seen = (self.plan.rows, self.plan.shown)
        found = [Buffer("amounts", seen), *([Buffer("integral", seen)] if self.plan.integrals else [])]
        found += [Buffer("judged", (2 if self.plan.reminded else 1,)), Buffer("sound", (1,))]
        return (*found, *(self.plan.kept if self.keeps else ()))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Machine) -> None:
        Traveller(machine, self).travel()


class Traveller:
    """`seen` takes what is there at every place: rows of the results, if nothing else (outputs.py).

    Rooms: `x` amounts, with a place for what goes outside; `flow` inflows likewise; `last` and `last_areas` of the leg at
    its last stop; `total` the integral so far; `sound`, see there. A leg that gives its stops in any order does so to `after`
    and `areas`; from one that arrives at one after another, each is seen when it does."""

    def __init__(self, m: Machine, journey: Journey, seen: OutputWriter | None = None):
        self.m, self.journey, self.plan, self.buffer = m, journey, journey.plan, journey.buffer
        plan, n = self.plan, self.plan.size
        self.x = Rows(m, n + 1)
        self.seen = seen or (OwnTimes if plan.own else SharedTimes)(m, plan, self.buffer)
        self.flow = Rows(m, n + 1) if plan.infusing else None
        self.areas, self.total = None, Rows(m, n) if plan.integrals else None
        if plan.reminded or plan.summed:
            self.last, self.last_areas = Rows(m, n), Rows(m, n) if plan.integrals else None
        if not plan.reminded:
            wide = plan.stops * (plan.shown if plan.summed else n)
            self.after, self.areas = Rows(m, wide), Rows(m, wide) if plan.integrals else None
        if not plan.reminded and not plan.summed:
            self.last = self.after.part((plan.stops - 1) * n)
            self.last_areas = None if self.areas is None else self.areas.part((plan.stops - 1) * n)
        self.judged = Rows(m, 2 if plan.reminded else 1)
        self.lengths, self.memory = (Rows(m, plan.stops + 1), Rows(m, 2)) if plan.reminded else (None, None)

    def travel(self) -> None:
        m, plan, n = self.m, self.plan, self.plan.size
        first, inflow = self.buffer["firsts"], self.buffer.get("inflow")
        copy(m, n, self.x.put, lambda k: m.read(first, k + (plan.firsts - 1) * n))
        if self.flow is not None and inflow is not None:
            base = self.buffer["base"]
            copy(m, n, self.flow.put, lambda k: m.read(base, k) + m.read(inflow, k))
        for room in (self.total, self.judged, self.memory):
            if room is not None:
                room.clear()
        self.seen.write_initial()
        m.loop(plan.legs, self._cross)
        self.seen.finish()
        for k in range(self.judged.count):
            m.write(self.buffer["judged"], k, self.judged.get(k))
        m.write(self.buffer["sound"], 0, self.seen.nonfinite.get(0))

    def _cross(self, g: Index) -> list[Operand]:
        m, plan, n = self.m, self.plan, self.plan.size
        if self.memory is not None:
            fresh = m.read(self.buffer["fresh"], g)
            for k in range(2):
                self.memory.put(k, m.choose(fresh, 0.0, self.memory.get(k)))
        self._keep_before(g)
        plan.leg.run(self._leg(g))
        if self.memory is not None and self.lengths is not None:
            edges = m.part(self.buffer["edges"], g * (plan.stops + 1), (plan.stops + 1,))
            self.memory.put(0, self.lengths.get(plan.stops))
            self.memory.put(1, self.memory.get(1) + m.read(edges, plan.stops))
            self._keep_lengths(g)
        EventOps(m, plan, self.buffer, g).apply_event(self.x, self.last, self.flow)
        if not plan.reminded and plan.stops > 1:
            m.loop(plan.stops - 1, lambda t: self._see_after(g, t))
        place = g * plan.stops + (plan.stops - 1)
        area = None if self.last_areas is None else self.last_areas.get
        self.seen.write_stop(place, plan.read(self.x.get), self._so_far(area, False))
        if self.total is not None and area is not None:
            copy(m, n, self.total.add, area)
        if plan.readings:  # what is not shown counts too
            copy(m, n, lambda k, value: self.seen.nonfinite.add(0, value * 0.0), self.x.get)
        return []

    def _see_after(self, g: Index, t: Index) -> list[Operand]:
        """A stop of a leg that has been crossed."""
        plan = self.plan
        place, shown = g * plan.stops + t, plan.shown if plan.summed else plan.size
        amount, area = (None if room is None else room.part(t * shown).get for room in (self.after, self.areas))
        assert amount is not None
        self.seen.write_stop(place, amount if plan.summed else plan.read(amount), self._so_far(area, plan.summed))
        return []

    def _arrived(self, g: Index, t: Index, amount: Read, area: Read | None = None) -> None:
        """A stop of a leg that is being crossed: the last one is not seen yet, as the closing event follows."""
        m, plan, n = self.m, self.plan, self.plan.size
        place = g * plan.stops + t
        copy(m, n, self.last.put, amount)
        if area is not None and self.last_areas is not None:
            copy(m, n, self.last_areas.put, area)

        def between(_: Index) -> list[Operand]:
            if self.journey.keeps:
                following = m.whole(self.buffer["row"], place * 4 + 3, plan.stops)
                copy(m, n, self._into("starts", (g * plan.stops + following) * n, n), amount)
            self.seen.write_stop(place, plan.read(amount), self._so_far(area, False))
            return []

        m.repeat(m.whole(self.buffer["row"], place * 4 + 2, 2), between, [])

    def _so_far(self, area: Read | None, summed: bool) -> Read:
        """The integral from the first event on, of what is shown, from the leg's: of that, or of all amounts."""
        if self.total is None or area is None:
            return read_zero
        read = self.plan.read
        total, own = read(self.total.get), area if summed else read(area)
        return lambda k: total(k) + own(k)

    def _leg(self, g: Index) -> Any:
        """The machine that a leg runs on."""
        reads, writes = leg_tables(self.m, self.plan, self.buffer, g), {}
        reads["start"] = self.x.get
        if self.plan.inflow:
            reads[self.plan.inflow] = self.buffer["base"] if self.flow is None else self.flow.get
        if self.memory is None or self.lengths is None:
            writes |= {"amounts": self.after.put, "last_amounts": self.last.put}
            if self.areas is not None and self.last_areas is not None:
                writes |= {"integral": self.areas.put, "last_integral": self.last_areas.put}
            writes["error"] = lambda _, error: self.judged.put(0, self.m.larger(self.judged.get(0), error))
            return Within(self.m, reads, writes)
        reads["memory"], writes["lengths"], writes["code"] = self.memory.get, self.lengths.put, self._judge
        return Within(self.m, reads, writes, partial(self._arrived, g))

    def _judge(self, _: Index, code: Operand) -> None:
        """A leg's code is 4, 64 or both: told apart by 64, kept as the largest of either."""
        m = self.m
        inaccurate = m.compare(code, 63.0, 64.0, 0.0)
        for k, flag in enumerate((code - inaccurate, inaccurate)):
            self.judged.put(k, m.larger(self.judged.get(k), flag))

    def _keep_before(self, g: Index) -> None:
        if not self.journey.keeps:
            return
        m, plan, n = self.m, self.plan, self.plan.size
        count = plan.stops * n if plan.reminded else n
        copy(m, n, self._into("starts", g * count, n), self.x.get)
        if self.flow is not None:
            copy(m, n, self._into("flows", g * n, n), self.flow.get)
        if self.memory is not None:
            copy(m, 2, self._into("memories", g * 2, 2), self.memory.get)

    def _keep_lengths(self, g: Index) -> None:
        if self.journey.keeps and self.lengths is not None:
            edges = self.plan.stops + 1
            copy(self.m, edges, self._into("lengths", g * edges, edges), self.lengths.get)

    def _into(self, name: str, first: Index, count: int) -> Write:
        """Rows of a result from `first` on."""
        rows = self.m.part(self.buffer[name], first, (max(count, 1),))
        return lambda k, value: self.m.stream(rows, k, [value])
