"""What an algorithm of this package may do to numbers, and the backend that does it with NumPy.

An algorithm is ordinary Python on *operands*: + − × ÷ with one another and with floats, and the few functions of a
`Backend` below. One operand is one quantity of many patients. On `NumpyBackend` it is a NumPy array (N,) and the algorithm
runs as it is read: the oracle. On `LlvmBackend` (llvm.py) it is a value of LLVM's, some patients wide, and running the
algorithm writes the program.

So there are no branches on numbers (`choose` instead), and a loop is Python's where it is to be unrolled and the backend's
`loop` where not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Operand = Any
"""A number of each patient, or a float that is the same for all."""
Index = Any
"""An int, or a loop's counter and what + and × with ints make of it."""


@dataclass(frozen=True)
class Buffer:
    """An argument or result (*shape, patients), or (*shape, 1) where all patients `share` it. Its rows are numbered."""

    name: str
    shape: tuple[int, ...]
    share: bool = False


class Backend(Protocol):
    """What an algorithm may do to numbers; every method works on one operand of many patients."""

    def read(self, buffer: Buffer, row: Index) -> Operand:
        """The number in a row of an argument."""
        ...

    def write(self, buffer: Buffer, row: Index, value: Operand) -> None:
        """Put a number into a row of a result."""
        ...

    def stream(self, buffer: Buffer, row: Index, values: Sequence[Operand]) -> None:
        """`write` into the rows from `row` on of what the program does not come back to."""
        ...

    def part(self, buffer: Buffer, row: Index, shape: tuple[int, ...]) -> Buffer:
        """The rows of a buffer from `row` on, as a buffer of this shape."""
        ...

    def whole(self, buffer: Buffer, row: Index, below: int) -> Index:
        """A shared number as an index, no less than 0 and less than `below`, whatever it is."""
        ...

    def scratch(self, count: int) -> Any:
        """Room for `count` operands, for `get` and `put`."""
        ...

    def get(self, room: Any, at: Index) -> Operand:
        """The operand in a place of scratch."""
        ...

    def peek(self, room: Any, at: Index) -> Operand:
        """`fixed` of what is there."""
        ...

    def put(self, room: Any, at: Index, value: Operand) -> None:
        """Put an operand into a place of scratch."""
        ...

    def pick(self, room: Any, first: Index, at: Operand, below: int) -> Operand:
        """`get` of a place that is each patient's own: `at`, no less than 0 and less than `below`, whatever it is, places
        after `first`."""
        ...

    def place(self, room: Any, first: Index, at: Operand, below: int, value: Operand) -> None:
        """`put` into such a place."""
        ...

    def fixed(self, a: Operand) -> Operand:
        """a, without derivatives where operands have any (forward_mode.py): what a program decides by."""
        ...

    def loop(self, count: int, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand] = ()) -> list[Operand]:
        """`carry = body(i, *carry)` for i in 0 … count − 1, count > 0."""
        ...

    def size(self, a: Operand) -> Operand:
        """|a|."""
        ...

    def root(self, a: Operand) -> Operand:
        """√a."""
        ...

    def larger(self, a: Operand, b: Operand) -> Operand:
        """a where a > b, else b: so that b may be NaN and stay it."""
        ...

    def choose(self, sign: Operand, positive: Operand, otherwise: Operand) -> Operand:
        """`positive` where sign > 0."""
        ...

    def scale(self, a: Operand, power: Operand) -> Operand:
        """a · 2ⁿ for normal results; n is the integer in the last bits of `power` = n + 1.5 · 2⁵²."""
        ...

    def compare(self, a: Operand, b: Operand, more: Operand, otherwise: Operand) -> Operand:
        """`more` where a > b."""
        ...

    def parts(self, a: Operand) -> tuple[Operand, Operand]:
        """(m, n) with a = m · 2ⁿ and 1 ≤ m < 2, for normal a > 0; any numbers for others."""
        ...

    def coarse(self, a: Operand) -> Operand:
        """a without the last 27 bits: the product of two such is exact, and so is what is left of a."""
        ...

    def repeat(
        self, most: Index, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand], *, going: bool = False
    ) -> tuple[Index, list[Operand]]:
        """`carry = body(i, *carry)` for i in 0 … most − 1, which may be none; with `going` no longer than `carry[0]` > 0
        in any lane: what the body does in the others must not depend on that. How often it was done, and the carry."""
        ...


class NumpyBackend:
    """The backend of NumPy arrays, the oracle of all others. `buffers` holds the arguments by name and takes the results."""

    def __init__(self, arguments: dict[str, np.ndarray]):
        self.buffers = {name: a.reshape(-1, a.shape[-1]) for name, a in arguments.items()}

    def read(self, buffer: Buffer, row: int) -> np.ndarray:
        return self.buffers[buffer.name][row]

    def write(self, buffer: Buffer, row: int, value: Operand) -> None:
        self.buffers[buffer.name][row] = value

    def stream(self, buffer: Buffer, row: int, values: Sequence[Operand]) -> None:
        for k, value in enumerate(values):
            self.write(buffer, row + k, value)

    def part(self, buffer: Buffer, row: int, shape: tuple[int, ...]) -> Buffer:
        rows = Buffer(f"{buffer.name}[{row}:]", shape, buffer.share)
        self.buffers[rows.name] = self.buffers[buffer.name][row : row + int(np.prod(shape))]
        return rows

    def whole(self, buffer: Buffer, row: int, below: int) -> int:
        return int(_clip_index(self.buffers[buffer.name][row, 0], below))

    def scratch(self, count: int) -> list[Operand]:
        return [np.nan] * count

    def get(self, room: list[Operand], at: int) -> Operand:
        return room[at]

    peek = get

    def put(self, room: list[Operand], at: int, value: Operand) -> None:
        room[at] = value

    def pick(self, room: list[Operand], first: int, at: Operand, below: int) -> Operand:
        place, picked = _clip_index(at, below), np.nan
        for k in range(below):
            picked = np.where(place == k, room[first + k], picked)
        return picked

    def place(self, room: list[Operand], first: int, at: Operand, below: int, value: Operand) -> None:
        index = _clip_index(at, below)
        for k in range(below):
            room[first + k] = np.where(index == k, value, room[first + k])

    def fixed(self, a: Operand) -> Operand:
        return a

    def loop(self, count: int, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand] = ()) -> list[Operand]:
        for i in range(count):
            carry = body(i, *carry)
        return list(carry)

    def size(self, a: Operand) -> Operand:
        return np.abs(a)

    def root(self, a: Operand) -> Operand:
        return np.sqrt(a)

    def larger(self, a: Operand, b: Operand) -> Operand:
        return np.where(np.greater(a, b), a, b)

    def choose(self, sign: Operand, positive: Operand, otherwise: Operand) -> Operand:
        return np.where(np.greater(sign, 0), positive, otherwise)

    def scale(self, a: Operand, power: Operand) -> Operand:
        bits = np.asarray(power, float).view(np.int64) << 52
        return (np.asarray(a, float).view(np.int64) + bits).view(float)

    def compare(self, a: Operand, b: Operand, more: Operand, otherwise: Operand) -> Operand:
        return np.where(np.greater(a, b), more, otherwise)

    def parts(self, a: Operand) -> tuple[Operand, Operand]:
        bits = np.asarray(a, float).view(np.int64)
        mantissa = (bits & ((1 << 52) - 1) | (1023 << 52)).view(float)
        return mantissa, (bits >> 52 & 2047) - 1023.0

    def coarse(self, a: Operand) -> Operand:
        return (np.asarray(a, float).view(np.int64) & -(1 << 27)).view(float)

    def repeat(
        self, most: int, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand], *, going: bool = False
    ) -> tuple[int, list[Operand]]:
        count = 0
        while count < most and (not going or np.any(np.greater(carry[0], 0))):
            carry, count = body(count, *carry), count + 1
        return count, list(carry)


def _clip_index(a: Operand, below: int) -> Operand:
    return np.trunc(np.clip(np.nan_to_num(a), 0, below - 1))
