"""The activity that an image shows in a volume of interest (VOI): the region's and its blood's, less what spills out, plus
what spills in.

    shown = R (A_region + b A_blood) + Σ f_j A_j

R is the recovery coefficient (recovery.py), b the share of the body's blood that lies inside, and f_j the fraction of
another region's activity that is seen in this one. A set of volumes is a matrix; where its columns sum to 1, nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.errors import BadInput
from pbpk.observe.base import Measurement, SampledSimulation
from pbpk.observe.quantity import build_from_table, check_fraction, check_nonnegative
from pbpk.observe.recovery import RecoveryCurve

PERCENT = ("pct_IA", "%IA")
"""Per cent of the administered activity."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Voi(Measurement):
    """The activity in a volume of interest. `recovery`: a fraction, or a `RecoveryCurve` at `volume`.

    `blood_share` of the activity of `blood` lies inside. `spill_in`: the fraction of each region that is seen in this one.
    `unit` may also be a concentration (needs `volume`) or "pct_IA" (needs `administered`, an activity).
    """

    blood: str | None = None
    blood_share: Any = None
    spill_in: Mapping[str, Any] = field(default_factory=dict)
    recovery: Any = 1.0
    volume: Any = field(default=None, metadata={"unit": "mL"})
    administered: Any = field(default=None, metadata={"unit": "MBq"})

    def check_fields(self) -> None:
        """Read `recovery` from a table. Raise `BadInput` for fractions that are none, and fields that go together."""
        if isinstance(self.recovery, Mapping):
            object.__setattr__(self, "recovery", build_from_table(RecoveryCurve, self.recovery, "a recovery"))
        if isinstance(self.recovery, RecoveryCurve) and self.volume is None:
            raise BadInput("recovery by volume needs the `volume`", hint='volume = "20 mL"')
        if (self.blood is None) != (self.blood_share is None):
            raise BadInput(
                "`blood` and `blood_share` go together", hint='blood = "blood_total", blood_share = 0.01 (of all blood)'
            )
        check_fraction(self.blood_share, "`blood_share`")
        for name, value in self.spill_in.items():
            check_fraction(value, f"`spill_in` from `{name}`")
        if self.region in self.spill_in:
            raise BadInput(f"`{self.region}` spills into itself", hint="what stays inside is the `recovery`")
        check_nonnegative(self.recovery, "`recovery`")
        for name in ("volume", "administered"):
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not value > 0:
                raise BadInput(f"`{name}` = {value:g} must be above 0")

    @property
    def regions(self) -> tuple[str, ...]:
        """The region, the blood, and those that spill in."""
        return tuple(dict.fromkeys((self.region, *([self.blood] if self.blood else []), *self.spill_in)))

    def region_weights(self) -> dict[str, Any]:
        """The fraction of each region's activity that is seen in this volume."""
        recovered = self.recovery(self.volume) if isinstance(self.recovery, RecoveryCurve) else self.recovery
        shares = {self.region: recovered}
        if self.blood:
            shares[self.blood] = shares.get(self.blood, 0.0) + recovered * self.blood_share
        for name, value in self.spill_in.items():
            shares[name] = shares.get(name, 0.0) + value
        return shares

    def natural_unit(self, sampled: SampledSimulation) -> str:
        """The region's unit. Raises `BadInput` where another region is in a unit that cannot be added to it."""
        unit = sampled.unit_of(self.region)
        for other in self.regions:
            units.require_dimension(sampled.unit_of(other), unit, f"`{other}`", where=sampled.where)
        return unit

    def present_value(self, sampled: SampledSimulation) -> jax.Array:
        """What the volume shows (T, N): the regions' weighted sum."""
        return sum((w * sampled(name) for name, w in self.region_weights().items()), jnp.zeros(()))

    def find_scale(self, sampled: SampledSimulation) -> tuple[str, Any]:
        """The same for per cent of the administered activity, and for concentrations in `volume`."""
        if self.unit is None:
            return super().find_scale(sampled)
        natural = self.natural_unit(sampled)
        if self.unit in PERCENT:
            return self.unit, self._require_field("administered", "245 MBq", sampled) / 100
        if units.have_same_dimension(self.unit, f"({natural})/L"):
            return self.unit, units.unit_factor(self.unit) * self._require_field("volume", "20 mL", sampled)
        return super().find_scale(sampled)

    def list_assumptions(self, sampled: SampledSimulation) -> list[str]:
        """That recovery has the form of recovery.py, where it has."""
        return ["recovery is a logistic curve in ln(volume)"] if isinstance(self.recovery, RecoveryCurve) else []

    def _require_field(self, name: str, example: str, sampled: SampledSimulation) -> Any:
        if getattr(self, name) is None:
            raise BadInput(f"`unit` = {self.unit} needs `{name}`", where=sampled.where, hint=f'{name} = "{example}"')
        return getattr(self, name)


def build_spill_matrix(vois: Sequence[Voi], regions: Sequence[str]) -> jax.Array:
    """(volumes, regions): the fraction of each region's activity that each volume shows."""
    rows = [[v.region_weights().get(name, 0.0) for name in regions] for v in vois]
    return jnp.array(rows)
