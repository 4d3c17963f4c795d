"""A blood sample: the concentration in whole blood, plasma or red cells.

With haematocrit H and red cells at r times the plasma's concentration, whole blood is at (1 - H) + r H times it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.observe.base import Measurement, Seen
from pbpk.observe.quantity import fraction, nonnegative

MEDIA = ("blood", "plasma", "cells")


def over_plasma(medium: str, haematocrit: Any, red_cells: Any) -> Any:
    """The concentration in `medium` over that in plasma."""
    if medium == "plasma":
        return 1.0
    return red_cells if medium == "cells" else (1 - haematocrit) + red_cells * haematocrit


@dataclass(frozen=True, kw_only=True, eq=False)
class Blood(Measurement):
    """`sample`: what is measured; `region_is`: what the model's `region` is the concentration of, or the amount in `volume`.

    Where they differ `haematocrit` and `red_cells` (concentration in red cells over that in plasma) are needed.
    """

    sample: str
    region_is: str
    volume: Any = field(default=None, metadata={"unit": "L"})
    haematocrit: Any = None
    red_cells: Any = None

    def check(self) -> None:
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
            fraction(self.haematocrit, "`haematocrit`")
        for name in ("red_cells", "volume"):
            nonnegative(getattr(self, name), f"`{name}`")

    def natural(self, seen: Seen) -> str:
        unit = seen.unit(self.region)
        per_volume = units.dimensions(unit).get("[length]") == -3
        if per_volume == (self.volume is not None):
            what = "is a concentration already" if per_volume else f"is an amount ({unit})"
            do = "leave `volume` out" if per_volume else f'give the volume of {self.region_is}: volume = "… L"'
            raise BadInput(f"`{self.region}` {what}", where=seen.where, hint=do)
        return unit if per_volume else f"({unit})/L"

    def present(self, seen: Seen) -> jax.Array:
        value = seen(self.region) if self.volume is None else seen(self.region) / self.volume
        if self.sample == self.region_is:
            return value
        ratio = [over_plasma(m, self.haematocrit, self.red_cells) for m in (self.sample, self.region_is)]
        return value * (ratio[0] / ratio[1])
