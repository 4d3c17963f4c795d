"""The solver's interface, on one page.

A solver advances a System between events; the events are one scan for all of them (segments.py). Failure is a value:
each patient has a result code (pbpk.results), and nothing raises inside a compiled batch.

The solvers in JAX are the portable engine. Where machine code can be made, the linear and the saturable algorithm run as
programs on operands (pbpk.compile): a second writing of the same methods, with the same tableaus, series, result codes and
event semantics, tested against this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.linalg.step_control import LEAST_SHARE
from pbpk.results import ResultCode

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline

Readings = tuple[tuple[int, ...], ...]
"""Sums of amounts, each by the numbers of its compartments."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trajectory:
    """A solution. `amounts` (T, n, N) at each patient's observation times, coherent units, or the readings (T, R, N) that were
    asked for; `result` (N,) codes (`ResultCode`), 0 is good.

    `integrals` (T, n, N), amount · h, are those of the amounts from the first event to each observation, if asked for.
    """

    amounts: jax.Array
    result: jax.Array
    integrals: jax.Array | None = None


class Solver(Protocol):
    """What solves a system for all patients at once."""

    @property
    def name(self) -> str:
        """What `--solver` takes."""
        ...

    def unsupported_reason(self, system: System) -> str:
        """Why this solver cannot be used on the system; "" when it can."""
        ...

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        """All patients of `timeline` with parameters p (C, m, N); C is 1 or the number of parameter rows. Traceable.
        Where few sums of amounts are of use, `readings` may be cheaper than all amounts.

        Computed in the dtype of p: float64, or float32 for what tolerates it.
        """
        ...

    def fallback(self) -> Solver | None:
        """What to solve a patient by when this solver reported failure; None when there is nothing better."""
        ...

    def forward_mode(self) -> Solver:
        """The same solver, ready for derivatives by jvp, as estimation takes them; otherwise it is ready for vjp."""
        ...


def sum_present(system: System, x: jax.Array) -> jax.Array:
    """What is present beside each compartment, from sizes x (n, ...) of all amounts: the sum over those that exchange with
    it, and at least a ten-thousandth of all that has its unit; (1, ...) when all exchange.

    Where a drug is not there yet, what a law makes of the rounding of other amounts (the free drug of a target-mediated
    model is a difference of totals) must not become the scale of its error.
    """
    species = system.species
    if not species.any():
        return jnp.sum(x, axis=0, keepdims=True)
    groups = jnp.stack([jnp.sum(x[np.flatnonzero(species == k)], axis=0) for k in range(species.max() + 1)])
    unit = system.unit_of_species
    units = jnp.stack([jnp.sum(groups[np.flatnonzero(unit == u)], axis=0) for u in range(unit.max() + 1)])
    return jnp.maximum(groups, LEAST_SHARE * units[unit])[species]


def as_code(code: Any) -> jax.Array:
    """Codes as int32, as all arrays of them are: jaxlib 0.10.2 ends the process on `int32 | weak int64` compiled alone."""
    return jnp.asarray(code, jnp.int32)


def flag_inaccurate(error: jax.Array, tolerance: float) -> jax.Array:
    """The code (N,) of an estimated error."""
    return as_code(jnp.where(error > tolerance, ResultCode.INACCURATE, 0))


def build_linear_trajectory(
    amounts: jax.Array, integrals: jax.Array | None, code: jax.Array, k: jax.Array
) -> Trajectory:
    """The trajectory of a linear solver, with a code of its own where rate constants k (C, entries, N) are negative."""
    negative = jnp.any(k < 0, axis=(0, 1))
    hopeless = code & ~ResultCode.INACCURATE | ResultCode.NEGATIVE_RATE  # no other solver would cure it
    return Trajectory(amounts, as_code(jnp.where(negative, hopeless, code)), integrals)
