"""The reference body: regions with their masses, as sources and targets of dose.

Masses are those of ICRP 89 with the blood that is in the organs, as ICRP 133 counts them: 23.4 g for a man's thyroid, where
ICRP 89 has 20 g without blood. Choosing the other would change a thyroid's dose by 17 %; `masses` of `absorbed_dose` takes the
patient's own. Target layers of walls lie at the depths of ICRP 100, in µm below the lumen's surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, did_you_mean

Phantom = Literal["adult-male", "adult-female"]
PHANTOMS: tuple[Phantom, ...] = ("adult-male", "adult-female")
BLOOD_MASS = {"adult-male": 5600.0, "adult-female": 4100.0}  # g, ICRP 89 as ICRP 133 counts it
ENDOSTEUM_MASS = {"adult-male": 580.0, "adult-female": 432.7}  # g, ICRP 133
_ELSEWHERE = 0.0192  # of all blood, in the tissues that have no share of their own, by mass: ICRP 89


@dataclass(frozen=True)
class PhantomRegion:
    """A region of the reference body, as a source and target of dose.

    `kind`: tissue, wall, contents, mucosa, marrow, bone or blood; `mass` in g, with its blood; `blood` its share of all blood;
    `photons` the voxel phantom's region that stands for it; `parts` how many bodies it is made of; `layer` the depth of its
    target cells, g/cm², None where all of it is the target.
    """

    name: str
    kind: str
    mass: float
    blood: float
    photons: str
    parts: int
    layer: tuple[float, float] | None

    @property
    def wall(self) -> str:
        """The wall that contents or mucosa belong to."""
        return self.name.rsplit("_", 1)[0] + "_wall"


def check_phantom(phantom: str) -> Phantom:
    """The phantom of this name. Raises `BadInput` for another."""
    for known in PHANTOMS:
        if phantom == known:
            return known
    raise BadInput(f"no phantom `{phantom}`", hint=did_you_mean(phantom, PHANTOMS))


@cache
def load_regions(phantom: Phantom) -> dict[str, PhantomRegion]:
    """All regions that this phantom has, by name."""
    sex = check_phantom(phantom).removeprefix("adult-")
    rows = pd.read_csv(Path(__file__).parent / "regions.csv", comment="#")
    blood, mass = rows[f"blood_{sex}"], rows[f"{sex}_g"]
    plain = rows["kind"].isin(["tissue", "wall"]) & blood.isna() & mass.notna()
    share = blood.fillna(0.0).where(~plain, _ELSEWHERE * mass / mass[plain].sum())
    share = share / share.sum()
    regions = {}
    for row, blood_share in zip(rows.to_dict("records"), share, strict=True):
        grams, kind, low, high = (row[k] for k in (f"{sex}_g", "kind", "layer_low_um", "layer_high_um"))
        if np.isnan(grams) and kind not in ("blood", "bone"):
            continue
        blood_share = 0.0 if kind == "mucosa" else float(blood_share)
        total = (0.0 if np.isnan(grams) else grams) + blood_share * BLOOD_MASS[phantom]
        layer = None if np.isnan(low) else (low * 1e-4, high * 1e-4)
        name = str(row["region"])
        regions[name] = PhantomRegion(
            name, str(kind), float(total), blood_share, str(row["photons"]), int(row["parts"]), layer
        )
    return regions
