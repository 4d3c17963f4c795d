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
from pbpk.observe.base import Measurement, Seen
from pbpk.observe.counting import Counting
from pbpk.observe.noise import Noise, Shown
from pbpk.observe.quantity import construct, fraction


@dataclass(frozen=True)
class _OfItself(Noise):
    """The counting noise of what is itself counts: those are turned back into the activity that gave them."""

    counting: Counting

    def sd(self, shown: Shown) -> Any:
        return self.counting.sd(self._activity(shown))

    def draw(self, shown: Shown, keys: Any) -> Any:
        return self.counting.draw(self._activity(shown), keys)

    def _activity(self, shown: Shown) -> Shown:
        per = self.counting.per_value(shown._replace(natural="MBq"))
        return Shown(shown.present / per, shown.factor * per, "MBq", shown.nuclide)


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts(Measurement):
    """`counting` says how; `noise=True` draws Poisson noise from it. `also`: the share of other regions that is seen."""

    counting: Any
    also: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        counting = self.counting
        if isinstance(counting, Mapping):
            counting = construct(Counting, counting, "counting")
            object.__setattr__(self, "counting", counting)
        if self.noise is True:
            object.__setattr__(self, "noise", _OfItself(counting))
        elif isinstance(self.noise, Counting):
            raise BadInput("counts have the noise of their own `counting`", hint="noise = true")
        for name, value in self.also.items():
            fraction(value, f"`also` of `{name}`")

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.region, *self.also)))

    def natural(self, seen: Seen) -> str:
        for name in self.regions:
            units.require(seen.unit(name), "MBq", f"`{name}`, of which counts are taken,", where=seen.where)
        return "count"

    def present(self, seen: Seen) -> jax.Array:
        activity = sum((share * seen(name) for name, share in self.also.items()), seen(self.region))
        return jnp.asarray(activity) * self.counting.per_value(Shown(activity, 1.0, "MBq", seen.nuclide))
