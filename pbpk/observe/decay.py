"""Physical decay in what is measured: correction to a reference time, and decay while counts are taken.

A simulated activity includes decay: it is what is there at its time. Corrected to a reference time it is what there would
have been then without biology: A(t) e^{λ(t - reference)}.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def decay_correction(rate: Any, hours: Any, reference: Any) -> Any:
    """e^{λ(t - reference)}: the decay-corrected value over the present one. `rate` is λ in 1/h, times in h."""
    return jnp.exp(rate * (jnp.asarray(hours) - reference))


def effective_counting_time(rate: Any, duration: Any) -> Any:
    """(1 - e^{-λT})/λ, in h: how long the activity at the start would have to last to give the counts of the time T.

    Over T the activity is taken to fall by physical decay alone.
    """
    x = jnp.asarray(rate * duration, dtype=float)
    small = x < 1e-6  # below, the series is exact to the last digit; and the quotient has no value at 0
    return duration * jnp.where(small, 1 - x / 2, -jnp.expm1(-x) / jnp.where(small, 1.0, x))
