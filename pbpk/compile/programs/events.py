"""The event that closes a window, and its adjoint: a reset, a bolus, a void, a steady state, a change of inflow, in this
order.

The compartment is one for all patients, or each patient's own. What goes to no compartment is put one place beyond the last,
and forgotten: so there is no branch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.redirected import ScratchView, copy_rows
from pbpk.compile.programs.loops import for_each
from pbpk.compile.programs.solution.layout import cotangent_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
    from pbpk.compile.programs.solution.layout import SolutionLayout


class EventOps:
    """The event that closes a segment. `x` and `inflow`, amounts and inflows or their cotangents, have a place beyond the
    last compartment, for what goes nowhere."""

    def __init__(self, m: Backend, layout: SolutionLayout, buffer: dict[str, Buffer], segment: Index):
        self.m, self.layout, self.buffer, self.segment = m, layout, buffer, segment
        self.compartment = self._read_compartment("compartment")
        self.reset = m.read(buffer["reset"], segment) if layout.has_reset else 0.0

    def apply_event(self, x: ScratchView, last: ScratchView, inflow: ScratchView | None) -> None:
        """Applies it to amounts and inflows, from the amounts at the `last` stop."""
        m, layout, n = self.m, self.layout, self.layout.size
        reset_state = self.buffer.get("reset_state")
        if reset_state is not None:
            copy_rows(
                m, n, x.put, lambda k: m.choose(self.reset, self._reset_amount(m.read(reset_state, k)), last.get(k))
            )
        else:
            copy_rows(m, n, x.put, last.get)
        x.put(n, 0.0)
        self._add_at(x, self.compartment, self._read_size("jump"))
        if layout.has_void:
            x.put(n, 0.0)  # a void of no compartment takes nothing, whatever a bolus put there
            voided = self._get_at(x, self.compartment) * self._read_size("void_fraction")
            self._add_at(x, self.compartment, -voided)
            self._add_at(x, self._read_compartment("target"), voided)
        if layout.has_steady_state:
            copy_rows(m, n, x.add, lambda k: m.read(self.buffer["steady_amounts"], self.segment * n + k))
        if inflow is not None:
            production = self.buffer["production"]
            if layout.has_reset:  # stops infusions, and no more
                copy_rows(m, n, inflow.put, lambda k: m.choose(self.reset, m.read(production, k), inflow.get(k)))
            inflow.put(n, 0.0)
            self._add_at(inflow, self.compartment, self._read_size("inflow_change"))

    def event_adjoint(
        self, x: ScratchView, of_reset_state: ScratchView, inflow: ScratchView | None, of_production: ScratchView | None
    ) -> None:
        """Replaces the cotangents of what is after the event by those of what was before. `of_reset_state` and `of_production`
        gather those of what a reset sets."""
        m, layout, n = self.m, self.layout, self.layout.size
        if layout.has_steady_state:
            of_steady = self.buffer[cotangent_name("steady_amounts")]
            copy_rows(m, n, lambda k, bar: m.write(of_steady, self.segment * n + k, bar), x.get)
        x.put(n, 0.0)
        if layout.has_void:
            of_voided = self._get_at(x, self._read_compartment("target")) - self._get_at(x, self.compartment)
            self._add_at(x, self.compartment, of_voided * self._read_size("void_fraction"))
            x.put(n, 0.0)
        m.write(self.buffer[cotangent_name("jump")], self.segment, self._get_at(x, self.compartment))
        if layout.has_reset:
            self._cut_at_reset(x, of_reset_state, self._reset_amount)
        if inflow is None or of_production is None or not layout.has_infusions:
            return
        inflow.put(n, 0.0)
        m.write(self.buffer[cotangent_name("inflow_change")], self.segment, self._get_at(inflow, self.compartment))
        if layout.has_reset:
            self._cut_at_reset(inflow, of_production, lambda bar: bar)

    def _cut_at_reset(self, bars: ScratchView, of_new: ScratchView, passed_on: Callable[[Operand], Operand]) -> None:
        """What was before a reset has no cotangents: they belong to what the reset sets."""
        m = self.m

        def cut(k: Index) -> None:
            bar = bars.get(k)
            of_new.add(k, m.choose(self.reset, passed_on(bar), 0.0))
            bars.put(k, m.choose(self.reset, 0.0, bar))

        for_each(m, self.layout.size, cut)

    def _reset_amount(self, amount: Operand) -> Operand:
        """What a reset sets: nothing where it is followed by a steady state (2 in the table), which is all there is then."""
        return self.m.choose(self.reset - 1.5, 0.0, amount) if self.layout.has_steady_state else amount

    def _read_size(self, name: str) -> Operand:
        """How much of something the event does."""
        return self.m.read(self.buffer[name], self.segment)

    def _read_compartment(self, name: str) -> Any:
        """Where it does it: an index that all share, or each patient's own number."""
        if self.layout.per_patient:
            return self.m.read(self.buffer[name], self.segment)
        return self.m.whole(self.buffer[name], self.segment, self.layout.size + 1)

    def _get_at(self, rows: ScratchView, compartment: Any) -> Operand:
        """The row of a compartment."""
        return rows.pick(compartment, self.layout.size + 1) if self.layout.per_patient else rows.get(compartment)

    def _add_at(self, rows: ScratchView, compartment: Any, value: Operand) -> None:
        """Adds to the row of a compartment."""
        if self.layout.per_patient:
            rows.place(compartment, self.layout.size + 1, rows.pick(compartment, self.layout.size + 1) + value)
        else:
            rows.add(compartment, value)
