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
from pbpk.compile.programs.outputs import OutputCotangents, OwnTimesAdjoint, SharedTimesAdjoint
from pbpk.compile.programs.solution.layout import SolutionLayout, slice_stop_tables

if TYPE_CHECKING:
    from pbpk.compile.programs.linear.window_adjoint import LinearWindowAdjoint
    from pbpk.compile.programs.rosenbrock.window_adjoint import RosenbrockWindowAdjoint


@dataclass(frozen=True)
class SolutionAdjointProgram:
    """`leg` is the reverse of the plan's. Results are named after the arguments that they are cotangents of; fractions
    that go elsewhere, and times, are taken as fixed."""

    layout: SolutionLayout
    window: LinearWindowAdjoint | RosenbrockWindowAdjoint

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        seen = (self.layout.output_rows, self.layout.size)
        found = [Buffer("of_amounts", seen), *([Buffer("of_integral", seen)] if self.layout.integrals else [])]
        return (*self.layout.arguments, *self.layout.residuals, *found)

    @property
    def window_parameters(self) -> tuple[Buffer, ...]:
        """What is the same for all legs, and each patient's own."""
        return tuple(b for b in self.layout.window_parameters if not b.share)

    @property
    def results(self) -> tuple[Buffer, ...]:
        plan, n = self.layout, self.layout.size
        found = [Buffer("of_firsts", (plan.initial_events, n)), Buffer("of_jump", (plan.segments,))]
        found += [Buffer("of_anew_from", (n,))] if plan.has_reset else []
        found += [Buffer("of_reached", (plan.segments, n))] if plan.has_steady_state else []
        found += [Buffer("of_base", (n,))] if plan.inflow else []
        found += [Buffer("of_change", (plan.segments,)), Buffer("of_inflow", (n,))] if plan.has_infusions else []
        return (*found, *(Buffer(f"of_{b.name}", b.shape) for b in self.window_parameters))

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        return {b.name: b for b in (*self.arguments, *self.results)}

    def run(self, machine: Machine) -> None:
        SolutionAdjoint(machine, self).run()


class SolutionAdjoint:
    """`seen` gives the cotangents of what was there at every place: those of the results, if nothing else (outputs.py).

    Rooms for cotangents: `x` of the amounts after an event, with a place for what goes outside; `flow` of the inflows;
    `after` and `areas` of what the leg gives; `total` of the integral so far; `begin` of what a new beginning is from;
    `base` of the lasting inflow; `bars` of what all legs share."""

    def __init__(self, m: Machine, back: SolutionAdjointProgram, seen: OutputCotangents | None = None):
        self.m, self.program, self.layout, self.buffer = m, back, back.layout, back.buffer
        plan, n = self.layout, self.layout.size
        self.x, self.reset_state, self.window_amounts = Rows(m, n + 1), Rows(m, n), Rows(m, plan.stops * n)
        self.inflow, self.basal_inflow = (Rows(m, n + 1), Rows(m, n)) if plan.inflow else (None, None)
        self.window_integrals, self.integral = (Rows(m, plan.stops * n), Rows(m, n)) if plan.integrals else (None, None)
        self.window_parameters = {b.name: Rows(m, b.shape[0]) for b in back.window_parameters}
        self.edges = Rows(m, plan.stops + 1) if plan.has_memory else None
        self.outputs = seen or (OwnTimesAdjoint if plan.per_patient else SharedTimesAdjoint)(m, plan, self.buffer)

    def run(self) -> None:
        m, plan, n = self.m, self.layout, self.layout.size
        for room in (self.x, self.reset_state, self.inflow, self.basal_inflow, self.integral, *self.window_parameters.values()):
            if room is not None:
                room.clear()
        m.loop(plan.segments, lambda i: self._pull_segment(i * -1 + (plan.segments - 1)))
        firsts = Rows(m, plan.initial_events * n)
        firsts.clear()
        copy(m, n, firsts.part((plan.initial_events - 1) * n).put, self.x.get)
        self.outputs.collect_initial(firsts)
        self._write("of_firsts", firsts.get)
        if plan.has_reset:
            self._write("of_anew_from", self.reset_state.get)
        if self.inflow is not None and self.basal_inflow is not None:
            flow, base = self.inflow, self.basal_inflow
            if plan.has_infusions:
                self._write("of_inflow", flow.get)
            self._write("of_base", lambda k: base.get(k) + flow.get(k))
        for name, room in self.window_parameters.items():
            self._write(f"of_{name}", room.get)

    def _write(self, name: str, value: Read) -> None:
        rows = 1
        for count in self.buffer[name].shape:
            rows *= count
        copy(self.m, rows, lambda k, bar: self.m.write(self.buffer[name], k, bar), value)

    def _pull_segment(self, g: Index) -> list[Operand]:
        m, plan, n = self.m, self.layout, self.layout.size
        self.window_amounts.clear()
        last = (plan.stops - 1) * n
        total, areas = self.integral, self.window_integrals
        self.outputs.collect_stop(g * plan.stops + (plan.stops - 1), self.x.add, None if total is None else total.add)
        EventOps(m, plan, self.buffer, g).event_adjoint(self.x, self.reset_state, self.inflow, self.basal_inflow)
        copy(m, n, self.window_amounts.part(last).put, self.x.get)
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
            self.outputs.collect_stop(g * plan.stops + t, self.window_amounts.part(t * n).put, both(t))
            return []

        if plan.stops > 1:
            m.loop(plan.stops - 1, seen)
        self.program.window.run(self._window_backend(g))
        return []

    def _window_backend(self, g: Index) -> Any:
        """The machine that the reverse of a leg runs on."""
        m, plan, n = self.m, self.layout, self.layout.size
        reads, writes = slice_stop_tables(m, plan, self.buffer, g), {}
        count = plan.stops * n if plan.has_memory else n
        reads["starts" if plan.has_memory else "start"] = m.part(self.buffer["starts"], g * count, (count,))
        if plan.inflow:
            infusing = plan.has_infusions
            reads[plan.inflow] = m.part(self.buffer["flows"], g * n, (n,)) if infusing else self.buffer["base"]
        reads["of_amounts"], writes["of_start"] = self.window_amounts.get, self.x.put
        if self.window_integrals is not None:
            reads["of_integral"] = self.window_integrals.get
        for name, bar in self.window_parameters.items():
            writes[f"of_{name}"] = bar.add
        flow = self.inflow
        if not plan.has_memory:
            if flow is not None:
                writes["of_source"] = flow.add
            return Within(m, reads, writes)
        assert self.edges is not None
        edges = plan.stops + 1
        reads["memory"] = m.part(self.buffer["memories"], g * 2, (2,))
        reads["lengths"] = m.part(self.buffer["lengths"], g * edges, (edges,))
        reads["of_edges"], writes["of_edges"] = self.edges.get, self.edges.put
        if flow is not None:
            of_constant = self.window_parameters["constant"]

            def flows(k: Index, bar: Operand) -> None:
                """What flows in counts like what flows at zero amounts."""
                of_constant.add(k, bar)
                flow.add(k, bar)

            writes["of_constant"] = flows
        return Within(m, reads, writes)
