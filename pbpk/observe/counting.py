"""Counting noise: a camera's or a counter's photons are Poisson distributed, whatever is then made of them.

In a time T a region gives S = sensitivity · value · T' counts of its own (T' is T less decay meanwhile, see decay.py), and
B others: scatter, a fraction of S, and a background, at its own rate. What is shown is (gross - others)/(sensitivity · T'),
where the others are known, or were themselves counted (in scatter windows, in a region nearby): then in r times as many counts,
divided by r. So the shown value has the variance

    (S + B + B/r) / (sensitivity · T')²

Reconstruction correlates voxels and amplifies noise; that is not in it. `scale` multiplies the standard deviation for those
who have measured by how much.
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
    """Either `sensitivity`, text such as "73 cps/MBq" (counts per second and unit of what is measured), or `efficiency`, the
    counts per photon that the nuclide emits in its imaged range. `duration` "30 min"; `background` "5 cps"; `scatter` a
    fraction of the region's own counts; `background_ratio` r as above, None: the others are known."""

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

    def counts_per_value(self, shown: ExpectedSignal) -> Any:
        """Counts per coherent unit of what is measured."""
        name = shown.nuclide.name if shown.nuclide else ""
        if self.sensitivity is not None:
            rate = to_coherent(self.sensitivity, f"cps/({shown.unit})", "`sensitivity`")
            check_nonnegative(rate, "`sensitivity`")
        elif units.unit_dimensions(shown.unit) != units.unit_dimensions("MBq"):
            raise BadInput(
                f"`efficiency` counts photons of an activity, and this is in {shown.unit}",
                hint=f'give sensitivity = "… cps/({shown.unit})"',
            )
        elif not name or not load_photons(name).imaged_per_decay:
            raise BadInput(
                f"`efficiency` needs the photons of {name or 'a nuclide'}, and none are on file to be imaged",
                hint='give sensitivity = "… cps/MBq", or the nuclide',
            )
        else:
            rate = self.efficiency * load_photons(name).imaged_per_decay * units.unit_factor("count/decay")
        decay = shown.nuclide.decay_constant if shown.nuclide else 0.0
        return rate * effective_counting_time(decay, self.duration)

    def expected_counts(self, shown: ExpectedSignal) -> ExpectedCounts:
        # A solver may leave -1e-18 where nothing is; there are no negative counts.
        region = jnp.maximum(shown.present, 0.0) * self.counts_per_value(shown)
        return ExpectedCounts(region, region * self.scatter + self.background * self.duration)

    def sd(self, shown: ExpectedSignal) -> Any:
        region, others = self.expected_counts(shown)
        variance = region + others
        if self.background_ratio is not None:
            variance = variance + others / self.background_ratio
        return self.scale * jnp.sqrt(variance) / self.counts_per_value(shown) * jnp.abs(shown.factor)

    def draw(self, shown: ExpectedSignal, keys: Any) -> Any:
        region, others = self.expected_counts(shown)
        net = _draw_poisson(keys, 0, region + others)
        if self.background_ratio is None:
            net = net - others
        else:
            net = net - _draw_poisson(keys, 1, self.background_ratio * others) / self.background_ratio
        return (region + self.scale * (net - region)) / self.counts_per_value(shown) * shown.factor


def _draw_poisson(keys: Any, which: int, mean: Any) -> Any:
    """A draw for each key (T, N); `which` tells apart two draws of one key."""

    def one(key, mean):
        known = jnp.isfinite(mean)
        drawn = jax.random.poisson(jax.random.fold_in(key, which), jnp.where(known, mean, 1.0))
        return jnp.where(known, drawn.astype(float), math.nan)

    return jax.vmap(jax.vmap(one))(keys, mean)


def read_noise(table: Mapping[str, Any]) -> NoiseModel:
    """An error model as a file says it: `{ model = "poisson", … }` or one of `VARIANCES`."""
    if table.get("model") != "poisson":
        return build_from_table(GaussianNoise, table, "an error model")
    return build_from_table(CountingNoise, {k: v for k, v in table.items() if k != "model"}, "counting noise")
