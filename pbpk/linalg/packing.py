"""A system's Jacobian in the packed sparse form that the elimination works on.

A column's diagonal is packed as its sum, which is what crosses the model's border (see elimination.py): arrows inside the
model leave it alone, whatever their rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.linalg.elimination import Elimination, plan_elimination

if TYPE_CHECKING:
    from pbpk.model.system import System


@dataclass(frozen=True, eq=False)
class JacobianPacking:
    """The elimination of one system's structure, and where each entry of `System.rate_jacobian` goes, with its sign."""

    elimination: Elimination
    slot: np.ndarray
    entry: np.ndarray
    sign: np.ndarray

    def pack(self, k: jax.Array) -> jax.Array:
        """The packed Jacobian (nonzeros, ...) of dy/dt, from the entries (entries, ...) of the rates' Jacobian. Rows are
        fetched: to scatter them takes a processor three times as long, and one thread."""

        def signed(entry: np.ndarray, sign: np.ndarray, rows: jax.Array) -> jax.Array:
            return jnp.asarray(sign, k.dtype).reshape(-1, *([1] * (k.ndim - 1))) * rows[entry]

        rows = jnp.concatenate([k, jnp.zeros((1, *k.shape[1:]), k.dtype)])
        several, single = self._sources(len(k))
        if several:  # the sums of those slots that have more than one entry
            rows = jnp.concatenate([rows, sum(signed(*layer, rows) for layer in several)])
        return signed(*single, rows)

    def _sources(self, count: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[np.ndarray, np.ndarray]]:
        """Rows and signs: of each layer of the slots with several entries, the first, the second, …; then of all slots, where
        row `count` is nothing and those beyond are the sums."""
        of_slot: list[list[tuple[int, float]]] = [[] for _ in range(self.elimination.nonzeros)]
        for slot, entry, sign in zip(self.slot, self.entry, self.sign, strict=True):
            of_slot[slot].append((int(entry), float(sign)))
        many = [entries for entries in of_slot if len(entries) > 1]
        depth = max((len(entries) for entries in many), default=0)
        layers = [[entries[d] if d < len(entries) else (count, 0.0) for entries in many] for d in range(depth)]
        sums = iter(range(count + 1, count + 1 + len(many)))
        single = [
            (count, 0.0) if not entries else entries[0] if len(entries) == 1 else (next(sums), 1.0)
            for entries in of_slot
        ]

        def arrays(pairs: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
            return np.array([r for r, _ in pairs], int), np.array([s for _, s in pairs])

        return [arrays(layer) for layer in layers], arrays(single)

    def only(self, chosen: np.ndarray) -> JacobianPacking:
        """The same for a subset of the rates' Jacobian's entries, given alone and in their order."""
        fluxes_kept, number = chosen[self.entry], np.cumsum(chosen) - 1
        return JacobianPacking(
            self.elimination, self.slot[fluxes_kept], number[self.entry[fluxes_kept]], self.sign[fluxes_kept]
        )


@cache
def plan_packing(system: System) -> JacobianPacking:
    """How the Jacobian of a system is packed for the elimination."""
    n = len(system.names)
    flux, state = system.slopes
    places = []  # (row, column, entry of the rates' Jacobian, sign); (j, j) stands for the sum of column j
    for k, (f, j) in enumerate(zip(flux, state, strict=True)):
        ends = [(int(end[f]), sign) for end, sign in ((system.source, -1.0), (system.target, 1.0)) if end[f] < n]
        places += [(i, int(j), k, sign) for i, sign in ends if i != j]
        if len(ends) == 1:
            places.append((int(j), int(j), k, ends[0][1]))
    elimination = plan_elimination(n, set(system.sparsity))
    return JacobianPacking(
        elimination,
        np.array([elimination.position[i, j] for i, j, _, _ in places], dtype=int),
        np.array([k for _, _, k, _ in places], dtype=int),
        np.array([s for *_, s in places]),
    )


def evaluate_linear_part(system: System, p: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The packed A (nonzeros, ...), the production b (n, ...) and the rate constants, from parameters p (m, ...)."""
    y = jnp.zeros((len(system.names), *p.shape[1:]), p.dtype)
    k = system.rate_jacobian(0.0, y, p)
    return plan_packing(system).pack(k), system.vector_field(0.0, y, p), k


@cache
def produces(system: System) -> bool:
    """Whether anything flows at zero amounts: production, or a law with a constant term, on whichever arrow."""
    with jax.ensure_compile_time_eval():  # numbers, even where the caller is being traced
        y = jnp.zeros(len(system.names))
        return any(
            bool(jnp.any(system.rates(0.0, y, p) != 0)) for p in make_unlike_parameters(len(system.parameter_names))
        )


def make_unlike_parameters(count: int) -> list[jax.Array]:
    """Values of as many parameters, small, middling and large, of which no sum or difference is 0 by chance."""
    values = np.sqrt(np.arange(2.0, 2.0 + count)) + 0.1 * np.sin(np.arange(count))
    return [jnp.asarray(scale * values) for scale in (1e-3, 1.0, 1e3)]


def explain_nonlinear(system: System) -> str:
    """Why dy/dt = A y + b with arrows out of their own source does not describe the system; "" when it does."""
    if system.nonlinear:
        return "nonlinear fluxes: " + ", ".join(str(f) for f in system.nonlinear)
    flux, state = system.slopes
    foreign = [str(system.fluxes[f]) for f, j in zip(flux, state, strict=True) if system.source[f] != j]
    return "fluxes driven by another compartment than their source: " + ", ".join(foreign) if foreign else ""
