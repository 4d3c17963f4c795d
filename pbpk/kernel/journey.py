"""A whole solution as one program: windows one after another, and the events between them.

A window (a *leg*) is crossed by the program that crosses it alone, `Crossing` or `March`, which here starts from where the
last one ended (within.py). Everybody has the same events at the same times; how much each of them changes is each patient's
own. What nobody asked for is not written: every amount goes at once to the row where its observation is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pbpk.kernel.machine import Buffer, Index, Machine, Operand
from pbpk.kernel.plan import Plan, leg_tables
from pbpk.kernel.within import Read, Rows, Within, Write, copy


@dataclass(frozen=True)
class Journey:
    """The program forward. `keeps` for the way back (journey_back.py) too. Results: amounts and integrals from the first
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
        _Traveller(machine, self).travel()


class _Traveller:
    """Rooms: `x` amounts, with a place for what goes outside; `flow` inflows likewise; `after` and `areas` of the leg at its
    stops, `last` and `last_areas` at the last; `total` the integral so far."""

    def __init__(self, m: Machine, journey: Journey):
        self.m, self.journey, self.plan, self.buffer = m, journey, journey.plan, journey.buffer
        plan, n = self.plan, self.plan.size
        wide = plan.stops * (plan.shown if plan.summed else n)
        self.x, self.after = Rows(m, n + 1), Rows(m, wide)
        self.flow = Rows(m, n + 1) if plan.infusing else None
        self.areas, self.total = (Rows(m, wide), Rows(m, n)) if plan.integrals else (None, None)
        self.last, self.last_areas = self.after.part((plan.stops - 1) * n), None
        if plan.summed:
            self.last = Rows(m, n)
        if self.areas is not None:
            self.last_areas = Rows(m, n) if plan.summed else self.areas.part((plan.stops - 1) * n)
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
        (sound,) = m.loop(plan.rows, self._see_first, [0.0])
        (sound,) = m.loop(plan.legs, self._cross, [sound])
        for k in range(self.judged.count):
            m.write(self.buffer["judged"], k, self.judged.get(k))
        m.write(self.buffer["sound"], 0, sound)

    def _see_first(self, t: Index, sound: Operand) -> list[Operand]:
        event = self.m.whole(self.buffer["begun"], t * 2 + 1, self.plan.firsts)
        first = self.m.part(self.buffer["firsts"], event * self.plan.size, (self.plan.size,))
        amount = self._shown(lambda k: self.m.read(first, k))
        return self._see("begun", t, t, amount, lambda k: 0.0, sound)

    def _shown(self, amounts: Read) -> Read:
        """What a row shows of all amounts."""
        members = self.plan.readings
        return (lambda r: sum((amounts(k) for k in members[r][1:]), amounts(members[r][0]))) if members else amounts

    def _see(
        self,
        table: str,
        place: Index,
        row: Index,
        amount: Read,
        total: Read,
        sound: Operand,
    ) -> list[Operand]:
        """Amounts, and totals, into a row of the results where the table says that they are wanted."""
        m, n = self.m, self.plan.shown
        wanted = m.whole(self.buffer[table], place * 2, 2)
        seen = m.part(self.buffer["amounts"], row * n, (n,))
        areas = m.part(self.buffer["integral"], row * n, (n,)) if self.plan.integrals else None

        def write(_: Index, sound: Operand) -> list[Operand]:
            def one(k: Index, sound: Operand) -> list[Operand]:
                value = amount(k)
                m.stream(seen, k, value)
                if areas is not None:
                    m.stream(areas, k, total(k))
                return [value * 0.0 + sound]

            if not self.plan.readings:
                return m.loop(n, one, [sound])
            for r in range(n):
                (sound,) = one(r, sound)
            return [sound]

        return m.repeat(wanted, write, [sound])[1]

    def _cross(self, g: Index, sound: Operand) -> list[Operand]:
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
        self._keep_after(g)
        self._happen(g)
        shown = plan.shown if plan.summed else n

        def see(t: Index, sound: Operand) -> list[Operand]:
            place = g * plan.stops + t
            row = m.whole(self.buffer["row"], place * 2 + 1, plan.rows)
            amount, area = (None if room is None else room.part(t * shown).get for room in (self.after, self.areas))
            assert amount is not None
            if not plan.summed:
                amount = self._shown(amount)
            return self._see("row", place, row, amount, self._so_far(area, plan.summed), sound)

        if plan.stops > 1:
            (sound,) = m.loop(plan.stops - 1, see, [sound])
        place = g * plan.stops + (plan.stops - 1)
        row = m.whole(self.buffer["row"], place * 2 + 1, plan.rows)
        area = None if self.last_areas is None else self.last_areas.get
        found = self._see("row", place, row, self._shown(self.x.get), self._so_far(area, False), sound)
        if self.total is not None and area is not None:
            copy(m, n, self.total.add, area)
        if plan.readings:  # what is not shown counts too

            def check(k: Index, sound: Operand) -> list[Operand]:
                return [self.x.get(k) * 0.0 + sound]

            found = m.loop(n, check, found)
        return found

    def _so_far(self, area: Read | None, summed: bool) -> Read:
        """The integral from the first event on, of what is shown, from the leg's: of that, or of all amounts."""
        if self.total is None or area is None:
            return lambda k: 0.0
        total, own = self._shown(self.total.get), area if summed else self._shown(area)
        return lambda k: total(k) + own(k)

    def _leg(self, g: Index) -> Any:
        """The machine that a leg runs on."""
        reads, writes = leg_tables(self.m, self.plan, self.buffer, g), {}
        reads["start"] = self.x.get
        if self.plan.inflow:
            reads[self.plan.inflow] = self.buffer["base"] if self.flow is None else self.flow.get
        writes |= {"amounts": self.after.put, "last_amounts": self.last.put}
        if self.areas is not None and self.last_areas is not None:
            writes |= {"integral": self.areas.put, "last_integral": self.last_areas.put}
        if self.memory is None or self.lengths is None:
            writes["error"] = lambda _, error: self.judged.put(0, self.m.larger(self.judged.get(0), error))
        else:
            reads["memory"], writes["lengths"], writes["code"] = self.memory.get, self.lengths.put, self._judge
        return Within(self.m, reads, writes)

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

    def _keep_after(self, g: Index) -> None:
        if not self.journey.keeps or self.lengths is None:
            return
        m, plan, edges = self.m, self.plan, self.plan.stops + 1
        count = (plan.stops - 1) * plan.size
        copy(m, count, self._into("starts", g * (plan.stops * plan.size) + plan.size, count), self.after.get)
        copy(m, edges, self._into("lengths", g * edges, edges), self.lengths.get)

    def _into(self, name: str, first: Index, count: int) -> Write:
        """Rows of a result from `first` on."""
        rows = self.m.part(self.buffer[name], first, (max(count, 1),))
        return lambda k, value: self.m.stream(rows, k, value)

    def _happen(self, g: Index) -> None:
        """The closing event. What is put into no compartment goes to the place beyond the last, and is forgotten."""
        m, n, x, flow = self.m, self.plan.size, self.x, self.flow
        begin = self.buffer["anew_from"]
        anew = m.read(self.buffer["anew"], g)
        copy(m, n, x.put, lambda k: m.choose(anew, m.read(begin, k), self.last.get(k)))
        into = m.whole(self.buffer["into"], g, n + 1)
        x.put(n, 0.0)
        x.add(into, m.read(self.buffer["jump"], g))
        if self.plan.voiding:
            x.put(n, 0.0)
            gone = x.get(into) * m.read(self.buffer["share"], g)
            x.add(into, -gone)
            x.add(m.whole(self.buffer["target"], g, n + 1), gone)
        if flow is not None:
            base = self.buffer["base"]
            copy(m, n, flow.put, lambda k: m.choose(anew, m.read(base, k), flow.get(k)))
            flow.put(n, 0.0)
            flow.add(into, m.read(self.buffer["change"], g))
