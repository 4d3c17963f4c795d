"""The vectors Tⱼ(W)x of the resolvent's powers, and their sums at every stop, a group of terms at a time.

    Tⱼ₊₁(W)x = 2 (2 (I − gA)⁻¹ Tⱼ(W)x − Tⱼ(W)x) − Tⱼ₋₁(W)x,     T₋₁ = T₁

A group's vectors are summed while they are in the first cache; the sums wait in scratch, and are in registers, some
states and stops together, while a group is added to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pbpk.compile.backend.base import Backend, Index, Operand

if TYPE_CHECKING:
    from pbpk.compile.programs.linear.layout import LinearWindow

Weight = Callable[[Index, int], Operand]
"""The coefficient of a term at a stop."""

Solve = Callable[[list[Operand]], list[Operand]]
"""b ↦ (I − gA)⁻¹ b."""


class WeightedSum(NamedTuple):
    """One sum at every stop: of the powers of the vector of this number, by these weights."""

    vector: int
    weight: Weight


def sum_powers(
    m: Backend, w: LinearWindow, solve: Solve, vectors: list[list[Operand]], weighted_sums: list[WeightedSum]
) -> tuple[PowerSums, list[Any], Operand]:
    """Sums the powers of all vectors. Gives the sums, in scratch; for each vector its powers of the last group, one before
    and one after it, (terms_at_once + 2, stride); and the largest cⱼ |Tⱼ(W)x|, of numbers without derivatives. Its size is
    the root of the squares: half the work of magnitudes, and no component exceeds it."""
    n, size, group, starts_from_zero = w.stride, w.vector_width, w.terms_at_once, w.derivative_order > 0
    scratches = [m.scratch((group + 2) * n) for _ in vectors]
    sums = PowerSums(m, w, len(weighted_sums))
    for x, scratch in zip(vectors, scratches, strict=True):
        # Or T₋₁ = 0 and the first 2 a 1: half the code, for a register more than loops that are to be fast have free.
        before = [0.0] * size if starts_from_zero else [2.0 * s - v for s, v in zip(solve(x), x, strict=True)]
        for k, vector in enumerate((before, x)):
            for i, value in enumerate((*vector, *sum_readings(w, vector))):
                m.put(scratch, (group + k) * n + i, value)
    sums.clear()

    def add_group(number: Index, *carry: Operand) -> list[Operand]:
        def move_last_two(k: Index) -> list[Operand]:
            for scratch in scratches:
                m.put(scratch, k, m.get(scratch, k + group * n))
            return []

        m.loop(2 * n, move_last_two)

        def add_term(q: Index, peak: Operand, f: Operand = 2.0) -> list[Operand]:
            squares: Operand = 0.0
            for scratch in scratches:
                newer = [m.get(scratch, q * n + (n + i)) for i in range(size)]
                solved = solve(newer)
                vector = []
                for i in range(size):
                    following = (f + f) * solved[i] - m.get(scratch, q * n + i) - f * newer[i]  # two fused operations
                    m.put(scratch, q * n + (2 * n + i), following)
                    squares = following * following + squares if i < w.size else squares
                    vector.append(following)
                for k, value in enumerate(sum_readings(w, vector)):
                    m.put(scratch, q * n + (2 * n + size + k), value)
            # Row j + 1 of the weights, whose last column is the largest of them.
            largest = m.read(w.buffer["weights"], (number * group + q) * (w.stops + 1) + (w.stops + 1 + w.stops))
            peak = m.larger(squares * (largest * largest), peak)
            return [peak, 2.0] if starts_from_zero else [peak]

        after = m.loop(group, add_term, carry)
        shifted = [WeightedSum(v, lambda q, t, c=c: c(number * group + q, t)) for v, c in weighted_sums]
        for block in sums.blocks:
            block.add(scratches, shifted)
        return after

    largest = m.read(w.buffer["weights"], w.stops)
    first = sum(v * v for x in vectors for v in x[: w.size]) * (largest * largest)
    peak = m.loop(w.term_groups, add_group, [first, 1.0] if starts_from_zero else [first])[0]
    return sums, scratches, m.root(peak)


def sum_readings(w: LinearWindow, vector: Sequence[Operand]) -> list[Operand]:
    """The readings of a vector, their compartments added in order."""
    return [sum((vector[i] for i in members[1:]), vector[members[0]]) for members in w.readings]


class PowerSums:
    """All sums of powers at every stop, (sum, stop, width); or where there are readings, those of the `readings`, and of the
    `amounts` at the last stop alone."""

    def __init__(self, m: Backend, w: LinearWindow, count: int):
        self.machine, self.window = m, w
        self.readings = _SumBlock(m, w, count, w.vector_width, len(w.readings), 0) if w.readings else None
        self.amounts = _SumBlock(m, w, count, 0, w.vector_width, w.stops - 1 if w.readings else 0)

    def clear(self) -> None:
        """Begins with 0."""
        for block in self.blocks:
            block.clear()

    @property
    def blocks(self) -> list[_SumBlock]:
        """The stretches of scratch that sums are in."""
        return [self.amounts] if self.readings is None else [self.readings, self.amounts]


class _SumBlock:
    """Sums of `width` numbers of a vector, from `offset` on, at the stops from `first` on."""

    def __init__(self, m: Backend, w: LinearWindow, count: int, offset: int, width: int, first: int):
        self.machine, self.window, self.offset, self.width = m, w, offset, width
        self.count, self.first, self.end = count, first, w.stops
        self.scratch = m.scratch(self.size)

    @property
    def size(self) -> int:
        """How many sums there are."""
        return self.count * (self.end - self.first) * self.width

    def clear(self) -> None:
        """Begins with 0."""
        m = self.machine
        m.loop(self.size, lambda k: m.put(self.scratch, k, 0.0) or [])

    def slot_of(self, sum_: int, stop: int, number: Index) -> Index:
        """Where a sum of a number at a stop is."""
        return number + (sum_ * (self.end - self.first) + stop - self.first) * self.width

    def get(self, sum_: int, stop: int, number: Index) -> Operand:
        """A sum of a number at a stop."""
        return self.machine.get(self.scratch, self.slot_of(sum_, stop, number))

    def add(self, powers: list[Any], sums: list[WeightedSum]) -> None:
        """Adds a group's terms, a tile of numbers and stops at a time: the tile's sums stay in registers over the group."""
        m, w = self.machine, self.window
        tile_width, tile_stops = w.tile_size(self.width, self.end - self.first)

        def add_tile(i: Index, width: int, stops: range) -> None:
            slots = [self.slot_of(k, t, s) for k in range(len(sums)) for t in stops for s in range(width)]

            def add_term(q: Index, *so_far: Operand) -> list[Operand]:
                remaining, new = iter(so_far), []
                row = q * w.stride + i
                values = [[m.get(x, row + (w.stride + self.offset + s)) for s in range(width)] for x in powers]
                for vector, weight in sums:
                    for t in stops:
                        c = weight(q, t)
                        new += [c * v + next(remaining) for v in values[vector]]
                return new

            new = m.loop(w.terms_at_once, add_term, [m.get(self.scratch, i + slot) for slot in slots])
            for slot, value in zip(slots, new, strict=True):
                m.put(self.scratch, i + slot, value)

        for first in range(self.first, self.end, tile_stops):
            stops = range(first, min(first + tile_stops, self.end))

            def add_tiles(k: Index, stops=stops) -> list[Operand]:
                add_tile(k * tile_width, tile_width, stops)
                return []

            if self.width // tile_width:
                m.loop(self.width // tile_width, add_tiles)
            if self.width % tile_width:
                add_tile(self.width - self.width % tile_width, self.width % tile_width, stops)
