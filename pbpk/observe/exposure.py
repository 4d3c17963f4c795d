"""The dose rate that a meter shows at a distance from a patient: air kerma per hour.

    K = Γ A g(d, L) · transmission,   g = (1/d²) · arctan(x)/x,   x = L/(2d)

Γ is the air kerma rate constant (nuclides/photons.toml). g is that of a line of length L seen from its middle, which is 1/d²
for a point. `transmission` is what the patient's own body lets through: 1, the bare source, by default; 0.55 ± 0.17 was
measured with I-131 right after administration (patient over capsule, "Measurement and analysis of patient attenuation
correction factor during radioiodine therapy", abstract).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from pbpk import units
from pbpk.errors import BadInput
from pbpk.nuclides.photons import load_photons
from pbpk.observe.base import Measurement, SampledSimulation
from pbpk.observe.quantity import check_nonnegative


def geometry_factor(distance: Any, length: Any) -> Any:
    """g(d, L): how the dose rate falls with distance, in the inverse square of their unit."""
    x = jnp.asarray(length, dtype=float) / (2 * distance)
    small = x < 1e-4  # there arctan(x)/x is 1 - x²/3 to the last digit; and it has no value at 0
    return jnp.where(small, 1 - x**2 / 3, jnp.arctan(x) / jnp.where(small, 1.0, x)) / distance**2


@dataclass(frozen=True, kw_only=True, eq=False)
class DoseRateMeasurement(Measurement):
    """Air kerma per hour at a `distance` from the source ("1 m"); `length` of a line source along the body, 0 a point.

    `transmission` is what the patient's own body lets through; `constant` replaces the nuclide's ("52.2 µGy*m^2/(GBq*h)").
    """

    distance: Any = field(default=None, metadata={"unit": "m"})
    length: Any = field(default=0.0, metadata={"unit": "m"})
    transmission: Any = 1.0
    constant: Any = field(default=None, metadata={"unit": "µGy*m^2/(GBq*h)"})

    def check_fields(self) -> None:
        """Raise `BadInput` for a distance that is missing or not above 0, and for negative numbers."""
        if self.distance is None:
            raise BadInput("a dose rate needs a `distance`", hint='distance = "1 m"')
        if isinstance(self.distance, (int, float)) and not self.distance > 0:
            raise BadInput(f"`distance` = {self.distance:g} must be above 0")
        for name in ("length", "transmission", "constant"):
            check_nonnegative(getattr(self, name), f"`{name}`")

    def natural_unit(self, sampled: SampledSimulation) -> str:
        """µGy/h. Raises `BadInput` for a region that is no activity."""
        units.require_dimension(
            sampled.unit_of(self.region), "MBq", f"`{self.region}`, the source of a dose rate,", where=sampled.where
        )
        return "µGy/h"

    def present_value(self, sampled: SampledSimulation) -> jax.Array:
        """The dose rate (T, N). Raises `BadInput` where neither `constant` nor the nuclide is known."""
        constant = self.constant
        if constant is None:
            if sampled.nuclide is None:
                raise BadInput(
                    "a dose rate needs the nuclide, or its `constant`",
                    where=sampled.where,
                    hint='constant = "52.2 µGy*m^2/(GBq*h)"',
                )
            constant = load_photons(sampled.nuclide.name).kerma
        return sampled(self.region) * (constant * geometry_factor(self.distance, self.length) * self.transmission)

    def list_assumptions(self, sampled: SampledSimulation) -> list[str]:
        """That Γ is not published, and that the patient attenuates nothing, where that is so."""
        sentences = []
        if self.constant is None and sampled.nuclide and load_photons(sampled.nuclide.name).kerma_status == "assumed":
            sentences.append(f"the air kerma rate constant of {sampled.nuclide.name} is assumed, not published")
        if isinstance(self.transmission, (int, float)) and self.transmission == 1:
            sentences.append("the patient attenuates nothing (transmission 1)")
        return sentences
