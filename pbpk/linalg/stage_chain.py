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
    from pbpk.linalg.tableau import Tableau

_NOTHING = 1e-11  # a coefficient that is 0 in exact arithmetic


@dataclass(frozen=True, eq=False)
class Chain:
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
        return len(self.result)


@cache
def chain_of(tableau: Tableau) -> Chain:
    """In fractions, so that nothing is rounded but the result: of the basis several digits would be lost. Raises `ValueError`
    where some stage is made of none before it."""
    a, c, gamma, one = (_exact(x) for x in (tableau.a, tableau.c, tableau.gamma, np.eye(len(tableau.a))))
    gc = gamma * c
    shift = _clean((a + gc) @ _below(one - gc, one))
    basis, fresh = _basis(shift)
    both = _exact(np.diag(np.arange(1, len(one)) >= fresh, -1))
    of_w = basis @ (one + both)
    stages = _below(one + a, of_w)
    last = a[-1] + one[-1]
    # The integral's own stages v = γh (y + u) + γc v, of which it is the same sum as the result of u: nothing depends on them.
    weights = gamma * (last @ _below(one - gc, one))
    if abs(weights.sum() - 1) > _NOTHING:
        raise ValueError("the method integrates 1 to another number than the step's length")
    bent = _below(basis, one)
    bent[:, 0] = 0  # the first stage is where the step begins: there is no more than f
    found = (a @ stages, bent, last @ stages, stages[-1], weights @ of_w)
    return Chain(tableau.gamma, fresh, *(_clean(x).astype(float) for x in found))


def _basis(shift: np.ndarray) -> tuple[np.ndarray, int]:
    """Columns P that it shifts, with 1 the sum of the first ones; and how many these are."""
    s = len(shift)
    columns, first = [], _exact(np.ones(s))
    if shift[1, 0] == 0:
        columns.append(_lost(shift))
        first = first - columns[0]
    fresh = len(columns) + 1
    while len(columns) < s:
        columns.append(first)
        first = _clean(shift @ first)
    basis = np.stack(columns, axis=1)
    if first.any() or not np.diag(basis).all() or np.triu(basis, 1).any():
        raise ValueError("the method has no chain: some stage is made of none before it")
    return basis, fresh


def _lost(shift: np.ndarray) -> np.ndarray:
    """What it takes to 0, beginning with 1."""
    found = _exact(np.zeros(len(shift)))
    found[0] = Fraction(1)
    for i in range(1, len(shift) - 1):
        if not shift[i + 1, i]:
            raise ValueError("the method has no chain: some stage is made of none before it")
        found[i] = -(shift[i + 1, :i] @ found[:i]) / shift[i + 1, i]
    return found


def _exact(a: np.ndarray | float) -> np.ndarray:
    return np.vectorize(Fraction, otypes=[object])(np.asarray(a, float))


def _below(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x with lower x = right, of a lower triangular matrix."""
    found = right.copy()
    for i in range(len(lower)):
        found[i] = (right[i] - lower[i, :i] @ found[:i]) / lower[i, i] if i else right[i] / lower[i, i]
    return found


def _clean(a: np.ndarray) -> np.ndarray:
    """Without what is nothing but the rounding of the tableau's own numbers."""
    found = a.copy()
    found[np.abs(a) < _NOTHING] = Fraction(0)
    return found
