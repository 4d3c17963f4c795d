"""Urine: what has been collected so far, or what came with each void.

A void is the difference of what was collected at two void times. Urine that was collected goes on decaying, so the earlier
amount is carried to the later time first; decay-corrected to one time, voids then add up to the cumulative excretion.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from pbpk.errors import BadInput, did_you_mean
from pbpk.observe.base import Measurement, SampledSimulation

COLLECTED = ("cumulative", "void")


@dataclass(frozen=True, kw_only=True, eq=False)
class UrineMeasurement(Measurement):
    """Collected urine, cumulative or per void. `region` is the model's collected urine (or faeces).

    With `collected="void"` a value at time t is of the void at t: of what came since the time before, the first since the
    beginning. `at` holds the void times; without it every simulated time is one.
    """

    collected: str

    def check_fields(self) -> None:
        """Raise `BadInput` for a `collected` that is neither cumulative nor void."""
        if self.collected not in COLLECTED:
            raise BadInput(
                f"`collected` = {self.collected!r} is not known", hint=did_you_mean(self.collected, COLLECTED)
            )

    def natural_unit(self, sampled: SampledSimulation) -> str:
        """The region's unit."""
        return sampled.unit_of(self.region)

    def present_value(self, sampled: SampledSimulation) -> jax.Array:
        """What was collected so far, or in each void, (T, N)."""
        so_far = sampled(self.region)
        if self.collected == "cumulative":
            return so_far
        hours = sampled.hours
        before = jnp.exp(-sampled.decay_constant * jnp.diff(hours, axis=0)) * so_far[:-1]
        return so_far.at[1:].add(-before)
