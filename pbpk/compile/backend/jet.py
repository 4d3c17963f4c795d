"""Polynomials in e₁ … e_K with eᵢ² = 0 for operands: their coefficients are a number and its derivatives (tangent.py).

Coefficients that are known to be 0 are left out, so that what has no derivatives costs what it costs alone. The number
itself is computed as it would be alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import factorial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Operand


@dataclass(frozen=True, eq=False)
class Jet:
    """`parts` by sets of nilpotents, as bits; the empty set, 0, is always among them."""

    parts: Mapping[int, Operand]
    __array_ufunc__ = None  # NumPy's arrays leave it to us

    def __add__(self, other: Operand) -> Jet:
        a, b = self.parts, parts_of(other)
        return Jet({s: a[s] + b[s] if s in a and s in b else a[s] if s in a else b[s] for s in sorted({*a, *b})})

    def __radd__(self, other: Operand) -> Jet:
        return self + other

    def __sub__(self, other: Operand) -> Jet:
        a, b = self.parts, parts_of(other)
        return Jet({s: a[s] - b[s] if s in a and s in b else a[s] if s in a else -b[s] for s in sorted({*a, *b})})

    def __rsub__(self, other: Operand) -> Jet:
        return Jet({0: other}) - self

    def __neg__(self) -> Jet:
        return Jet({s: -a for s, a in self.parts.items()})

    def __mul__(self, other: Operand) -> Jet:
        found: dict[int, Operand] = {}
        for s, a in self.parts.items():
            for t, b in parts_of(other).items():
                if s & t == 0:
                    found[s | t] = a * b + found[s | t] if s | t in found else a * b
        return Jet(dict(sorted(found.items())))

    def __rmul__(self, other: Operand) -> Jet:
        return self * other

    def __truediv__(self, other: Operand) -> Jet:
        a, b = value(self), value(other)
        return quotient(a / b, self, other, lambda: 1.0 / b)

    def __rtruediv__(self, other: Operand) -> Jet:
        return Jet({0: other}) / self


def parts_of(x: Operand) -> Mapping[int, Operand]:
    return x.parts if isinstance(x, Jet) else {0: x}


def value(x: Operand) -> Operand:
    """The number without its derivatives."""
    return parts_of(x)[0]


def subsets(part: int) -> list[int]:
    """Of a set as bits, without the empty one."""
    return [t for t in range(1, part + 1) if t & ~part == 0]


def quotient(q: Operand, a: Operand, b: Operand, inverse: Callable[[], Operand]) -> Jet:
    """a/b, whose value is q, from the inverse of b's value: b₀ q_S = a_S − Σ b_T q_{S∖T}."""
    above, below, found = parts_of(a), parts_of(b), {0: q}
    if above.keys() | below.keys() == {0}:
        return Jet(found)
    by = inverse()
    for s in range(1, 1 + _span(*above, *below)):
        terms = [below[t] * found[s ^ t] for t in subsets(s) if t in below and s ^ t in found]
        left = above.get(s)
        for term in terms:
            left = -term if left is None else left - term
        if left is not None:
            found[s] = left * by
    return Jet(found)


def taylor(x: Operand, found: Operand, slope: Callable[[int], Operand]) -> Jet:
    """f(x) from f's value at that of x and its derivatives there: Σ f⁽ᵏ⁾ nᵏ/k!, n what x is beside its value."""
    rest = Jet({s: a for s, a in parts_of(x).items() if s})
    power, total = rest, Jet({0: found})
    for k in range(1, 1 + _span(*rest.parts).bit_count()):
        if not power.parts:
            break
        total = total + power * (slope(k) * (1.0 / factorial(k)))
        power = power * rest
    return total


def _span(*sets: int) -> int:
    union = 0
    for s in sets:
        union |= s
    return union
