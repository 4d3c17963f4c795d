"""Makes sphere_photons.csv: absorbed fractions of photons in isolated spheres of soft tissue, by our own Monte Carlo.

    python -m pbpk.dosimetry.tables.make_spheres

Spheres of areal radius 0.05 to 12.8 g/cm² (0.5 mg to 8 kg), 15 energies, 2·10⁵ histories each: below 1 % where the fraction is
above 0.01. In an isolated sphere the fraction depends on the areal radius alone, so it holds for any density.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import pbpk  # noqa: F401
from pbpk.dosimetry.phantom.grid import DENSITY, VoxelGrid
from pbpk.dosimetry.photons.transport import build_geometry, transport_photons

RADII = tuple(0.05 * 2.0**k for k in range(9))
ENERGIES = (0.005, 0.010, 0.015, 0.020, 0.030, 0.040, 0.060, 0.100, 0.200, 0.350, 0.500, 1.000, 1.500, 2.000, 4.000)


def ball(radius: float, across: int = 72) -> VoxelGrid:
    """A ball of soft tissue of areal `radius` (g/cm²), in a cube of so many voxels, with a margin of vacuum."""
    voxel = 2 * radius / DENSITY["soft"] / (across - 2)
    at = (np.arange(across) + 0.5 - across / 2) * voxel
    square = at[:, None, None] ** 2 + at[:, None] ** 2 + at**2
    label = (square <= (radius / DENSITY["soft"]) ** 2).astype(np.uint8)
    return VoxelGrid(("sphere",), np.array([-1, 0], np.int8), label, np.full(3, -across / 2 * voxel), voxel)


def main() -> None:
    """Run the Monte Carlo of all spheres and energies, and write the table beside this file."""
    rows = []
    for k, radius in enumerate(RADII):
        grid = ball(radius)
        place, inside = build_geometry(grid), np.flatnonzero(grid.label.ravel())
        for i, energy in enumerate(ENERGIES):
            fraction = transport_photons(place, inside, energy, 200_000, 100 * k + i, 2).fraction[:, 1]
            rows.append(
                (radius, energy, fraction.mean(), fraction.std(ddof=1) / len(fraction) ** 0.5 / fraction.mean())
            )
    table = pd.DataFrame(rows, columns=["radius_g_cm2", "MeV", "absorbed_fraction", "relative_error"])
    table.to_csv(Path(__file__).parent / "sphere_photons.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
