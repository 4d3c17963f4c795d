"""The coefficients of ∫exp(s(z − σ)) ds over 0 … t, for each patient's own σ, from those of exp(tz).

With φ(z) = (e^(t(z − σ)) − 1)/(z − σ) = Σ dⱼTⱼ(w) and z = (w − 1)/(g(1 + w)),

    (w − 1 − gσ(1 + w)) Σ dⱼTⱼ(w) = g (1 + w) (e^(−σt) Σ cⱼTⱼ(w) − 1)

which is a tridiagonal system, since w Tⱼ = (Tⱼ₋₁ + Tⱼ₊₁)/2. It takes a few operations for each coefficient; tables of them
would be larger than the solution, and their exponentials dearer. Truncated to J + 1 rows it interpolates φ at the zeros of
T_(J+1), the nearest of which to z = 0 is at some 0.02: so much larger than rounding is the error where σ = 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Backend, Index, Operand
    from pbpk.compile.programs.linear.layout import LinearWindow

_STOPS_AT_ONCE = 6  # whose recursions run side by side, as each waits for its last step


def right_hand_side(g: float, c: jax.Array) -> jax.Array:
    """The coefficients of g (1 + w) Σ cⱼTⱼ(w), as far as those of c (J + 1, ...) go."""
    half, none = 0.5 * c, jnp.zeros_like(c[:1])
    before = jnp.concatenate([none, c[:1], half[1:-1]])
    return g * (before + c + jnp.concatenate([half[1:], none]))


def integral_weights(m: Backend, w: LinearWindow, s: Operand, decay: Any) -> Any:
    """dⱼ (rows, stops) in scratch, in units of the window's length; s is σ · length, `decay` (stops) is e^(−σt).

    With h = (1 − gs)/2 and b = 1 + gs, row j is h (dⱼ₋₁ + dⱼ₊₁) − b dⱼ = Rⱼ, where R is e^(−σt) r, the r of
    `right_hand_side`, less g in rows 0 and 1. Row 1 has 2d₀ for d₀, since w T₀ = T₁ is not halved. Eliminated from the last
    row to the first, the k-th pivot is Gₖ₊₁/(P Gₖ), with Gₖ the sum of k powers of ρ²,

        ρ = (1 − √(gs))/(1 + √(gs)),   P = 2/(1 + √(gs))²,   hP = ρ

    so that no division waits for another: Gₖ₊₁dⱼ = ρ Gₖ dⱼ₋₁ + Qⱼ, where Qⱼ = ρ Qⱼ₊₁ − P Gₖ Rⱼ and k = J + 1 − j.
    """
    order, g = w.extended_series.order, w.series.g
    of_before, of_right = m.scratch(order + 1), m.scratch(order + 1)  # Gₖ ρ/Gₖ₊₁ and 1/Gₖ₊₁ of each row
    weights = m.scratch(max(order + 1, w.table_rows) * w.stops)
    root = m.root(g * s)
    inverse_root = 1.0 / (1.0 + root)
    rho, scale = (1.0 - root) * inverse_root, 2.0 * inverse_root * inverse_root
    square = rho * rho

    def right(j: Index, t: int) -> Operand:
        return m.read(w.buffer["integral_terms"], j * w.stops + t)

    def solve_columns(stops: range) -> None:
        falls = [m.get(decay, t) for t in stops]

        def down(back: Index, sum_: Operand, *q: Operand) -> list[Operand]:
            """Row j = order − back, with G of its k, and Q of row j + 1."""
            j = back * -1 + order
            if stops.start == 0:  # the same for all stops
                inverse = 1.0 / (square * sum_ + 1.0)
                m.put(of_right, j, inverse)
                m.put(of_before, j, rho * sum_ * inverse)
            scaled = scale * sum_
            q = tuple(rho * x - scaled * (fall * right(j, t)) for t, fall, x in zip(stops, falls, q, strict=True))
            for t, x in zip(stops, q, strict=True):
                m.put(weights, j * w.stops + t, x)
            return [square * sum_ + 1.0, *q]

        def up(j: Index, *before: Operand) -> list[Operand]:
            """Row j + 2, from d of row j + 1."""
            a, b, row = m.get(of_before, j + 2), m.get(of_right, j + 2), j * w.stops + 2 * w.stops
            d = [a * x + b * m.get(weights, row + t) for t, x in zip(stops, before, strict=True)]
            for t, x in zip(stops, d, strict=True):
                m.put(weights, row + t, x)
            return d

        sum_, *q = m.loop(order - 1, down, [1.0, *[0.0] * len(stops)])
        inverse = 1.0 / (square * sum_ + 1.0)
        a, h = rho * sum_ * inverse, 0.5 * (1.0 - g * s)
        last = 1.0 / (1.0 + g * s - 2.0 * h * a)
        second = []
        for t, fall, x in zip(stops, falls, q, strict=True):
            b = (rho * x + scale * sum_ * (g - fall * right(1, t))) * inverse
            d = (h * b + (g - fall * right(0, t))) * last
            second.append(2.0 * a * d + b)
            m.put(weights, t, d)
            m.put(weights, w.stops + t, second[-1])
        m.loop(order - 1, up, second)

    for first in range(0, w.stops, _STOPS_AT_ONCE):
        solve_columns(range(first, min(first + _STOPS_AT_ONCE, w.stops)))
    for k in range(w.terms * w.stops, w.table_rows * w.stops):
        m.put(weights, k, 0.0)
    return weights
