"""Counts of a whole-body counter, an uptake probe or a camera: net of background, over a counting time.

A whole-body counter sees all that is not yet excreted; a probe at the neck sees its own region and a share of the rest
(`also`). The ratio of the counts at two times needs no calibration, and is the retention.
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
    """The counting noise of a measurement in counts: these are turned back into the activity that gave them."""

    counting: CountingNoise

    def sd(self, signal: ExpectedSignal) -> Any:
        return self.counting.sd(self._activity(signal))

    def draw(self, signal: ExpectedSignal, keys: Any) -> Any:
        return self.counting.draw(self._activity(signal), keys)

    def _activity(self, signal: ExpectedSignal) -> ExpectedSignal:
        per = self.counting.counts_per_value(signal._replace(unit="MBq"))
        return ExpectedSignal(signal.present / per, signal.factor * per, "MBq", signal.nuclide)


@dataclass(frozen=True, kw_only=True, eq=False)
class CountMeasurement(Measurement):
    """Net counts of a region: `counting` says how they are taken; `noise=True` draws Poisson noise from it.
    `also`: the share of other regions that the instrument counts too."""

    counting: Any
    also: Mapping[str, Any] = field(default_factory=dict)

    def check_fields(self) -> None:
        """Read `counting` from a table, and `noise=True` as its noise. Raise `BadInput` for another counting noise."""
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
        """The region, and those of `also`."""
        return tuple(dict.fromkeys((self.region, *self.also)))

    def natural_unit(self, sampled: SampledSimulation) -> str:
        """Counts. Raises `BadInput` for a region that is no activity."""
        for name in self.regions:
            units.require_dimension(
                sampled.unit_of(name), "MBq", f"`{name}`, of which counts are taken,", where=sampled.where
            )
        return "count"

    def present_value(self, sampled: SampledSimulation) -> jax.Array:
        """Expected net counts (T, N)."""
        activity = sum((share * sampled(name) for name, share in self.also.items()), sampled(self.region))
        return jnp.asarray(activity) * self.counting.counts_per_value(
            ExpectedSignal(activity, 1.0, "MBq", sampled.nuclide)
        )
