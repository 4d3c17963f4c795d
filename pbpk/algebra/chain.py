"""A Rosenbrock method in the basis in which every stage is made of the one before.

With W = (I − γhJ)⁻¹, f the right-hand side at the step's beginning x, and Nᵢ what a stage's right-hand side has beyond
f + J (yᵢ − x), the stages u of a tableau (rodas.py) fulfil, z = (1 + a) u,

    z = W (γh f + γh N + B z),        B = (a + γc) (1 + a)⁻¹

B is strictly lower triangular, hence nilpotent: in the basis P of vectors Cᵏ1, with C = B (1 − B)⁻¹, it is nearly a shift, and

    wᵢ = W (wᵢ₋₁ + γh Σ Tᵢⱼ Nⱼ) − wᵢ₋₁,        w₁ = W γh f,        T = P⁻¹,        z = Σ Pᵢ (wᵢ + wᵢ₋₁)

So a stage is a solution, one subtraction, and what is not linear: nothing of it but a few rows where there are few laws. For a
linear system wᵢ is (γhJ)ⁱ⁻¹ Wⁱ γh f, the terms of a series, which is why the basis is a good one (1 + γhJ W is W).

Rodas5P's second stage is its first for linear systems, so that its chain is one shorter: there two elements begin with f.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from pbpk.algebra.rodas import Tableau

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
    a, gc, one = tableau.a, tableau.gamma * tableau.c, np.eye(len(tableau.a))
    c = _clean((a + gc) @ np.linalg.inv(one - gc))
    basis, fresh = _basis(c)
    both = np.where(np.arange(len(one)) >= fresh, 1.0, 0.0)
    basis_of_w = basis @ (one + np.diag(both[1:], -1))
    stages = np.linalg.solve(one + a, basis_of_w)
    last = a[-1] + one[-1]
    # The integral's own stages v = γh (y + u) + γc v, of which it is the same sum as the result of u: nothing depends on them.
    weights = tableau.gamma * np.linalg.solve((one - gc).T, last)
    assert abs(weights.sum() - 1) < _NOTHING, "not consistent"
    bent = np.tril(np.linalg.inv(basis))
    bent[:, 0] = 0.0  # the first stage is where the step begins: there is no more than f
    found = (np.tril(a @ stages, -1), bent, last @ stages, stages[-1], weights @ basis_of_w)
    return Chain(tableau.gamma, fresh, *map(_clean, found))


def _basis(c: np.ndarray) -> tuple[np.ndarray, int]:
    """Columns P that C shifts, with 1 the sum of the first ones; and how many these are."""
    s = len(c)
    columns, first = [], np.ones(s)
    if c[1, 0] == 0:
        columns.append(_lost(c))
        first = first - columns[0]
    fresh = len(columns) + 1
    while len(columns) < s:
        columns.append(first)
        first = _clean(c @ first)
    basis = np.stack(columns, axis=1)
    if not np.diag(basis).all() or first.any():
        raise ValueError("no chain: some stage is made of none before it")
    return np.tril(basis), fresh


def _lost(c: np.ndarray) -> np.ndarray:
    """What C takes to 0, beginning with 1."""
    found = np.zeros(len(c))
    found[0] = 1.0
    for i in range(1, len(c) - 1):
        found[i] = -(c[i + 1, :i] @ found[:i]) / c[i + 1, i]
    return found


def _clean(a: np.ndarray) -> np.ndarray:
    return np.where(np.abs(a) < _NOTHING, 0.0, a)
