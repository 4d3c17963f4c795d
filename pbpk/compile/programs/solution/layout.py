"""The layout of a whole solution: what is known when its programs (forward.py, adjoint.py, likelihood.py) are written.

A solution is a chain of segments. A segment is a window, in which nothing happens, and the event that closes the window. The
layout says how many there are and which kinds of events, and from that follow the arguments of all three programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import Any, Protocol

from pbpk.compile.backend.base import Backend, Buffer, Index, Operand


class WindowProgram(Protocol):
    """A program that crosses one window: `LinearWindowForward` or `RosenbrockWindow`.

    It has arguments `start`, with `inflow` one of that name, and with `has_memory` one `step_memory`; the others are
    `parameters` and `stop_tables`. It gives `amounts` and, with `integrals`, `integral`.
    """

    @property
    def size(self) -> int:
        """Number of compartments."""
        ...

    @property
    def stops(self) -> int:
        """Number of stops, of which the last is the window's end."""
        ...

    @property
    def integrals(self) -> bool:
        """Whether it integrates the amounts too."""
        ...

    @property
    def inflow(self) -> bool:
        """Whether it has a constant inflow as an argument."""
        ...

    @property
    def has_memory(self) -> bool:
        """Whether it reaches its stops one after another and hands `step_memory` (the next step's length, the hours since
        something changed) to the next window. Without, it gives all stops at once, in any order."""
        ...

    @property
    def sums_readings(self) -> bool:
        """Whether it gives readings at its stops, and all amounts at its last stop alone."""
        ...

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Names of its one-row results that say how well it went: the larger, the worse."""
        ...

    @property
    def parameters(self) -> tuple[Buffer, ...]:
        """Arguments that are the same for all windows."""
        ...

    @property
    def stop_tables(self) -> tuple[Buffer, ...]:
        """Arguments that follow from the window's stops."""
        ...

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """All arguments, in the order of a kernel of this window alone."""
        ...

    @property
    def results(self) -> tuple[Buffer, ...]:
        """All results, likewise."""
        ...

    def run(self, machine: Backend) -> None:
        """Writes the program, or runs it."""
        ...


class StopColumn(IntEnum):
    """Columns of the table `stop_outputs` (segments, stops, 4), which all patients share."""

    IS_OUTPUT = 0
    """1 where the stop's amounts are an output at a time that all share, else 0."""
    OUTPUT_ROW = 1
    """The row of the results that they go to."""
    HAS_NEXT = 2
    """1 for all stops of a window but the last."""
    NEXT_STOP = 3
    """The number of the next stop."""


class InitialColumn(IntEnum):
    """Columns of the table `initial_outputs` (rows of the results, 2), which all patients share."""

    IS_OUTPUT = 0
    """1 where the row holds amounts right after an event at the first instant, else 0."""
    EVENT = 1
    """The number of that event."""


def read_cell(m: Backend, table: Buffer, row: Index, column: IntEnum, below: int) -> Index:
    """One number of such a table as an index less than `below`."""
    first = row * len(type(column))
    return m.whole(table, first + int(column) if column else first, below)


@dataclass(frozen=True)
class SolutionLayout:
    """What is known of a solution when its programs are written: `window`, the program that crosses one window, and the number
    of `segments`; `initial_events`, the number of events at the first instant; `output_rows` of the results.

    `has_infusions`: events change inflows; `has_void`: a fraction of a compartment may go elsewhere; `has_reset`: events may
    empty the patient; `has_steady_state`: events may add a steady state. `per_patient`: each patient has events and output
    times of their own. With `readings`, sums of amounts by the numbers of their compartments, rows hold those; there is no
    adjoint then but that of a likelihood.
    """

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
    def size(self) -> int:
        """Number of compartments."""
        return self.window.size

    @property
    def stops(self) -> int:
        """Number of stops of each window."""
        return self.window.stops

    @property
    def integrals(self) -> bool:
        """Whether the amounts are integrated too."""
        return self.window.integrals

    @property
    def has_inflow(self) -> bool:
        """Whether anything flows in at all, by infusions or by production."""
        return self.window.inflow

    @property
    def has_memory(self) -> bool:
        """Whether a window is told what the last one remembers (`WindowProgram.has_memory`)."""
        return self.window.has_memory

    @property
    def output_width(self) -> int:
        """Numbers in a row of the results."""
        return len(self.readings) or self.size

    @property
    def state_count(self) -> int:
        """Number of states that may be outputs: those after the events at the first instant, then those at all stops. In this
        order they are numbered."""
        return self.initial_events + self.segments * self.stops

    def sum_readings(self, amounts: Callable[[Index], Operand]) -> Callable[[Index], Operand]:
        """What a row of the results holds, from all amounts."""
        members = self.readings
        return (lambda r: sum((amounts(k) for k in members[r][1:]), amounts(members[r][0]))) if members else amounts

    @property
    def stop_tables(self) -> tuple[Buffer, ...]:
        """The window's tables that follow from its stops, one for each segment."""
        return tuple(Buffer(b.name, (self.segments, *b.shape), b.share) for b in self.window.stop_tables)

    @property
    def event_tables(self) -> tuple[Buffer, ...]:
        """Which events there are, as numbers: of each segment's closing event the `compartment`, and with voids the `target`
        where a fraction of it goes; `reset`, 1 where everything begins anew and 2 where it does at a steady state; with
        memory `restart`, 1 where something changed just before the window. All patients share these, or have their own.

        Where outputs are taken: with times of each patient's own `output_index`, the number of the state for each row, else
        `initial_outputs`, which all share (`InitialColumn`). `stop_outputs` is shared in any case (`StopColumn`)."""
        kinds = {"compartment": True, "reset": self.has_reset, "target": self.has_void, "restart": self.has_memory}
        tables = [Buffer(name, (self.segments,), not self.per_patient) for name, exists in kinds.items() if exists]
        if self.per_patient:
            tables.append(Buffer("output_index", (self.output_rows,)))
        else:
            tables.append(Buffer("initial_outputs", (self.output_rows, len(InitialColumn)), True))
        return (*tables, Buffer("stop_outputs", (self.segments, self.stops, len(StopColumn)), True))

    @property
    def event_amounts(self) -> tuple[Buffer, ...]:
        """How much the events do, each patient's own: `initial_states`, the amounts after each event at the first instant;
        what closing events add to amounts (`jump`) and to inflows (`inflow_change`), and the fraction that leaves a compartment
        (`void_fraction`); `reset_state`, the amounts after a reset, and `steady_amounts`, those of a steady state; the inflows:
        `initial_inflow`, and `production`, which lasts."""
        n, of_segments = self.size, (self.segments,)
        buffers = [Buffer("initial_states", (self.initial_events, n)), Buffer("jump", of_segments)]
        buffers += [Buffer("reset_state", (n,))] if self.has_reset else []
        buffers += [Buffer("steady_amounts", (self.segments, n))] if self.has_steady_state else []
        buffers += [Buffer("void_fraction", of_segments)] if self.has_void else []
        buffers += [Buffer("production", (n,))] if self.has_inflow else []
        buffers += [Buffer("inflow_change", of_segments), Buffer("initial_inflow", (n,))] if self.has_infusions else []
        return tuple(buffers)

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The arguments of the program forward."""
        return (*self.event_amounts, *self.window.parameters, *self.stop_tables, *self.event_tables)

    @property
    def residuals(self) -> tuple[Buffer, ...]:
        """What the program forward keeps for the adjoint: `window_starts`, the amounts at every window's start, or with memory
        at all its edges but the last; `window_inflows`; with memory `step_lengths` at the edges, and each window's
        `step_memories`."""
        n, segments = self.size, self.segments
        buffers = [Buffer("window_starts", (segments, self.stops, n) if self.has_memory else (segments, n))]
        buffers += [Buffer("window_inflows", (segments, n))] if self.has_infusions else []
        if self.has_memory:
            buffers += [Buffer("step_lengths", (segments, self.stops + 1)), Buffer("step_memories", (segments, 2))]
        return tuple(buffers)


def cotangent_name(name: str) -> str:
    """The name of the buffer of cotangents of the buffer `name`."""
    return f"of_{name}"


def slice_stop_tables(m: Backend, layout: SolutionLayout, buffer: dict[str, Buffer], segment: Index) -> dict[str, Any]:
    """One segment's part of every table that follows from the stops, by the name that its window's program knows it by."""
    return {
        table.name: m.part(buffer[table.name], segment * prod(table.shape[1:]), table.shape[1:])
        for table in layout.stop_tables
    }
