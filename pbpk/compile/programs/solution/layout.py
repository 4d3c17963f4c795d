"""What is known of a whole solution when its programs are written (forward.py, adjoint.py): the arguments of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from pbpk.compile.backend.base import Buffer, Index, Machine, Operand

OF_STOPS = ("stops", "weights", "right", "edges")
"""A leg's arguments that follow from its stops."""


class Leg(Protocol):
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
class Plan:
    """What is known of a solution when its program is written: `legs` windows, events at the first instant (`firsts`), rows
    of the result; whether inflows change, whether a fraction of a compartment may go elsewhere, whether there are resets,
    whether steady states are reached; whether each patient has events of his `own`. With `readings`, sums of amounts by the
    numbers of their compartments, rows hold those (there is no way back then)."""

    leg: Leg
    legs: int
    firsts: int
    rows: int
    infusing: bool
    voiding: bool
    resetting: bool
    steadying: bool = False
    own: bool = False
    readings: tuple[tuple[int, ...], ...] = ()

    @property
    def shown(self) -> int:
        """Numbers in a row of the result."""
        return len(self.readings) or self.size

    def read(self, amounts: Callable[[Index], Operand]) -> Callable[[Index], Operand]:
        """What a row shows of all amounts."""
        members = self.readings
        return (lambda r: sum((amounts(k) for k in members[r][1:]), amounts(members[r][0]))) if members else amounts

    @property
    def summed(self) -> bool:
        """Whether a leg gives readings itself, and all amounts at its last stop alone."""
        return any(b.name == "last_amounts" for b in self.leg.results)

    @property
    def size(self) -> int:
        return self.leg.size

    @property
    def stops(self) -> int:
        return self.leg.stops

    @property
    def places(self) -> int:
        """Where something may be seen: after the first events, and at all stops."""
        return self.firsts + self.legs * self.stops

    @cached_property
    def inflow(self) -> str:
        """The leg's name for its constant inflow, "" without one."""
        return next((b.name for b in self.leg.arguments if b.name in ("source", "rate")), "")

    @property
    def integrals(self) -> bool:
        return any(b.name == "integral" for b in self.leg.results)

    @property
    def reminded(self) -> bool:
        """Whether a leg is told what the last one remembers: the next step's length, hours since something changed."""
        return any(b.name == "memory" for b in self.leg.arguments)

    @property
    def constant(self) -> tuple[Buffer, ...]:
        """A leg's arguments that are the same for all legs."""
        moving = ("start", "memory", self.inflow, *OF_STOPS)
        return tuple(b for b in self.leg.arguments if b.name not in moving)

    @property
    def tables(self) -> tuple[Buffer, ...]:
        own = {b.name: b for b in self.leg.arguments}
        return tuple(Buffer(name, (self.legs, *own[name].shape), own[name].share) for name in OF_STOPS if name in own)

    @property
    def structure(self) -> tuple[Buffer, ...]:
        """What happens, the same for all or each patient's own, as numbers. Of each leg's closing event: `into` which
        compartment, and `target` where a fraction goes; whether everything begins `anew`, 2 if at a steady state; whether
        something changed just before (`fresh`); where each looks at other times, the place where he `look`s for a row.

        The same for all in any case: where a stop's amounts, and those of the first events, are wanted: `row` is 1 and the
        row, or 0; and of all stops but a leg's last 1 and the next one's number, else 0; `begun`, of each row, 1 and the
        number of the first event, or 0."""
        asked = {"into": True, "anew": self.resetting, "target": self.voiding, "fresh": self.reminded}
        found = [Buffer(name, (self.legs,), not self.own) for name, wanted in asked.items() if wanted]
        found += [Buffer("look", (self.rows,)) if self.own else Buffer("begun", (self.rows, 2), True)]
        return (*found, Buffer("row", (self.legs, self.stops, 4), True))

    @property
    def changes(self) -> tuple[Buffer, ...]:
        """How much of it happens to each patient: amounts after the first events, at a new beginning and in the steady state
        that is `reached`; what events add to amounts (`jump`) and to inflows (`change`), or the fraction that goes; inflows
        at the start, and their lasting part (`base`)."""
        n, of_legs = self.size, (self.legs,)
        found = [Buffer("firsts", (self.firsts, n)), Buffer("jump", of_legs)]
        found += [Buffer("anew_from", (n,))] if self.resetting else []
        found += [Buffer("reached", (self.legs, n))] if self.steadying else []
        found += [Buffer("share", of_legs)] if self.voiding else []
        found += [Buffer("base", (n,))] if self.inflow else []
        return (*found, *([Buffer("change", of_legs), Buffer("inflow", (n,))] if self.infusing else []))

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return (*self.changes, *self.constant, *self.tables, *self.structure)

    @property
    def kept(self) -> tuple[Buffer, ...]:
        """What the way back needs: every leg's start, or with memory the amounts at all its edges but the last, the
        steps' lengths there and its memory; and its inflow."""
        n, legs = self.size, self.legs
        starts = Buffer("starts", (legs, self.stops, n) if self.reminded else (legs, n))
        found = [starts, *([Buffer("flows", (legs, n))] if self.infusing else [])]
        if self.reminded:
            found += [Buffer("lengths", (legs, self.stops + 1)), Buffer("memories", (legs, 2))]
        return tuple(found)


def leg_tables(m: Machine, plan: Plan, buffer: dict[str, Buffer], g: Index) -> dict[str, Any]:
    """A leg's part of every table."""
    found: dict[str, Any] = {}
    for table in plan.tables:
        shape = table.shape[1:]
        rows = 1
        for count in shape:
            rows *= count
        found[table.name] = m.part(buffer[table.name], g * rows, shape)
    return found
