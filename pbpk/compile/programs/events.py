"""The event that closes a window, and the way back through it: a reset, a bolus, a part that goes elsewhere, a steady state
that is reached, a change of inflow, in this order.

Where it happens is one compartment for all patients, or each one's own. What is put into no compartment goes to the place
beyond the last, and is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.redirected import Rows, copy
from pbpk.compile.programs.rosenbrock.step import each

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Buffer, Index, Machine, Operand
    from pbpk.compile.programs.solution.layout import Plan


class Closing:
    """The event of window `g`. `x` and `flow`, amounts and inflows or their cotangents, have a place beyond the last."""

    def __init__(self, m: Machine, plan: Plan, buffer: dict[str, Buffer], g: Index):
        self.m, self.plan, self.buffer, self.g = m, plan, buffer, g
        self.into = self._where("into")
        self.anew = m.read(buffer["anew"], g) if plan.resetting else 0.0

    def happen(self, x: Rows, last: Rows, flow: Rows | None) -> None:
        """To amounts and inflows, from the amounts at the `last` stop."""
        m, plan, n = self.m, self.plan, self.plan.size
        begin = self.buffer.get("anew_from")
        if begin is not None:
            copy(m, n, x.put, lambda k: m.choose(self.anew, self._from(m.read(begin, k)), last.get(k)))
        else:
            copy(m, n, x.put, last.get)
        x.put(n, 0.0)
        self._add(x, self.into, self._much("jump"))
        if plan.voiding:
            x.put(n, 0.0)
            gone = self._get(x, self.into) * self._much("share")
            self._add(x, self.into, -gone)
            self._add(x, self._where("target"), gone)
        if plan.steadying:
            copy(m, n, x.add, lambda k: m.read(self.buffer["reached"], self.g * n + k))
        if flow is not None:
            base = self.buffer["base"]
            if plan.resetting:
                copy(m, n, flow.put, lambda k: m.choose(self.anew, m.read(base, k), flow.get(k)))
            flow.put(n, 0.0)
            self._add(flow, self.into, self._much("change"))

    def unhappen(self, x: Rows, begin: Rows, flow: Rows | None, base: Rows | None) -> None:
        """Cotangents of what was before, from those of what is after; `begin` and `base` gather those of what a new
        beginning is from."""
        m, plan, n = self.m, self.plan, self.plan.size
        if plan.steadying:
            copy(m, n, lambda k, bar: m.write(self.buffer["of_reached"], self.g * n + k, bar), x.get)
        x.put(n, 0.0)
        if plan.voiding:
            gone = self._get(x, self._where("target")) - self._get(x, self.into)
            self._add(x, self.into, gone * self._much("share"))
            x.put(n, 0.0)
        m.write(self.buffer["of_jump"], self.g, self._get(x, self.into))
        if plan.resetting:
            self._end(x, begin, self._from)
        if flow is None or base is None or not plan.infusing:
            return
        flow.put(n, 0.0)
        m.write(self.buffer["of_change"], self.g, self._get(flow, self.into))
        if plan.resetting:
            self._end(flow, base, lambda bar: bar)

    def _end(self, bars: Rows, begin: Rows, share: Any) -> None:
        """What was before a new beginning has no cotangents: they are the beginning's."""
        m = self.m

        def end(k: Index) -> None:
            bar = bars.get(k)
            begin.add(k, m.choose(self.anew, share(bar), 0.0))
            bars.put(k, m.choose(self.anew, 0.0, bar))

        each(m, self.plan.size, end)

    def _from(self, amount: Operand) -> Operand:
        """What is begun from: nothing where a steady state is reached."""
        return self.m.choose(self.anew - 1.5, 0.0, amount) if self.plan.steadying else amount

    def _much(self, name: str) -> Operand:
        return self.m.read(self.buffer[name], self.g)

    def _where(self, name: str) -> Any:
        if self.plan.own:
            return self.m.read(self.buffer[name], self.g)
        return self.m.whole(self.buffer[name], self.g, self.plan.size + 1)

    def _get(self, rows: Rows, at: Any) -> Operand:
        return rows.pick(at, self.plan.size + 1) if self.plan.own else rows.get(at)

    def _add(self, rows: Rows, at: Any, value: Operand) -> None:
        if self.plan.own:
            rows.place(at, self.plan.size + 1, rows.pick(at, self.plan.size + 1) + value)
        else:
            rows.add(at, value)
