"""An organ's decays brought to its micro-regions in time: macro to micro (Hobbs 2012, Phys Med Biol 57:4403).

Which region holds what share changes while the activity goes: saliva is secreted, colloid fills. So shares multiply A(t), not
its integral. Between two times decays are those of the engine's exact integral, and the share is the mean of its ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


def apportion_decays(integral: Any, factors: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Decays by region, (…), in the unit of `integral` (T, …), which runs from 0 at the first dose.

    `factors` (T,) or (T, …) are each region's shares of the activity at those times.
    """
    steps = jnp.diff(jnp.asarray(integral, float), axis=0)

    def mean(share: Any) -> Any:
        share = jnp.asarray(share, float)
        share = share.reshape(share.shape + (1,) * (steps.ndim - share.ndim))
        return (share[1:] + share[:-1]) / 2

    return {k: (steps * mean(v)).sum(0) for k, v in factors.items()}


def apportion_shares(integral: Any, factors: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Decays by region as shares of all decays in the organ: for `Tissue.hits`."""
    total = jnp.asarray(integral)[-1] - jnp.asarray(integral)[0]
    return {k: v / total for k, v in apportion_decays(integral, factors).items()}


def filling_share(time: Any, half_time: Any, final: Any = 1.0) -> jax.Array:
    """A share that fills with a half-time (h) to `final`, as colloid does after uptake into the cells."""
    return final * -jnp.expm1(-math.log(2) * jnp.asarray(time, float) / half_time)
