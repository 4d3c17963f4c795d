"""The event that closes a window, and the way back through it: a reset, a bolus, a part that goes elsewhere, a steady state
that is reached, a change of inflow, in this order.

Where it happens is one compartment for all patients, or each one's own. What is put into no compartment goes to the place
beyond the last, and is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.redirected import Rows, copy
from pbpk.compile.programs.rosenbrock.step import for_each

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
    from pbpk.compile.programs.solution.layout import SolutionLayout


class EventOps:
    """The event of window `g`. `x` and `flow`, amounts and inflows or their cotangents, have a place beyond the last."""

    def __init__(self, m: Machine, plan: SolutionLayout, buffer: dict[str, Buffer], g: Index):
        self.m, self.plan, self.buffer, self.segment = m, plan, buffer, g
        self.compartment = self._read_compartment("into")
        self.reset = m.read(buffer["anew"], g) if plan.has_reset else 0.0

    def apply_event(self, x: Rows, last: Rows, flow: Rows | None) -> None:
        """To amounts and inflows, from the amounts at the `last` stop."""
        m, plan, n = self.m, self.plan, self.plan.size
        begin = self.buffer.get("anew_from")
        if begin is not None:
            copy(m, n, x.put, lambda k: m.choose(self.reset, self._reset_amount(m.read(begin, k)), last.get(k)))
        else:
            copy(m, n, x.put, last.get)
        x.put(n, 0.0)
        self._add_at(x, self.compartment, self._read_size("jump"))
        if plan.has_void:
            x.put(n, 0.0)
            gone = self._get_at(x, self.compartment) * self._read_size("share")
            self._add_at(x, self.compartment, -gone)
            self._add_at(x, self._read_compartment("target"), gone)
        if plan.has_steady_state:
            copy(m, n, x.add, lambda k: m.read(self.buffer["reached"], self.segment * n + k))
        if flow is not None:
            base = self.buffer["base"]
            if plan.has_reset:
                copy(m, n, flow.put, lambda k: m.choose(self.reset, m.read(base, k), flow.get(k)))
            flow.put(n, 0.0)
            self._add_at(flow, self.compartment, self._read_size("change"))

    def event_adjoint(self, x: Rows, begin: Rows, flow: Rows | None, base: Rows | None) -> None:
        """Cotangents of what was before, from those of what is after; `begin` and `base` gather those of what a new
        beginning is from."""
        m, plan, n = self.m, self.plan, self.plan.size
        if plan.has_steady_state:
            copy(m, n, lambda k, bar: m.write(self.buffer["of_reached"], self.segment * n + k, bar), x.get)
        x.put(n, 0.0)
        if plan.has_void:
            gone = self._get_at(x, self._read_compartment("target")) - self._get_at(x, self.compartment)
            self._add_at(x, self.compartment, gone * self._read_size("share"))
            x.put(n, 0.0)
        m.write(self.buffer["of_jump"], self.segment, self._get_at(x, self.compartment))
        if plan.has_reset:
            self._cut_at_reset(x, begin, self._reset_amount)
        if flow is None or base is None or not plan.has_infusions:
            return
        flow.put(n, 0.0)
        m.write(self.buffer["of_change"], self.segment, self._get_at(flow, self.compartment))
        if plan.has_reset:
            self._cut_at_reset(flow, base, lambda bar: bar)

    def _cut_at_reset(self, bars: Rows, begin: Rows, share: Any) -> None:
        """What was before a new beginning has no cotangents: they are the beginning's."""
        m = self.m

        def end(k: Index) -> None:
            bar = bars.get(k)
            begin.add(k, m.choose(self.reset, share(bar), 0.0))
            bars.put(k, m.choose(self.reset, 0.0, bar))

        for_each(m, self.plan.size, end)

    def _reset_amount(self, amount: Operand) -> Operand:
        """What is begun from: nothing where a steady state is reached."""
        return self.m.choose(self.reset - 1.5, 0.0, amount) if self.plan.has_steady_state else amount

    def _read_size(self, name: str) -> Operand:
        return self.m.read(self.buffer[name], self.segment)

    def _read_compartment(self, name: str) -> Any:
        if self.plan.per_patient:
            return self.m.read(self.buffer[name], self.segment)
        return self.m.whole(self.buffer[name], self.segment, self.plan.size + 1)

    def _get_at(self, rows: Rows, at: Any) -> Operand:
        return rows.pick(at, self.plan.size + 1) if self.plan.per_patient else rows.get(at)

    def _add_at(self, rows: Rows, at: Any, value: Operand) -> None:
        if self.plan.per_patient:
            rows.place(at, self.plan.size + 1, rows.pick(at, self.plan.size + 1) + value)
        else:
            rows.add(at, value)
