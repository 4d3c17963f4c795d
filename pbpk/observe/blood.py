"""A blood sample: the concentration in whole blood, plasma or red cells.

With haematocrit H and red cells at r times the plasma's concentration, whole blood is at (1 - H) + r H times it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.observe.base import Measurement, SampledSimulation
from pbpk.observe.quantity import check_fraction, check_nonnegative

MEDIA = ("blood", "plasma", "cells")


def ratio_to_plasma(medium: str, haematocrit: Any, red_cells: Any) -> Any:
    """The concentration in `medium` over that in plasma."""
    if medium == "plasma":
        return 1.0
    return red_cells if medium == "cells" else (1 - haematocrit) + red_cells * haematocrit


@dataclass(frozen=True, kw_only=True, eq=False)
class BloodMeasurement(Measurement):
    """The concentration in a blood sample. `sample`: what is measured; `region_is`: what the model's `region` is the
    concentration of, or the amount in `volume`.

    Where they differ `haematocrit` and `red_cells` (concentration in red cells over that in plasma) are needed.
    """

    sample: str
    region_is: str
    volume: Any = field(default=None, metadata={"unit": "L"})
    haematocrit: Any = None
    red_cells: Any = None

    def check_fields(self) -> None:
        """Raise `BadInput` for an unknown medium, or where the ratio of two media cannot be computed."""
        for what, medium in (("sample", self.sample), ("region_is", self.region_is)):
            if medium not in MEDIA:
                raise BadInput(f"`{what}` = {medium!r} is not known", hint=did_you_mean(str(medium), MEDIA))
        needed = [n for n in ("haematocrit", "red_cells") if getattr(self, n) is None]
        if self.sample != self.region_is and needed:
            raise BadInput(
                f"a {self.sample} sample of {self.region_is} needs {' and '.join(f'`{n}`' for n in needed)}",
                hint="haematocrit = 0.4, red_cells = 0.7 (concentration in red cells over plasma)",
            )
        if self.haematocrit is not None:
            check_fraction(self.haematocrit, "`haematocrit`")
        for name in ("red_cells", "volume"):
            check_nonnegative(getattr(self, name), f"`{name}`")

    def natural_unit(self, sampled: SampledSimulation) -> str:
        """The region's unit where it is a concentration, else its unit per L. Raises `BadInput` for a needless `volume`."""
        unit = sampled.unit_of(self.region)
        per_volume = units.unit_dimensions(unit).get("[length]") == -3
        if per_volume == (self.volume is not None):
            what = "is a concentration already" if per_volume else f"is an amount ({unit})"
            do = "leave `volume` out" if per_volume else f'give the volume of {self.region_is}: volume = "… L"'
            raise BadInput(f"`{self.region}` {what}", where=sampled.where, hint=do)
        return unit if per_volume else f"({unit})/L"

    def present_value(self, sampled: SampledSimulation) -> jax.Array:
        """The concentration in the sample (T, N)."""
        value = sampled(self.region) if self.volume is None else sampled(self.region) / self.volume
        if self.sample == self.region_is:
            return value
        ratio = [ratio_to_plasma(m, self.haematocrit, self.red_cells) for m in (self.sample, self.region_is)]
        return value * (ratio[0] / ratio[1])
