"""Counts of a whole-body counter, an uptake probe or a camera: net of background, over a counting time.

A whole-body counter sees all that is not yet excreted; a probe at the neck sees its own region and a share of the rest
(`also`). Counts at one time over those of another need no calibration, so retention is their ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.errors import BadInput
from pbpk.observe.base import Measurement, SampledSimulation
from pbpk.observe.counting import CountingNoise
from pbpk.observe.noise import ExpectedSignal, NoiseModel
from pbpk.observe.quantity import build_from_table, check_fraction


@dataclass(frozen=True)
class _NoiseOfCounts(NoiseModel):
    """The counting noise of what is itself counts: those are turned back into the activity that gave them."""

    counting: CountingNoise

    def sd(self, shown: ExpectedSignal) -> Any:
        return self.counting.sd(self._activity(shown))

    def draw(self, shown: ExpectedSignal, keys: Any) -> Any:
        return self.counting.draw(self._activity(shown), keys)

    def _activity(self, shown: ExpectedSignal) -> ExpectedSignal:
        per = self.counting.counts_per_value(shown._replace(unit="MBq"))
        return ExpectedSignal(shown.present / per, shown.factor * per, "MBq", shown.nuclide)


@dataclass(frozen=True, kw_only=True, eq=False)
class CountMeasurement(Measurement):
    """`counting` says how; `noise=True` draws Poisson noise from it. `also`: the share of other regions that is sampled."""

    counting: Any
    also: Mapping[str, Any] = field(default_factory=dict)

    def check_fields(self) -> None:
        counting = self.counting
        if isinstance(counting, Mapping):
            counting = build_from_table(CountingNoise, counting, "counting")
            object.__setattr__(self, "counting", counting)
        if self.noise is True:
            object.__setattr__(self, "noise", _NoiseOfCounts(counting))
        elif isinstance(self.noise, CountingNoise):
            raise BadInput("counts have the noise of their own `counting`", hint="noise = true")
        for name, value in self.also.items():
            check_fraction(value, f"`also` of `{name}`")

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.region, *self.also)))

    def natural_unit(self, sampled: SampledSimulation) -> str:
        for name in self.regions:
            units.require_dimension(
                sampled.unit_of(name), "MBq", f"`{name}`, of which counts are taken,", where=sampled.where
            )
        return "count"

    def present_value(self, sampled: SampledSimulation) -> jax.Array:
        activity = sum((share * sampled(name) for name, share in self.also.items()), sampled(self.region))
        return jnp.asarray(activity) * self.counting.counts_per_value(
            ExpectedSignal(activity, 1.0, "MBq", sampled.nuclide)
        )
