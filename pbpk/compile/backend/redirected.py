"""A backend on which some of a program's buffers are somewhere else, so that the program can be a step of a longer one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
from pbpk.compile.programs.loops import for_each

Read = Callable[[Index], Operand]
Write = Callable[[Index, Operand], None]


Arrived = Callable[..., None]


class RedirectedBackend:
    """`machine`, but what is read from and written to the buffers named is done by `reads` and `writes`: another buffer,
    or what is to be called with the row. `arrived` is called instead of writing what `arrive` is given."""

    def __init__(
        self,
        machine: Backend,
        reads: dict[str, Buffer | Read],
        writes: dict[str, Buffer | Write],
        arrived: Arrived | None = None,
    ):
        self._machine, self._reads, self._writes, self.arrived = machine, reads, writes, arrived

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def read(self, buffer: Buffer, row: Index) -> Operand:
        where = self._reads.get(buffer.name, buffer)
        return self._machine.read(where, row) if isinstance(where, Buffer) else where(row)

    def write(self, buffer: Buffer, row: Index, value: Operand) -> None:
        where = self._writes.get(buffer.name, buffer)
        if isinstance(where, Buffer):
            self._machine.write(where, row, value)
        else:
            where(row, value)


def write_at_stop(m: Backend, stop: Index, count: int, *outputs: tuple[Buffer, Read]) -> None:
    """What there is at a stop, into the rows of each buffer that are the stop's."""
    if isinstance(m, RedirectedBackend) and m.arrived is not None:
        m.arrived(stop, *(value for _, value in outputs))
        return

    def write(k: Index) -> None:
        for buffer, value in outputs:
            m.write(buffer, stop * count + k, value(k))

    for_each(m, count, write)


def copy_rows(m: Backend, count: int, put: Write, get: Read) -> None:
    """`put(k, get(k))` for all k."""
    for_each(m, count, lambda k: put(k, get(k)))


class ScratchView:
    """Scratch in which a program's buffer stands."""

    def __init__(self, machine: Backend, count: int):
        self.machine, self.room, self.count, self.first = machine, machine.scratch(count), count, 0

    def part(self, first: Index) -> ScratchView:
        """The same from `first` on."""
        view = ScratchView(self.machine, 0)
        view.room, view.first = self.room, first + self.first
        return view

    def get(self, at: Index) -> Operand:
        return self.machine.get(self.room, at + self.first)

    def put(self, at: Index, value: Operand) -> None:
        self.machine.put(self.room, at + self.first, value)

    def add(self, at: Index, value: Operand) -> None:
        """Add to the operand in a place."""
        self.put(at, self.get(at) + value)

    def pick(self, at: Operand, below: int) -> Operand:
        """`get` of each patient's own row, which is less than `below`."""
        return self.machine.pick(self.room, self.first, at, below)

    def place(self, at: Operand, below: int, value: Operand) -> None:
        self.machine.place(self.room, self.first, at, below, value)

    def clear(self) -> None:
        """Put 0 into every place."""
        copy_rows(self.machine, self.count, self.put, lambda k: 0.0)
