"""What segments.py hands to a solver, and what it takes back: one stretch between events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Interval(NamedTuple):
    """What a solver crosses in one go: `stops` (M, N or 1), hours from its start in order; a constant inflow `rate`
    (n, N) or None; the row of parameters in force; whether something changed just before it, `fresh` (N,); and what the
    solver gave at the end of the last interval to be reminded of, `memory`, None at steady states."""

    stops: jax.Array
    inflow: jax.Array | None
    parameters: Any
    restart: jax.Array
    step_memory: Any

    def duration(self, patients: int) -> jax.Array:
        """(N,) hours, for a solver that takes one stop."""
        return jnp.broadcast_to(self.stops[-1], (patients,))


class CrossedInterval(NamedTuple):
    """Amounts at the stops (M, n, N), their integrals from the interval's start or None, result codes (N,), `memory`."""

    amounts: jax.Array
    integrals: jax.Array | None
    code: jax.Array
    step_memory: Any = None


Advance = Callable[[jax.Array, Interval], CrossedInterval]
