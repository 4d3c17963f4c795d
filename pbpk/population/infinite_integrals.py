"""When a time-integral has a value to infinity that one solve gives, and why not where it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from pbpk.linalg.packing import explain_nonlinear, produces

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.regimen.regimen import Regimen


def explain_no_infinity(model: Model, regimen: Regimen) -> str:
    """Why there is no integral to infinity, whatever the times; "" when there may be one."""
    if reason := explain_nonlinear(model.system):
        return reason
    if any(c.clock is not None for c in model.system.compartments):
        return "a law of this model reads the time, which has no end"
    if produces(model.system):
        return "what the body produces has no end"
    habits = [v.compartment for v in regimen.voids if not v.at]
    return f"voids of `{habits[0]}` go on for ever" if habits else ""


def find_last_input(model: Model, regimen: Regimen, p: Any, times: Any) -> Any:
    """(N,) h: when the last dose, with its lag and its infusion, or void is over. `times` (doses,): the doses' times, h."""
    system = model.system
    ends = [jnp.zeros(p.shape[-1])] + [jnp.full(p.shape[-1], t) for v in regimen.voids for t in v.at]
    for time, d in zip(times, regimen.doses, strict=True):
        lag = system.compartments[system.index(d.find_compartment(model))].lag
        ends.append(time + d.addl * d.ii + d.over + (p[0, system.parameter_index(lag)] if lag else jnp.zeros(())))
    return jnp.stack([jnp.broadcast_to(e, (p.shape[-1],)) for e in ends]).max(axis=0)


def is_too_late(ends: Any, horizon: float) -> Any:
    """(N,) whether something still comes after the last time; what belongs to its instant does not."""
    return ends > horizon + 1e-9 * max(horizon, 1.0)
