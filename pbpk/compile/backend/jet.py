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
class OperandJet:
    """`parts` by sets of nilpotents, as bits; the empty set, 0, is always among them."""

    parts: Mapping[int, Operand]
    __array_ufunc__ = None  # NumPy's arrays leave it to us

    def __add__(self, other: Operand) -> OperandJet:
        a, b = self.parts, coefficients_of(other)
        return OperandJet({s: a[s] + b[s] if s in a and s in b else a[s] if s in a else b[s] for s in sorted({*a, *b})})

    def __radd__(self, other: Operand) -> OperandJet:
        return self + other

    def __sub__(self, other: Operand) -> OperandJet:
        a, b = self.parts, coefficients_of(other)
        return OperandJet(
            {s: a[s] - b[s] if s in a and s in b else a[s] if s in a else -b[s] for s in sorted({*a, *b})}
        )

    def __rsub__(self, other: Operand) -> OperandJet:
        return OperandJet({0: other}) - self

    def __neg__(self) -> OperandJet:
        return OperandJet({s: -a for s, a in self.parts.items()})

    def __mul__(self, other: Operand) -> OperandJet:
        product: dict[int, Operand] = {}
        for s, a in self.parts.items():
            for t, b in coefficients_of(other).items():
                if s & t == 0:
                    product[s | t] = a * b + product[s | t] if s | t in product else a * b
        return OperandJet(dict(sorted(product.items())))

    def __rmul__(self, other: Operand) -> OperandJet:
        return self * other

    def __truediv__(self, other: Operand) -> OperandJet:
        a, b = value_of(self), value_of(other)
        return divide_jets(a / b, self, other, lambda: 1.0 / b)

    def __rtruediv__(self, other: Operand) -> OperandJet:
        return OperandJet({0: other}) / self


def coefficients_of(x: Operand) -> Mapping[int, Operand]:
    """The coefficients of an operand by sets of nilpotents; of a plain number, itself alone."""
    return x.parts if isinstance(x, OperandJet) else {0: x}


def value_of(x: Operand) -> Operand:
    """The number without its derivatives."""
    return coefficients_of(x)[0]


def list_subsets(part: int) -> list[int]:
    """Of a set as bits, without the empty one."""
    return [t for t in range(1, part + 1) if t & ~part == 0]


def divide_jets(q: Operand, a: Operand, b: Operand, inverse: Callable[[], Operand]) -> OperandJet:
    """a/b, whose value is q, from the inverse of b's value: b₀ q_S = a_S − Σ b_T q_{S∖T}."""
    above, below, coefficients = coefficients_of(a), coefficients_of(b), {0: q}
    if above.keys() | below.keys() == {0}:
        return OperandJet(coefficients)
    by = inverse()
    for s in range(1, 1 + _join_sets(*above, *below)):
        terms = [below[t] * coefficients[s ^ t] for t in list_subsets(s) if t in below and s ^ t in coefficients]
        left = above.get(s)
        for term in terms:
            left = -term if left is None else left - term
        if left is not None:
            coefficients[s] = left * by
    return OperandJet(coefficients)


def compose_taylor(x: Operand, value_there: Operand, slope: Callable[[int], Operand]) -> OperandJet:
    """f(x) from f's value at that of x and its derivatives there: Σ f⁽ᵏ⁾ nᵏ/k!, n what x is beside its value."""
    rest = OperandJet({s: a for s, a in coefficients_of(x).items() if s})
    power, total = rest, OperandJet({0: value_there})
    for k in range(1, 1 + _join_sets(*rest.parts).bit_count()):
        if not power.parts:
            break
        total = total + power * (slope(k) * (1.0 / factorial(k)))
        power = power * rest
    return total


def _join_sets(*sets: int) -> int:
    union = 0
    for s in sets:
        union |= s
    return union
