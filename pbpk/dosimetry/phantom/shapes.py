"""Solids as conditions on points: each maker gives a function of x, y, z (cm, arrays) that says what is inside.

The axes are those of the Oak Ridge phantoms: x to the phantom's left, y to its back, z up from the base of the trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Inside = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def ellipsoid(centre: Sequence[float], axes: Sequence[float]) -> Inside:
    """With half axes along x, y and z."""
    (x0, y0, z0), (a, b, c) = centre, axes
    return lambda x, y, z: ((x - x0) / a) ** 2 + ((y - y0) / b) ** 2 + ((z - z0) / c) ** 2 <= 1


def elliptic_cylinder(centre: Sequence[float], axes: Sequence[float], z: Sequence[float]) -> Inside:
    """Upright, between two heights `z`."""
    (x0, y0), (a, b), (low, high) = centre, axes, z
    return lambda x, y, z: (((x - x0) / a) ** 2 + ((y - y0) / b) ** 2 <= 1) & (z >= low) & (z <= high)


def half_space(by: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Inside:
    """Where `by` is not negative."""
    return lambda x, y, z: by(x, y, z) >= 0


def intersection(*shapes: Inside) -> Inside:
    """What is inside all of them."""

    def inside(x, y, z):
        mask = shapes[0](x, y, z)
        for shape in shapes[1:]:
            mask = mask & shape(x, y, z)
        return mask

    return inside


def union(*shapes: Inside) -> Inside:
    """What is inside any of them."""

    def inside(x, y, z):
        mask = shapes[0](x, y, z)
        for shape in shapes[1:]:
            mask = mask | shape(x, y, z)
        return mask

    return inside


def difference(shape: Inside, hole: Inside) -> Inside:
    """What is inside the shape and not in the hole."""
    return lambda x, y, z: shape(x, y, z) & ~hole(x, y, z)


def mirrored(shape: Inside) -> Inside:
    """On both sides: the shape is declared for the left, x > 0."""
    return lambda x, y, z: shape(np.abs(x), y, z)


def rotated(shape: Inside, origin: Sequence[float], rows: Sequence[Sequence[float]]) -> Inside:
    """A shape declared in its own axes: x' = R (x − origin)."""
    r, (x0, y0, z0) = np.asarray(rows, float), origin

    def inside(x, y, z):
        dx, dy, dz = x - x0, y - y0, z - z0
        return shape(*(r[i, 0] * dx + r[i, 1] * dy + r[i, 2] * dz for i in range(3)))

    return inside
