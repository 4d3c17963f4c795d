"""What a dose record comes to under a patient's parameters: lag, F, modelled rates and durations.

NONMEM's rules: F scales AMT; with a given or modelled rate it changes the infusion's length, with a duration its speed.
The parameters are those of the dose's own record, for its additional doses too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from pbpk.model.system import System


class DoseRecords(NamedTuple):
    """Dose records as arrays (K, N): their row of parameters and what timeline.py says of the rest."""

    row: jax.Array
    compartment: jax.Array
    amount: jax.Array
    rate: jax.Array
    duration: jax.Array


class DoseInEffect(NamedTuple):
    """Arrays (K, N): `lag` h, `amount` that enters, `length` h and `speed` of an infusion (0 and unused for a bolus),
    and `bad` where a modelled rate or duration is not above zero."""

    lag: jax.Array
    amount: jax.Array
    duration: jax.Array
    rate: jax.Array
    invalid: jax.Array | None


def evaluate_doses(system: System, p: jax.Array, given: DoseRecords, modelled: bool) -> DoseInEffect:
    """The doses (K, N) under p (C, m, N). `modelled`: some rates are -1 (a parameter's) or -2 (a duration's)."""

    def of(role: str, default: float) -> jax.Array:
        return _look_up_role(system, p, given.row, given.compartment, role, default)

    rate, duration, bad = given.rate, given.duration, None
    if modelled:
        its_rate, its_duration = of("rate", 0.0), of("duration", 0.0)
        bad = ((rate == -1) & ~(its_rate > 0)) | ((rate == -2) & ~(its_duration > 0))
        duration = jnp.where(rate == -2, its_duration, duration)
        rate = jnp.where(rate == -1, its_rate, jnp.where(rate == -2, 0.0, rate))
    entering = of("bioavailability", 1.0) * given.amount
    by_rate = rate > 0
    length = jnp.where(by_rate, entering / jnp.where(by_rate, rate, 1.0), duration)
    speed = jnp.where(by_rate, rate, entering / jnp.where(duration > 0, duration, 1.0))
    return DoseInEffect(of("lag", 0.0), entering, length, speed, bad)


def _look_up_role(
    system: System, p: jax.Array, row: jax.Array, compartment: jax.Array, role: str, default: float
) -> jax.Array:
    """The parameter that each dose's compartment names for a role, from the row of the dose's own record."""
    names = [getattr(c, role) for c in system.compartments]
    if not any(names):
        return jnp.full(compartment.shape, default)
    index = jnp.asarray([system.parameter_index(n) if n else -1 for n in names] + [-1])[compartment]
    value = p[jnp.minimum(row, p.shape[0] - 1), index, jnp.arange(compartment.shape[1])]
    return jnp.where(index >= 0, value, default)
