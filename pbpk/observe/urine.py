"""Urine: what has been collected so far, or what came with each void.

A void is the difference of what was collected at two void times. Urine that was collected goes on decaying, so the earlier
amount is carried to the later time first; decay-corrected to one time, voids then add up to the cumulative excretion.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from pbpk.errors import BadInput, did_you_mean
from pbpk.observe.base import Measurement, Seen

COLLECTED = ("cumulative", "void")


@dataclass(frozen=True, kw_only=True, eq=False)
class Urine(Measurement):
    """`region` is the model's collected urine (or faeces). With `collected="void"` a value at time t is of the void at t:
    of what came since the time before, the first since the beginning. `at` holds the void times; else all times are."""

    collected: str

    def check(self) -> None:
        if self.collected not in COLLECTED:
            raise BadInput(
                f"`collected` = {self.collected!r} is not known", hint=did_you_mean(self.collected, COLLECTED)
            )

    def natural(self, seen: Seen) -> str:
        return seen.unit(self.region)

    def present(self, seen: Seen) -> jax.Array:
        so_far = seen(self.region)
        if self.collected == "cumulative":
            return so_far
        hours = seen.hours
        before = jnp.exp(-seen.rate * jnp.diff(hours, axis=0)) * so_far[:-1]
        return so_far.at[1:].add(-before)
