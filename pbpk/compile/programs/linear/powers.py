"""The vectors Tⱼ(W)x of the resolvent's powers, and their sums at every stop, a group of terms at a time.

    Tⱼ₊₁(W)x = 2 (2 (I − gA)⁻¹ Tⱼ(W)x − Tⱼ(W)x) − Tⱼ₋₁(W)x,     T₋₁ = T₁

A group's vectors are summed while they are in the first cache; the sums wait in scratch, and are in registers, some
states and stops together, while a group is added to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.base import Index, Machine, Operand

if TYPE_CHECKING:
    from pbpk.compile.programs.window import LinearWindow

Weight = Callable[[Index, int], Operand]
"""The coefficient of a term at a stop."""

Solve = Callable[[list[Operand]], list[Operand]]
"""b ↦ (I − gA)⁻¹ b."""


def sum_powers(
    m: Machine, w: LinearWindow, solve: Solve, vectors: list[list[Operand]], pairs: list[tuple[int, Weight]]
) -> tuple[PowerSums, list[Any], Operand]:
    """The sums in scratch; for each beginning the vectors of the last group, one before and one after it, (group + 2,
    stride); and the largest cⱼ |Tⱼ(W)x| without nilpotents, the root of the squares: half the work of
    magnitudes, and no component exceeds it. A pair is the number of a beginning and the weights of its sum."""
    n, size, group, starts_from_zero = w.stride, w.vector_width, w.terms_at_once, w.derivative_order > 0
    scratches = [m.scratch((group + 2) * n) for _ in vectors]
    sums = PowerSums(m, w, len(pairs))
    for x, room in zip(vectors, scratches, strict=True):
        # Or T₋₁ = 0 and the first 2 a 1: half the code, for a register more than loops that are to be fast have free.
        before = [0.0] * size if starts_from_zero else [2.0 * s - v for s, v in zip(solve(x), x, strict=True)]
        for k, vector in enumerate((before, x)):
            for i, value in enumerate((*vector, *sum_readings(w, vector))):
                m.put(room, (group + k) * n + i, value)
    sums.clear()

    def one_group(number: Index, *carry: Operand) -> list[Operand]:
        def begin(k: Index) -> list[Operand]:
            for room in scratches:
                m.put(room, k, m.get(room, k + group * n))
            return []

        m.loop(2 * n, begin)

        def one(q: Index, peak: Operand, f: Operand = 2.0) -> list[Operand]:
            squares: Operand = 0.0
            for room in scratches:
                newer = [m.get(room, q * n + (n + i)) for i in range(size)]
                solved = solve(newer)
                vector = []
                for i in range(size):
                    following = (f + f) * solved[i] - m.get(room, q * n + i) - f * newer[i]  # two fused operations
                    m.put(room, q * n + (2 * n + i), following)
                    squares = following * following + squares if i < w.size else squares
                    vector.append(following)
                for k, value in enumerate(sum_readings(w, vector)):
                    m.put(room, q * n + (2 * n + size + k), value)
            place = (number * group + q) * (w.stops + 1) + (w.stops + 1 + w.stops)
            bound = m.read(w.buffer["weights"], place)
            peak = m.larger(squares * (bound * bound), peak)
            return [peak, 2.0] if starts_from_zero else [peak]

        after = m.loop(group, one, carry)
        for block in sums.blocks:
            block.add(scratches, [(k, lambda q, t, c=c: c(number * group + q, t)) for k, c in pairs])
        return after

    bound = m.read(w.buffer["weights"], w.stops)
    first = sum(v * v for x in vectors for v in x[: w.size]) * (bound * bound)
    peak = m.loop(w.term_groups, one_group, [first, 1.0] if starts_from_zero else [first])[0]
    return sums, scratches, m.root(peak)


def sum_readings(w: LinearWindow, vector: Sequence[Operand]) -> list[Operand]:
    """The readings of a vector, their compartments added in order."""
    return [sum((vector[i] for i in members[1:]), vector[members[0]]) for members in w.readings]


class PowerSums:
    """The sums of every pair at every stop, (pair, stop, width); or where there are readings, of those, and of the amounts
    at the last stop alone."""

    def __init__(self, m: Machine, w: LinearWindow, pairs: int):
        self.machine, self.window, self.pairs = m, w, pairs
        self.readings = _SumBlock(m, w, pairs, w.vector_width, len(w.readings), 0, w.stops) if w.readings else None
        first = w.stops - 1 if w.readings else 0
        self.amounts = _SumBlock(m, w, pairs, 0, w.vector_width, first, w.stops)

    def clear(self) -> None:
        for block in self.blocks:
            block.clear()

    @property
    def blocks(self) -> list[_SumBlock]:
        return [self.amounts] if self.readings is None else [self.readings, self.amounts]


class _SumBlock:
    """Sums of `states` numbers of a vector, from `offset` on, at the stops `first` … `end` − 1."""

    def __init__(self, m: Machine, w: LinearWindow, pairs: int, offset: int, states: int, first: int, end: int):
        self.machine, self.window, self.offset, self.states = m, w, offset, states
        self.pairs, self.first, self.last = pairs, first, end
        self.scratch = m.scratch(self.size)

    @property
    def size(self) -> int:
        return self.pairs * (self.last - self.first) * self.states

    def clear(self) -> None:
        m = self.machine
        m.loop(self.size, lambda k: m.put(self.scratch, k, 0.0) or [])

    def slot_of(self, pair: int, stop: int, state: Index) -> Index:
        return state + (pair * (self.last - self.first) + stop - self.first) * self.states

    def get(self, pair: int, stop: int, state: Index) -> Operand:
        return self.machine.get(self.scratch, self.slot_of(pair, stop, state))

    def add(self, rooms: list[Any], pairs: list[tuple[int, Weight]]) -> None:
        """A group's terms, a tile of states and stops at a time."""
        m, w = self.machine, self.window
        together, times = w.tile_size(self.states, self.last - self.first)

        def tile(i: Index, states: int, own: range) -> None:
            places = [self.slot_of(k, t, s) for k in range(len(pairs)) for t in own for s in range(states)]

            def step(q: Index, *so_far: Operand) -> list[Operand]:
                left, new = iter(so_far), []
                here = q * w.stride + i
                values = [[m.get(room, here + (w.stride + self.offset + s)) for s in range(states)] for room in rooms]
                for which, weight in pairs:
                    for t in own:
                        c = weight(q, t)
                        new += [c * v + next(left) for v in values[which]]
                return new

            found = m.loop(w.terms_at_once, step, [m.get(self.scratch, i + place) for place in places])
            for place, value in zip(places, found, strict=True):
                m.put(self.scratch, i + place, value)

        for first in range(self.first, self.last, times):
            own = range(first, min(first + times, self.last))

            def tiles(k: Index, own=own) -> list[Operand]:
                tile(k * together, together, own)
                return []

            if self.states // together:
                m.loop(self.states // together, tiles)
            if self.states % together:
                tile(self.states - self.states % together, self.states % together, own)
