"""The backend whose operands have derivatives: any algorithm on it computes its own sensitivities, of any order.

It stands on another backend, NumPy's or LLVM's. What an algorithm decides by (`choose`, `compare`, how long to `repeat`) is
decided by the numbers alone. Scratch has room for all derivatives of every number; what a loop carries has those it
began with,
all of them where it began with a float. Equations are solved by one factorisation, of the numbers (elimination.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pbpk.compile.backend import functions
from pbpk.compile.backend.base import Backend, Buffer, Index, Operand  # singledispatch evaluates annotations
from pbpk.compile.backend.jet import OperandJet, coefficients_of, compose_taylor, divide_jets, list_subsets, value_of
from pbpk.compile.programs.elimination import (
    ColumnValues,
    Entry,
    Pivot,
    PivotFactors,
    factor_matrix,
    solve_factored,
    solve_transposed,
)

_Keys = tuple[int, ...]


@dataclass(frozen=True)
class _JetScratch:
    inner: Any
    count: int


class ForwardModeBackend:
    """`more`: by a buffer's name, where the derivatives of what stands in it are; without, it has none."""

    def __init__(self, machine: Backend, nilpotents: int, more: Mapping[str, Mapping[int, Buffer]]):
        self.machine, self.every, self.more = machine, tuple(range(2**nilpotents)), dict(more)

    def read(self, buffer: Buffer, row: Index) -> OperandJet:
        rest = self.more.get(buffer.name, {})
        return OperandJet(
            {0: self.machine.read(buffer, row), **{s: self.machine.read(b, row) for s, b in rest.items()}}
        )

    def write(self, buffer: Buffer, row: Index, value: Operand) -> None:
        parts = coefficients_of(value)
        for s, where in {0: buffer, **self.more.get(buffer.name, {})}.items():
            self.machine.write(where, row, parts.get(s, 0.0))

    def stream(self, buffer: Buffer, row: Index, values: Sequence[Operand]) -> None:
        for k, one in enumerate(values):
            self.write(buffer, row + k, one)

    def part(self, buffer: Buffer, row: Index, shape: tuple[int, ...]) -> Buffer:
        rows = self.machine.part(buffer, row, shape)
        if buffer.name in self.more:
            rest = self.more[buffer.name].items()
            self.more[rows.name] = {s: self.machine.part(b, row, shape) for s, b in rest}
        return rows

    def whole(self, buffer: Buffer, row: Index, below: int) -> Index:
        return self.machine.whole(buffer, row, below)

    def scratch(self, count: int) -> _JetScratch:
        return _JetScratch(self.machine.scratch(count * len(self.every)), count)

    def get(self, room: _JetScratch, at: Index) -> OperandJet:
        return OperandJet({s: self.machine.get(room.inner, at + s * room.count if s else at) for s in self.every})

    def peek(self, room: _JetScratch, at: Index) -> OperandJet:
        return OperandJet({0: self.machine.get(room.inner, at)})

    def put(self, room: _JetScratch, at: Index, value: Operand) -> None:
        parts = coefficients_of(value)
        for s in self.every:
            self.machine.put(room.inner, at + s * room.count if s else at, parts.get(s, 0.0))

    def pick(self, room: _JetScratch, first: Index, at: Operand, below: int) -> OperandJet:
        place = value_of(at)
        return OperandJet({s: self.machine.pick(room.inner, first + s * room.count, place, below) for s in self.every})

    def place(self, room: _JetScratch, first: Index, at: Operand, below: int, value: Operand) -> None:
        index, parts = coefficients_of(at).get(0, 0.0), coefficients_of(value)
        for s in self.every:
            self.machine.place(room.inner, first + s * room.count, index, below, parts.get(s, 0.0))

    def fixed(self, a: Operand) -> OperandJet:
        return OperandJet({0: value_of(a)})

    def loop(self, count: int, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand] = ()) -> list[Operand]:
        keys = self._carried(carry)
        carried = self.machine.loop(count, self._inside(body, keys), _flatten_jets(carry, keys))
        return _join_parts(carried, keys)

    def repeat(
        self, most: Index, body: Callable[..., Sequence[Operand]], carry: Sequence[Operand], *, going: bool = False
    ) -> tuple[Index, list[Operand]]:
        keys = self._carried(carry)
        count, carried = self.machine.repeat(most, self._inside(body, keys), _flatten_jets(carry, keys), going=going)
        return count, _join_parts(carried, keys)

    def _carried(self, carry: Sequence[Operand]) -> list[_Keys]:
        return [tuple(c.parts) if isinstance(c, OperandJet) else self.every for c in carry]

    def _inside(self, body: Callable[..., Sequence[Operand]], keys: list[_Keys]) -> Callable[..., Sequence[Operand]]:
        def inside(i: Index, *values: Operand) -> list[Operand]:
            return _flatten_jets(body(i, *_join_parts(values, keys)) or [], keys)

        return inside

    def size(self, a: Operand) -> Operand:
        """At 0 with the slope to its right, as JAX has it."""
        m, parts = self.machine, coefficients_of(a)
        return OperandJet({s: m.compare(0.0, parts[0], -p, p) if s else m.size(p) for s, p in parts.items()})

    def root(self, a: Operand) -> Operand:
        number = value_of(a)
        root = self.machine.root(number)

        def slope(k: int) -> Operand:
            return 0.5 / root if k == 1 else slope(k - 1) * (1.5 - k) / number

        return compose_taylor(a, root, slope)

    def larger(self, a: Operand, b: Operand) -> Operand:
        """Where both are the same, with the mean of their derivatives, as JAX has it."""
        m, x, y = self.machine, coefficients_of(a), coefficients_of(b)

        def of(s: int) -> Operand:
            p, q = x.get(s, 0.0), y.get(s, 0.0)
            return m.compare(x[0], y[0], p, m.compare(y[0], x[0], q, 0.5 * (p + q)))

        return OperandJet({s: of(s) if s else m.larger(x[0], y[0]) for s in sorted(x.keys() | y.keys())})

    def choose(self, sign: Operand, positive: Operand, otherwise: Operand) -> Operand:
        return self._of_two(lambda p, q: self.machine.choose(value_of(sign), p, q), positive, otherwise)

    def compare(self, a: Operand, b: Operand, more: Operand, otherwise: Operand) -> Operand:
        return self._of_two(lambda p, q: self.machine.compare(value_of(a), value_of(b), p, q), more, otherwise)

    def _of_two(self, select: Callable[[Operand, Operand], Operand], one: Operand, other: Operand) -> OperandJet:
        x, y = coefficients_of(one), coefficients_of(other)
        return OperandJet({s: select(x.get(s, 0.0), y.get(s, 0.0)) for s in sorted(x.keys() | y.keys())})

    # Of a number's bits there is no derivative: functions made of them have rules of their own, below.

    def scale(self, a: Operand, power: Operand) -> Operand:
        raise TypeError("scale has no derivative")

    def parts(self, a: Operand) -> tuple[Operand, Operand]:
        raise TypeError("parts has no derivative")

    def coarse(self, a: Operand) -> Operand:
        raise TypeError("coarse has no derivative")


def _flatten_jets(carry: Sequence[Operand], keys: list[_Keys]) -> list[Operand]:
    leaves = []
    for c, sets in zip(carry, keys, strict=True):
        parts = coefficients_of(c)
        if not parts.keys() <= set(sets):
            raise TypeError("a loop's carry began without derivatives that it has then: begin with a float")
        leaves += [parts.get(s, 0.0) for s in sets]
    return leaves


def _join_parts(values: Sequence[Operand], keys: list[_Keys]) -> list[Operand]:
    left = iter(values)
    return [OperandJet({s: next(left) for s in sets}) for sets in keys]


@functions.exp.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    result = functions.exp(m.machine, value_of(x))
    return compose_taylor(x, result, lambda k: result)


@functions.expm1.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    result = functions.expm1(m.machine, value_of(x))
    return compose_taylor(x, result, lambda k: result + 1.0)


@functions.log.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    return compose_taylor(x, functions.log(m.machine, value_of(x)), _log_jet(value_of(x)))


@functions.log1p.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    return compose_taylor(x, functions.log1p(m.machine, value_of(x)), _log_jet(1.0 + value_of(x)))


@functions.erf.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    number = value_of(x)
    return compose_taylor(x, functions.erf(m.machine, number), _erf_jet(m.machine, number, 1.0))


@functions.erfc.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    number = value_of(x)
    return compose_taylor(x, functions.erfc(m.machine, number), _erf_jet(m.machine, number, -1.0))


@functions.sin.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    sine, cosine = functions.sin(m.machine, value_of(x)), functions.cos(m.machine, value_of(x))
    return compose_taylor(x, sine, lambda k: (sine, cosine, -sine, -cosine)[k % 4])


@functions.cos.register
def _(m: ForwardModeBackend, x: Operand) -> OperandJet:
    sine, cosine = functions.sin(m.machine, value_of(x)), functions.cos(m.machine, value_of(x))
    return compose_taylor(x, cosine, lambda k: (cosine, -sine, -cosine, sine)[k % 4])


def _erf_jet(m: Backend, x: Operand, sign: float) -> Callable[[int], Operand]:
    """± 2/√π e^(−x²) and its derivatives: its product with (−1)ⁿ Hₙ(x), H Hermite's polynomials."""
    first = functions.exp(m, -(x * x)) * (sign * 2.0 / math.sqrt(math.pi))

    def slope(k: int) -> Operand:
        before: Operand = 0.0
        here: Operand = 1.0
        for n in range(k - 1):
            before, here = here, -2.0 * (x * here + float(n) * before)
        return first * here

    return slope


def _log_jet(x: Operand) -> Callable[[int], Operand]:
    def slope(k: int) -> Operand:
        return 1.0 / x if k == 1 else slope(k - 1) * (1.0 - k) / x

    return slope


@functions.power.register
def _(m: ForwardModeBackend, x: Operand, y: Operand) -> OperandJet:
    """xʸ = x^(y₀) · exp((y − y₀) ln x); where x is 0 its logarithm counts as 0, as with JAX."""
    inner, base, to = m.machine, value_of(x), value_of(y)

    def slope(k: int) -> Operand:
        falling: Operand = 1.0
        for i in range(k):
            falling = falling * (to - float(i))
        return inner.compare(inner.size(falling), 0.0, falling * functions.power(inner, base, to - float(k)), 0.0)

    result = compose_taylor(x, functions.power(inner, base, to), slope)
    if len(coefficients_of(y)) == 1:
        return result
    more = OperandJet({0: 0.0, **{s: a for s, a in coefficients_of(y).items() if s}})
    above = m.compare(m.size(x), 0.0, x, 1.0)
    return result * compose_taylor(more * functions.log(m, above), 1.0, lambda k: 1.0)


@functions.divide.register
def _(m: ForwardModeBackend, pairs: list[tuple[Operand, Operand]]) -> list[Operand]:
    """What has derivatives is divided once more, for the inverses."""
    values = functions.divide(m.machine, [(value_of(a), value_of(b)) for a, b in pairs])
    moving = [k for k, pair in enumerate(pairs) if any(len(coefficients_of(x)) > 1 for x in pair)]
    inverse = dict(
        zip(moving, functions.divide(m.machine, [(1.0, value_of(pairs[k][1])) for k in moving]), strict=True)
    )
    return [
        divide_jets(q, a, b, lambda k=k: inverse[k]) for k, (q, (a, b)) in enumerate(zip(values, pairs, strict=True))
    ]


@dataclass(frozen=True)
class _MovingFactors(PivotFactors):
    """The factors of the matrix's value; and in scratch of their own, by the set of nilpotents, the derivatives
    of the a's
    and of the columns' excess."""

    parts: Any
    flows: dict[int, list[tuple[int, Entry]]]
    excess: dict[int, list[tuple[int, int]]]


@factor_matrix.register
def _(
    m: ForwardModeBackend,
    pivots: tuple[Pivot, ...],
    a: Mapping[Entry, Operand],
    excess: ColumnValues,
    together: int = 1,
) -> _MovingFactors:
    inner = m.machine
    room, used = inner.scratch((len(m.every) - 1) * (len(a) + len(excess))), 0
    flows: dict[int, list[tuple[int, Entry]]] = {s: [] for s in m.every if s}
    sums: dict[int, list[tuple[int, int]]] = {s: [] for s in m.every if s}
    a, excess = dict(a), {j: excess[j] for j in range(len(excess))}
    named = [(flows, a.items()), (sums, excess.items())]
    for where, entries in named:
        for entry, value in entries:
            for s, part in coefficients_of(value).items():
                if s:
                    inner.put(room, used, part)
                    where[s].append((used, entry))
                    used += 1
    values = {e: value_of(v) for e, v in a.items()}, {j: value_of(v) for j, v in excess.items()}
    return _MovingFactors(**vars(factor_matrix(inner, pivots, *values, together)), parts=room, flows=flows, excess=sums)


@solve_factored.register
def _(
    m: ForwardModeBackend, factors: _MovingFactors, rhs: list[Operand], only: Collection[int] | None = None
) -> list[Operand]:
    """M₀ y_S = v_S − Σ M_T y_{S∖T}: what an a takes from one row, it brings to another."""
    inner, y = m.machine, []
    for s in m.every:
        right_side = [coefficients_of(v).get(s, 0.0) for v in rhs]
        for t in list_subsets(s):
            known = y[s ^ t]
            for at, (i, j) in factors.flows[t]:
                flow = inner.get(factors.parts, at) * known[j]
                right_side[i], right_side[j] = right_side[i] + flow, right_side[j] - flow
            for at, j in factors.excess[t]:
                right_side[j] = right_side[j] - inner.get(factors.parts, at) * known[j]
        y.append(solve_factored(inner, factors, right_side))
    return [OperandJet(dict(enumerate(of_one))) for of_one in zip(*y, strict=True)]


@solve_transposed.register
def _(m: ForwardModeBackend, factors: _MovingFactors, rhs: list[Operand]) -> list[Operand]:
    """M₀ᵀ y_S = v_S − Σ M_Tᵀ y_{S∖T}: what an a gives back is what y is more where it goes than where it comes from."""
    inner, y = m.machine, []
    for s in m.every:
        right_side = [coefficients_of(v).get(s, 0.0) for v in rhs]
        for t in list_subsets(s):
            known = y[s ^ t]
            for at, (i, j) in factors.flows[t]:
                right_side[j] = inner.get(factors.parts, at) * (known[i] - known[j]) + right_side[j]
            for at, j in factors.excess[t]:
                right_side[j] = right_side[j] - inner.get(factors.parts, at) * known[j]
        y.append(solve_transposed(inner, factors, right_side))
    return [OperandJet(dict(enumerate(of_one))) for of_one in zip(*y, strict=True)]
