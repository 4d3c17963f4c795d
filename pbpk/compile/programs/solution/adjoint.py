"""The way back through a whole solution: from cotangents of what was seen to those of everything that is each patient's own.

Leg by leg from the last: what later ones hand back, and what was seen, goes back through the closing event, then through the
leg by its own reverse program, `Pulling` or `Unmarch`, from the start that the way there has kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
from pbpk.compile.backend.redirected import Read, Rows, Within, Write, copy
from pbpk.compile.programs.events import EventOps
from pbpk.compile.programs.outputs import OwnTimesAdjoint, OutputCotangents, SharedTimesAdjoint
from pbpk.compile.programs.solution.layout import Plan, leg_tables

if TYPE_CHECKING:
    from pbpk.compile.programs.linear.window_adjoint import Pulling
    from pbpk.compile.programs.rosenbrock.window_adjoint import Unmarch


@dataclass(frozen=True)
class JourneyBack:
    """`leg` is the reverse of the plan's. Results are named after the arguments that they are cotangents of; fractions
    that go elsewhere, and times, are taken as fixed."""

    plan: Plan
    leg: Pulling | Unmarch

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        seen = (self.plan.rows, self.plan.size)
        found = [Buffer("of_amounts", seen), *([Buffer("of_integral", seen)] if self.plan.integrals else [])]
        return (*self.plan.arguments, *self.plan.kept, *found)

    @property
    def given(self) -> tuple[Buffer, ...]:
        """What is the same for all legs, and each patient's own."""
        return tuple(b for b in self.plan.constant if not b.share)

    @property
    def results(self) -> tuple[Buffer, ...]:
        plan, n = self.plan, self.plan.size
        found = [Buffer("of_firsts", (plan.firsts, n)), Buffer("of_jump", (plan.legs,))]
        found += [Buffer("of_anew_from", (n,))] if plan.resetting else []
        found += [Buffer("of_reached", (plan.legs, n))] if plan.steadying else []
        found += [Buffer("of_base", (n,))] if plan.inflow else []
        found += [Buffer("of_change", (plan.legs,)), Buffer("of_inflow", (n,))] if plan.infusing else []
        return (*found, *(Buffer(f"of_{b.name}", b.shape) for b in self.given))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Machine) -> None:
        Back(machine, self).travel()


class Back:
    """`seen` gives the cotangents of what was there at every place: those of the results, if nothing else (outputs.py).

    Rooms for cotangents: `x` of the amounts after an event, with a place for what goes outside; `flow` of the inflows;
    `after` and `areas` of what the leg gives; `total` of the integral so far; `begin` of what a new beginning is from;
    `base` of the lasting inflow; `bars` of what all legs share."""

    def __init__(self, m: Machine, back: JourneyBack, seen: OutputCotangents | None = None):
        self.m, self.back, self.plan, self.buffer = m, back, back.plan, back.buffer
        plan, n = self.plan, self.plan.size
        self.x, self.begin, self.after = Rows(m, n + 1), Rows(m, n), Rows(m, plan.stops * n)
        self.flow, self.base = (Rows(m, n + 1), Rows(m, n)) if plan.inflow else (None, None)
        self.areas, self.total = (Rows(m, plan.stops * n), Rows(m, n)) if plan.integrals else (None, None)
        self.bars = {b.name: Rows(m, b.shape[0]) for b in back.given}
        self.edges = Rows(m, plan.stops + 1) if plan.reminded else None
        self.seen = seen or (OwnTimesAdjoint if plan.own else SharedTimesAdjoint)(m, plan, self.buffer)

    def travel(self) -> None:
        m, plan, n = self.m, self.plan, self.plan.size
        for room in (self.x, self.begin, self.flow, self.base, self.total, *self.bars.values()):
            if room is not None:
                room.clear()
        m.loop(plan.legs, lambda i: self._back(i * -1 + (plan.legs - 1)))
        firsts = Rows(m, plan.firsts * n)
        firsts.clear()
        copy(m, n, firsts.part((plan.firsts - 1) * n).put, self.x.get)
        self.seen.collect_initial(firsts)
        self._write("of_firsts", firsts.get)
        if plan.resetting:
            self._write("of_anew_from", self.begin.get)
        if self.flow is not None and self.base is not None:
            flow, base = self.flow, self.base
            if plan.infusing:
                self._write("of_inflow", flow.get)
            self._write("of_base", lambda k: base.get(k) + flow.get(k))
        for name, room in self.bars.items():
            self._write(f"of_{name}", room.get)

    def _write(self, name: str, value: Read) -> None:
        rows = 1
        for count in self.buffer[name].shape:
            rows *= count
        copy(self.m, rows, lambda k, bar: self.m.write(self.buffer[name], k, bar), value)

    def _back(self, g: Index) -> list[Operand]:
        m, plan, n = self.m, self.plan, self.plan.size
        self.after.clear()
        last = (plan.stops - 1) * n
        total, areas = self.total, self.areas
        self.seen.collect_stop(g * plan.stops + (plan.stops - 1), self.x.add, None if total is None else total.add)
        EventOps(m, plan, self.buffer, g).event_adjoint(self.x, self.begin, self.flow, self.base)
        copy(m, n, self.after.part(last).put, self.x.get)
        if total is not None and areas is not None:
            areas.clear()
            copy(m, n, areas.part(last).put, total.get)

        def both(t: Index) -> Write | None:
            if total is None or areas is None:
                return None

            before, own = total, areas.part(t * n)

            def add(k: Index, bar: Operand) -> None:
                own.put(k, bar)
                before.add(k, bar)

            return add

        def seen(t: Index) -> list[Operand]:
            self.seen.collect_stop(g * plan.stops + t, self.after.part(t * n).put, both(t))
            return []

        if plan.stops > 1:
            m.loop(plan.stops - 1, seen)
        self.back.leg.run(self._leg(g))
        return []

    def _leg(self, g: Index) -> Any:
        """The machine that the reverse of a leg runs on."""
        m, plan, n = self.m, self.plan, self.plan.size
        reads, writes = leg_tables(m, plan, self.buffer, g), {}
        count = plan.stops * n if plan.reminded else n
        reads["starts" if plan.reminded else "start"] = m.part(self.buffer["starts"], g * count, (count,))
        if plan.inflow:
            infusing = plan.infusing
            reads[plan.inflow] = m.part(self.buffer["flows"], g * n, (n,)) if infusing else self.buffer["base"]
        reads["of_amounts"], writes["of_start"] = self.after.get, self.x.put
        if self.areas is not None:
            reads["of_integral"] = self.areas.get
        for name, bar in self.bars.items():
            writes[f"of_{name}"] = bar.add
        flow = self.flow
        if not plan.reminded:
            if flow is not None:
                writes["of_source"] = flow.add
            return Within(m, reads, writes)
        assert self.edges is not None
        edges = plan.stops + 1
        reads["memory"] = m.part(self.buffer["memories"], g * 2, (2,))
        reads["lengths"] = m.part(self.buffer["lengths"], g * edges, (edges,))
        reads["of_edges"], writes["of_edges"] = self.edges.get, self.edges.put
        if flow is not None:
            of_constant = self.bars["constant"]

            def flows(k: Index, bar: Operand) -> None:
                """What flows in counts like what flows at zero amounts."""
                of_constant.add(k, bar)
                flow.add(k, bar)

            writes["of_constant"] = flows
        return Within(m, reads, writes)
