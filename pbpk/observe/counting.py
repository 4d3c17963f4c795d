"""Counting noise: a camera's or a counter's photons are Poisson distributed, whatever is then made of them.

In a time T a region gives S = sensitivity · value · T' counts of its own (T' is T less decay meanwhile, see decay.py), and
B others: scatter, a fraction of S, and a background, at a rate of its own. What is shown is
(gross - others)/(sensitivity · T'), where the others are known, or were themselves counted (in scatter windows, in a region
nearby): then in r times as many counts, divided by r. So the shown value has the variance

    (S + B + B/r) / (sensitivity · T')²

Reconstruction correlates voxels and amplifies noise; that is not in it. Where it was measured by how much, `scale` multiplies
the standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.errors import BadInput
from pbpk.nuclides.photons import load_photons
from pbpk.observe.decay import effective_counting_time
from pbpk.observe.noise import ExpectedSignal, GaussianNoise, NoiseModel
from pbpk.observe.quantity import build_from_table, check_nonnegative, convert_fields, to_coherent


class ExpectedCounts(NamedTuple):
    """Expected counts: of the region itself, and of everything else in the window."""

    region: Any
    others: Any


@dataclass(frozen=True)
class CountingNoise(NoiseModel):
    """Poisson noise of counts, and what turns a value into counts.

    Either `sensitivity`, text such as "73 cps/MBq" (counts per second and unit of what is measured), or `efficiency`, the
    counts per photon that the nuclide emits in its imaged range. `duration` "30 min"; `background` "5 cps"; `scatter` a
    fraction of the region's own counts; `background_ratio` r as above, None: the others are known.
    Raises `BadInput` for numbers that cannot be meant."""

    duration: Any = field(default=None, metadata={"unit": "min"})
    sensitivity: str | None = None
    efficiency: Any = None
    background: Any = field(default=0.0, metadata={"unit": "cps"})
    scatter: Any = 0.0
    background_ratio: Any = None
    scale: Any = 1.0

    def __post_init__(self):
        if (self.sensitivity is None) == (self.efficiency is None):
            raise BadInput(
                "counting needs either `sensitivity` or `efficiency`",
                hint='sensitivity = "73 cps/MBq"; or efficiency = 1e-4, counts per emitted photon',
            )
        convert_fields(self)
        if self.duration is None:
            raise BadInput("counting needs a `duration`", hint='duration = "30 min"')
        for name in ("duration", "efficiency", "background", "scatter", "background_ratio", "scale"):
            check_nonnegative(getattr(self, name), f"`{name}` of the counting")
        for name in ("duration", "background_ratio"):
            if isinstance(getattr(self, name), (int, float)) and getattr(self, name) == 0:
                raise BadInput(f"`{name}` of the counting is 0, so that nothing is counted")

    def counts_per_value(self, signal: ExpectedSignal) -> Any:
        """Counts per coherent unit of what is measured. Raises `BadInput` for units and nuclides that do not fit."""
        name = signal.nuclide.name if signal.nuclide else ""
        if self.sensitivity is not None:
            rate = to_coherent(self.sensitivity, f"cps/({signal.unit})", "`sensitivity`")
            check_nonnegative(rate, "`sensitivity`")
        elif units.unit_dimensions(signal.unit) != units.unit_dimensions("MBq"):
            raise BadInput(
                f"`efficiency` counts photons of an activity, and this is in {signal.unit}",
                hint=f'give sensitivity = "… cps/({signal.unit})"',
            )
        elif not name or not load_photons(name).imaged_per_decay:
            raise BadInput(
                f"`efficiency` needs the photons of {name or 'a nuclide'}, and none are on file to be imaged",
                hint='give sensitivity = "… cps/MBq", or the nuclide',
            )
        else:
            rate = self.efficiency * load_photons(name).imaged_per_decay * units.unit_factor("count/decay")
        decay = signal.nuclide.decay_constant if signal.nuclide else 0.0
        return rate * effective_counting_time(decay, self.duration)

    def expected_counts(self, signal: ExpectedSignal) -> ExpectedCounts:
        """Of the region and of the others, (T, N) each."""
        # A solver may leave -1e-18 where nothing is, and no Poisson distribution has a negative mean.
        region = jnp.maximum(signal.present, 0.0) * self.counts_per_value(signal)
        return ExpectedCounts(region, region * self.scatter + self.background * self.duration)

    def sd(self, signal: ExpectedSignal) -> Any:
        """The square root of the variance above, times `scale`, in what is shown."""
        region, others = self.expected_counts(signal)
        variance = region + others
        if self.background_ratio is not None:
            variance = variance + others / self.background_ratio
        return self.scale * jnp.sqrt(variance) / self.counts_per_value(signal) * jnp.abs(signal.factor)

    def draw(self, signal: ExpectedSignal, keys: Any) -> Any:
        """Gross counts less the others, these drawn too where they were counted, as a shown value."""
        region, others = self.expected_counts(signal)
        net = _draw_poisson(keys, 0, region + others)
        if self.background_ratio is None:
            net = net - others
        else:
            net = net - _draw_poisson(keys, 1, self.background_ratio * others) / self.background_ratio
        return (region + self.scale * (net - region)) / self.counts_per_value(signal) * signal.factor


def _draw_poisson(keys: Any, which: int, mean: Any) -> Any:
    """A draw for each key (T, N), NaN where `mean` is not finite; `which` tells apart two draws of one key."""

    def one(key, mean):
        known = jnp.isfinite(mean)
        drawn = jax.random.poisson(jax.random.fold_in(key, which), jnp.where(known, mean, 1.0))
        return jnp.where(known, drawn.astype(float), math.nan)

    return jax.vmap(jax.vmap(one))(keys, mean)


def read_noise(table: Mapping[str, Any]) -> NoiseModel:
    """An error model from a table of a file: `{ model = "poisson", … }` or one of `VARIANCES`."""
    if table.get("model") != "poisson":
        return build_from_table(GaussianNoise, table, "an error model")
    return build_from_table(CountingNoise, {k: v for k, v in table.items() if k != "model"}, "counting noise")
