"""A Rosenbrock method in the basis in which every stage is made of the one before.

With W = (I − γhJ)⁻¹, f the right-hand side at the step's beginning x, and Nᵢ what a stage's right-hand side has beyond
f + J (yᵢ − x), the stages u of a tableau (tableau.py) fulfil, z = (1 + a) u,

    z = W (γh f + γh N + B z),        B = (a + γc) (1 + a)⁻¹

B is strictly lower triangular, hence nilpotent: in the basis P of vectors Cᵏ1, with C = B (1 − B)⁻¹, it is nearly a shift, and

    wᵢ = W (wᵢ₋₁ + γh Σ Tᵢⱼ Nⱼ) − wᵢ₋₁,        w₁ = W γh f,        T = P⁻¹,        z = Σ Pᵢ (wᵢ + wᵢ₋₁)

So a stage is a solution, one subtraction, and what is not linear: nothing of it but a few rows where there are few laws. For a
linear system wᵢ is (γhJ)ⁱ⁻¹ Wⁱ γh f, the terms of a series, which is why the basis is a good one (1 + γhJ W is W).

Rodas5P's second stage is its first for linear systems, so that its chain is one shorter: there two elements begin with f.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pbpk.linalg.tableau import RosenbrockTableau

_NOTHING = 1e-11  # a coefficient that is 0 in exact arithmetic


@dataclass(frozen=True, eq=False)
class StageChain:
    """Of `stages` elements w the first `fresh` begin with γh f. (stages, stages): `moved`, by which yᵢ is x + Σ movedᵢⱼ wⱼ;
    and `bent`, T. (stages,): the result is x + Σ result w, the error Σ error w, and the integral of the
    amounts h (x + Σ gained w)."""

    gamma: float
    fresh: int
    moved: np.ndarray
    bent: np.ndarray
    result: np.ndarray
    error: np.ndarray
    gained: np.ndarray

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.result)


@cache
def make_stage_chain(tableau: RosenbrockTableau) -> StageChain:
    """In fractions, so that nothing is rounded but the result: of the basis several digits would be lost. Raises `ValueError`
    where some stage is made of none before it."""
    a, c, gamma, one = (_as_fractions(x) for x in (tableau.a, tableau.c, tableau.gamma, np.eye(len(tableau.a))))
    gc = gamma * c
    shift = _drop_rounding((a + gc) @ _solve_lower(one - gc, one))
    basis, fresh = _find_basis(shift)
    both = _as_fractions(np.diag(np.arange(1, len(one)) >= fresh, -1))
    of_w = basis @ (one + both)
    stages = _solve_lower(one + a, of_w)
    last = a[-1] + one[-1]
    # The integral's own stages v = γh (y + u) + γc v, of which it is the same sum as the result of u: nothing depends on them.
    weights = gamma * (last @ _solve_lower(one - gc, one))
    if abs(weights.sum() - 1) > _NOTHING:
        raise ValueError("the method integrates 1 to another number than the step's length")
    bent = _solve_lower(basis, one)
    bent[:, 0] = 0  # the first stage is where the step begins: there is no more than f
    coefficients = (a @ stages, bent, last @ stages, stages[-1], weights @ of_w)
    return StageChain(tableau.gamma, fresh, *(_drop_rounding(x).astype(float) for x in coefficients))


def _find_basis(shift: np.ndarray) -> tuple[np.ndarray, int]:
    """Columns P that it shifts, with 1 the sum of the first ones; and how many these are."""
    s = len(shift)
    columns, first = [], _as_fractions(np.ones(s))
    if shift[1, 0] == 0:
        columns.append(_find_null_vector(shift))
        first = first - columns[0]
    fresh = len(columns) + 1
    while len(columns) < s:
        columns.append(first)
        first = _drop_rounding(shift @ first)
    basis = np.stack(columns, axis=1)
    if first.any() or not np.diag(basis).all() or np.triu(basis, 1).any():
        raise ValueError("the method has no chain: some stage is made of none before it")
    return basis, fresh


def _find_null_vector(shift: np.ndarray) -> np.ndarray:
    """What it takes to 0, beginning with 1."""
    vector = _as_fractions(np.zeros(len(shift)))
    vector[0] = Fraction(1)
    for i in range(1, len(shift) - 1):
        if not shift[i + 1, i]:
            raise ValueError("the method has no chain: some stage is made of none before it")
        vector[i] = -(shift[i + 1, :i] @ vector[:i]) / shift[i + 1, i]
    return vector


def _as_fractions(a: np.ndarray | float) -> np.ndarray:
    return np.vectorize(Fraction, otypes=[object])(np.asarray(a, float))


def _solve_lower(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x with lower x = right, of a lower triangular matrix."""
    solution = right.copy()
    for i in range(len(lower)):
        solution[i] = (right[i] - lower[i, :i] @ solution[:i]) / lower[i, i] if i else right[i] / lower[i, i]
    return solution


def _drop_rounding(a: np.ndarray) -> np.ndarray:
    """Without what is nothing but the rounding of the tableau's own numbers."""
    cleaned = a.copy()
    cleaned[np.abs(a) < _NOTHING] = Fraction(0)
    return cleaned
