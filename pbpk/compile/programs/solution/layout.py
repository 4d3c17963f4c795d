"""What is known of a whole solution when its programs are written (forward.py, adjoint.py): the arguments of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from pbpk.compile.backend.base import Buffer, Index, Machine, Operand

STOP_ARGUMENTS = ("stops", "weights", "right", "edges")
"""A leg's arguments that follow from its stops."""


class WindowProgram(Protocol):
    """A program that crosses one window."""

    @property
    def size(self) -> int: ...

    @property
    def stops(self) -> int: ...

    @property
    def arguments(self) -> tuple[Buffer, ...]: ...

    @property
    def results(self) -> tuple[Buffer, ...]: ...

    def run(self, machine: Machine) -> None: ...


@dataclass(frozen=True)
class SolutionLayout:
    """What is known of a solution when its program is written: `legs` windows, events at the first instant (`firsts`), rows
    of the result; whether inflows change, whether a fraction of a compartment may go elsewhere, whether there are resets,
    whether steady states are reached; whether each patient has events of his `own`. With `readings`, sums of amounts by the
    numbers of their compartments, rows hold those (there is no way back then)."""

    window: WindowProgram
    segments: int
    initial_events: int
    output_rows: int
    has_infusions: bool
    has_void: bool
    has_reset: bool
    has_steady_state: bool = False
    per_patient: bool = False
    readings: tuple[tuple[int, ...], ...] = ()

    @property
    def output_width(self) -> int:
        """Numbers in a row of the result."""
        return len(self.readings) or self.size

    def sum_readings(self, amounts: Callable[[Index], Operand]) -> Callable[[Index], Operand]:
        """What a row shows of all amounts."""
        members = self.readings
        return (lambda r: sum((amounts(k) for k in members[r][1:]), amounts(members[r][0]))) if members else amounts

    @property
    def window_sums_readings(self) -> bool:
        """Whether a leg gives readings itself, and all amounts at its last stop alone."""
        return any(b.name == "last_amounts" for b in self.window.results)

    @property
    def size(self) -> int:
        return self.window.size

    @property
    def stops(self) -> int:
        return self.window.stops

    @property
    def state_count(self) -> int:
        """Where something may be seen: after the first events, and at all stops."""
        return self.initial_events + self.segments * self.stops

    @cached_property
    def inflow(self) -> str:
        """The leg's name for its constant inflow, "" without one."""
        return next((b.name for b in self.window.arguments if b.name in ("source", "rate")), "")

    @property
    def integrals(self) -> bool:
        return any(b.name == "integral" for b in self.window.results)

    @property
    def has_memory(self) -> bool:
        """Whether a leg is told what the last one remembers: the next step's length, hours since something changed."""
        return any(b.name == "memory" for b in self.window.arguments)

    @property
    def window_parameters(self) -> tuple[Buffer, ...]:
        """A leg's arguments that are the same for all legs."""
        moving = ("start", "memory", self.inflow, *STOP_ARGUMENTS)
        return tuple(b for b in self.window.arguments if b.name not in moving)

    @property
    def stop_tables(self) -> tuple[Buffer, ...]:
        own = {b.name: b for b in self.window.arguments}
        return tuple(Buffer(name, (self.segments, *own[name].shape), own[name].share) for name in STOP_ARGUMENTS if name in own)

    @property
    def event_tables(self) -> tuple[Buffer, ...]:
        """What happens, the same for all or each patient's own, as numbers. Of each leg's closing event: `into` which
        compartment, and `target` where a fraction goes; whether everything begins `anew`, 2 if at a steady state; whether
        something changed just before (`fresh`); where each looks at other times, the place where he `look`s for a row.

        The same for all in any case: where a stop's amounts, and those of the first events, are wanted: `row` is 1 and the
        row, or 0; and of all stops but a leg's last 1 and the next one's number, else 0; `begun`, of each row, 1 and the
        number of the first event, or 0."""
        asked = {"into": True, "anew": self.has_reset, "target": self.has_void, "fresh": self.has_memory}
        found = [Buffer(name, (self.segments,), not self.per_patient) for name, wanted in asked.items() if wanted]
        found += [Buffer("look", (self.output_rows,)) if self.per_patient else Buffer("begun", (self.output_rows, 2), True)]
        return (*found, Buffer("row", (self.segments, self.stops, 4), True))

    @property
    def event_amounts(self) -> tuple[Buffer, ...]:
        """How much of it happens to each patient: amounts after the first events, at a new beginning and in the steady state
        that is `reached`; what events add to amounts (`jump`) and to inflows (`change`), or the fraction that goes; inflows
        at the start, and their lasting part (`base`)."""
        n, of_legs = self.size, (self.segments,)
        found = [Buffer("firsts", (self.initial_events, n)), Buffer("jump", of_legs)]
        found += [Buffer("anew_from", (n,))] if self.has_reset else []
        found += [Buffer("reached", (self.segments, n))] if self.has_steady_state else []
        found += [Buffer("share", of_legs)] if self.has_void else []
        found += [Buffer("base", (n,))] if self.inflow else []
        return (*found, *([Buffer("change", of_legs), Buffer("inflow", (n,))] if self.has_infusions else []))

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return (*self.event_amounts, *self.window_parameters, *self.stop_tables, *self.event_tables)

    @property
    def residuals(self) -> tuple[Buffer, ...]:
        """What the way back needs: every leg's start, or with memory the amounts at all its edges but the last, the
        steps' lengths there and its memory; and its inflow."""
        n, legs = self.size, self.segments
        starts = Buffer("starts", (legs, self.stops, n) if self.has_memory else (legs, n))
        found = [starts, *([Buffer("flows", (legs, n))] if self.has_infusions else [])]
        if self.has_memory:
            found += [Buffer("lengths", (legs, self.stops + 1)), Buffer("memories", (legs, 2))]
        return tuple(found)


def slice_stop_tables(m: Machine, plan: SolutionLayout, buffer: dict[str, Buffer], g: Index) -> dict[str, Any]:
    """A leg's part of every table."""
    found: dict[str, Any] = {}
    for table in plan.stop_tables:
        shape = table.shape[1:]
        rows = 1
        for count in shape:
            rows *= count
        found[table.name] = m.part(buffer[table.name], g * rows, shape)
    return found
