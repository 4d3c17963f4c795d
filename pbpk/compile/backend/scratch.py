"""A backend on which some of a program's buffers are scratch: what one half of a program keeps for the other."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from pbpk.compile.backend.base import Backend, Buffer, Index, Operand
from pbpk.compile.backend.redirected import ScratchView


class ScratchResults:
    """`machine`, a backend, but the buffers named are scratch, and no arguments or results."""

    def __init__(self, machine: Backend, buffers: Sequence[Buffer]):
        self._machine = machine
        self._rooms = {b.name: ScratchView(machine, prod(b.shape)) for b in buffers}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def read(self, buffer: Buffer, row: Index) -> Operand:
        room = self._rooms.get(buffer.name)
        return self._machine.read(buffer, row) if room is None else room.get(row)

    def write(self, buffer: Buffer, row: Index, value: Operand) -> None:
        room = self._rooms.get(buffer.name)
        if room is None:
            self._machine.write(buffer, row, value)
        else:
            room.put(row, value)

    def stream(self, buffer: Buffer, row: Index, values: Sequence[Operand]) -> None:
        room = self._rooms.get(buffer.name)
        if room is None:
            self._machine.stream(buffer, row, values)
            return
        for k, value in enumerate(values):
            room.put(row + k, value)

    def part(self, buffer: Buffer, row: Index, shape: tuple[int, ...]) -> Buffer:
        room = self._rooms.get(buffer.name)
        if room is None:
            return self._machine.part(buffer, row, shape)
        rows = Buffer(f"{buffer.name}.{len(self._rooms)}", shape, buffer.share)
        self._rooms[rows.name] = room.part(row)
        return rows
