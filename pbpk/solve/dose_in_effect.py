"""What a dose record comes to under a patient's parameters: lag, F, modelled rates and durations.

NONMEM's rules: F scales AMT; with a stated or modelled rate it changes the infusion's duration, with a duration its rate.
The parameters are those of the dose's own record, for its additional doses too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import SteadyRecords, Timeline


class DoseInEffect(NamedTuple):
    """Doses as arrays (K, N): `lag` h, `amount` that enters, `duration` h and `rate` of an infusion (0 and unused for a bolus),
    and `invalid` where a modelled rate or duration is not above zero, or a lag or bioavailability is below; None where a
    model has none of them."""

    lag: jax.Array
    amount: jax.Array
    duration: jax.Array
    rate: jax.Array
    invalid: jax.Array | None


def evaluate_doses(
    system: System, p: jax.Array, doses: Timeline | SteadyRecords, shape: tuple[int, ...], modelled: bool
) -> DoseInEffect:
    """The doses, broadcast to `shape` (K, N), under p (C, m, N). `modelled`: some rates are -1 (a parameter's) or -2 (a
    duration's)."""
    columns = (doses.row, doses.compartment, doses.amount, doses.rate, doses.duration)
    row, compartment, recorded, rate, duration = (jnp.broadcast_to(a, shape) for a in columns)
    invalid = None

    def look_up(role: str, default: float) -> jax.Array:
        return _look_up_role(system, p, row, compartment, role, default)

    if modelled:
        modelled_rate, modelled_duration = look_up("rate", 0.0), look_up("duration", 0.0)
        invalid = ((rate == -1) & ~(modelled_rate > 0)) | ((rate == -2) & ~(modelled_duration > 0))
        duration = jnp.where(rate == -2, modelled_duration, duration)
        rate = jnp.where(rate == -1, modelled_rate, jnp.where(rate == -2, 0.0, rate))
    lag, bioavailability = look_up("lag", 0.0), look_up("bioavailability", 1.0)
    if any(c.lag or c.bioavailability for c in system.compartments):
        # A change-point (model/clocks.py) before the first record is one that has happened, and no dose.
        is_dose = jnp.asarray([c.clock is None for c in system.compartments] + [False])[compartment]
        impossible = is_dose & ~((lag >= 0) & (bioavailability >= 0))
        invalid = impossible if invalid is None else invalid | impossible
    amount = bioavailability * recorded
    by_rate = rate > 0
    return DoseInEffect(
        lag=lag,
        amount=amount,
        duration=jnp.where(by_rate, amount / jnp.where(by_rate, rate, 1.0), duration),
        rate=jnp.where(by_rate, rate, amount / jnp.where(duration > 0, duration, 1.0)),
        invalid=invalid,
    )


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
