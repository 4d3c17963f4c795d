"""A phantom as labelled voxels, which is what photons are carried through.

The female is the adult in the proportions of the report's 15-year-old, which it gives for the adult female: trunk, head
and legs are scaled each by its own factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pbpk.dosimetry.phantom import adult

DENSITY = {"soft": 1.04, "bone": 1.4, "lung": 0.296}  # g/cm³, ORNL/TM-8381
MATERIALS = tuple(DENSITY)
_FEMALE = {"trunk": (17.25, 9.80, 63.1), "head": (7.77, 9.76, 16.50), "legs": 78.0}  # cm, ORNL/TM-8381, age 15


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """A phantom of labelled voxels.

    `label` (x, y, z): 0 outside, else 1 + the place of the region in `names`; `material` by label, −1 outside; `origin` and
    edge `voxel`, cm.
    """

    names: tuple[str, ...]
    material: np.ndarray
    label: np.ndarray
    origin: np.ndarray
    voxel: float

    def mass(self) -> np.ndarray:
        """Mass of each region, (regions,) g."""
        count = np.bincount(self.label.ravel(), minlength=len(self.names) + 1)[1:]
        density = np.array([DENSITY[MATERIALS[m]] for m in self.material[1:]])
        return count * self.voxel**3 * density


def build_grid(phantom: str, voxel: float = 0.2, as_reported: bool = False) -> VoxelGrid:
    """Label voxels of edge `voxel` (cm) by what is at their centre; `as_reported` without what we changed."""
    rows = adult.list_solids(as_reported)
    low, high = np.array([-20.4, -14.0, -82.0]), np.array([20.4, 10.4, 94.6])
    count = np.ceil((high - low) / voxel).astype(int)
    x, y, z = (low[i] + voxel * (np.arange(count[i]) + 0.5) for i in range(3))
    label = np.zeros(count, np.uint8)
    plane_x, plane_y = np.meshgrid(x, y, indexing="ij")
    for start in range(0, count[2], 32):  # in slabs, to bound memory
        heights = z[start : start + 32]
        shape = (*plane_x.shape, len(heights))
        px, py = (np.broadcast_to(a[..., None], shape) for a in (plane_x, plane_y))
        at = _map_to_adult(phantom, px, py, np.broadcast_to(heights, shape))
        part, free = label[:, :, start : start + 32], np.ones(shape, bool)
        for i, (_, _, inside) in enumerate(rows):
            hit = free & inside(*at)
            part[hit] = i + 1
            free &= ~hit
    material = np.array([-1, *(MATERIALS.index(m) for _, m, _ in rows)], np.int8)
    return VoxelGrid(tuple(name for name, _, _ in rows), material, label, low, voxel)


def _map_to_adult(phantom: str, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where a point of the phantom lies in the adult male, whose equations are declared."""
    if phantom == "adult-male":
        return x, y, z
    (a, b, c), (ah, bh, ch), legs = _FEMALE["trunk"], _FEMALE["head"], _FEMALE["legs"]
    trunk, head = adult.TRUNK, adult.HEAD
    above, below = z > c, z < 0
    fx = np.where(above, head[0] / ah, trunk[0] / a)
    fy = np.where(above, head[1] / bh, np.where(below, trunk[0] / a, trunk[1] / b))
    up = np.where(above, trunk[2] + (z - c) * head[2] / ch, np.where(below, z * adult.LEGS / legs, z * trunk[2] / c))
    return x * fx, y * fy, up
