"""One interval between events: what segments.py asks a solver to cross, and what the solver returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Interval(NamedTuple):
    """What a solver crosses in one call.

    `stops` (M, N or 1) are hours from its start, in order; `inflow` (n, N) is constant, or None; `parameters` is the row
    of parameters in force; `restart` (N,) says whether something changed just before it; `step_memory` is what the solver
    returned at the end of the last interval, None at steady states.
    """

    stops: jax.Array
    inflow: jax.Array | None
    parameters: Any
    restart: jax.Array
    step_memory: Any

    def duration(self, patients: int) -> jax.Array:
        """(N,) hours, for a solver that takes one stop."""
        return jnp.broadcast_to(self.stops[-1], (patients,))


class CrossedInterval(NamedTuple):
    """Amounts at the stops (M, n, N), their integrals from the interval's start or None, result codes (N,), and what the
    solver needs to know when it crosses the next interval."""

    amounts: jax.Array
    integrals: jax.Array | None
    code: jax.Array
    step_memory: Any = None


Advance = Callable[[jax.Array, Interval], CrossedInterval]
"""How a solver gets from amounts (n, N) over an interval."""
