"""Derivatives forward: every number a polynomial in e₁ … e_K with eᵢ² = 0, whose coefficients are the derivatives.

The matrix M = I − gA is one too, M = Σ M_S e_S over sets S of them, and so is y with M y = v:

    M₀ y_S = v_S − Σ_{∅ ≠ T ⊆ S} M_T y_{S∖T},     M_T = −gA_T for T ≠ ∅

so that all coefficients are solved by the same factors, and products with A_T go straight over the arrows: what flows along
one is its rate times what is at its source, and leaves there what it brings to its target. The derivatives that JAX asks
for, nested, are these: a tangent is one nilpotent more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbpk.compile.backend.jet import list_subsets
from pbpk.compile.programs.elimination import PivotFactors, solve_factored, solve_transposed

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Backend, Operand
    from pbpk.compile.programs.linear.layout import LinearWindow


@dataclass(frozen=True)
class TangentArrow:
    """An entry of `System.rate_jacobian`: the compartment it leaves, and the one it reaches, None outside the model."""

    source: int
    target: int | None


def make_arrows(w: LinearWindow) -> list[TangentArrow]:
    """The arrows of a window's model as rows of its rates, source and target."""
    flux, state = w.system.slopes
    ends = (int(w.system.target[f]) for f in flux)
    return [TangentArrow(int(j), end if end < w.size else None) for j, end in zip(state, ends, strict=True)]


def compute_slopes(m: Backend, w: LinearWindow, by: Operand) -> Any:
    """`by` · kₜ of every arrow, in scratch, part by part; the first part is not used."""
    count = len(w.system.slopes[0])
    room = m.scratch(w.coefficients * count)
    for part in range(1, w.coefficients):
        for k in range(count):
            m.put(room, part * count + k, by * m.read(w.coefficient_buffer("rates", part), k))
    return room


def solve_parts(m: Backend, w: LinearWindow, factors: PivotFactors, room: Any, rhs: Sequence[Operand]) -> list[Operand]:
    """y with M y = rhs, part after part (width,); `room` is what `slopes` gave."""
    n, ways = w.size, make_arrows(w)
    y: list[Operand] = []
    for part in range(w.coefficients):
        right_side = list(rhs[part * n : (part + 1) * n])
        for k, way in enumerate(ways if part else []):
            flow: Operand = 0.0
            for t in list_subsets(part):
                flow = m.get(room, t * len(ways) + k) * y[(part ^ t) * n + way.source] + flow
            right_side[way.source] = right_side[way.source] - flow
            if way.target is not None:
                right_side[way.target] = right_side[way.target] + flow
        y += solve_factored(m, factors, right_side)
    return y


def solve_parts_transposed(
    m: Backend, w: LinearWindow, factors: PivotFactors, room: Any, rhs: Sequence[Operand]
) -> list[Operand]:
    """y with Mᵀ y = rhs: what an arrow gives back is what its target's part exceeds its source's by."""
    n, ways = w.size, make_arrows(w)
    y: list[Operand] = []
    for part in range(w.coefficients):
        right_side = list(rhs[part * n : (part + 1) * n])
        for k, way in enumerate(ways if part else []):
            for t in list_subsets(part):
                right_side[way.source] = (
                    m.get(room, t * len(ways) + k) * rise(y[(part ^ t) * n :], way) + right_side[way.source]
                )
        y += solve_transposed(m, factors, right_side)
    return y


def rise(y: Sequence[Operand] | Mapping[int, Operand], way: TangentArrow) -> Operand:
    """What y is at an arrow's target more than at its source; outside it is 0."""
    return -y[way.source] if way.target is None else y[way.target] - y[way.source]
