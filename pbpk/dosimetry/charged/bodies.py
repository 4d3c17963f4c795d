"""How much of its energy a charged particle born in a body leaves in it: straight ways out, residual range on them.

From a point drawn evenly in a convex body, in a direction drawn evenly, the way out is s with density (1 − F(s))/<chord>, F
being the distribution of the body's chords: (3/4R)(1 − (s/2R)²) in a sphere. A body of another shape is taken as the sphere of
its mean chord, 4V/S: exact where the range is short, and within a few per cent for ellipsoids elsewhere (Amato et al. 2014).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.charged.ranges import Particle, load_range_table

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def sphere_radius(mass: Any, density: Any = 1.0) -> Any:
    """Areal radius, g/cm², of a sphere of `mass` g and `density` g/cm³."""
    return (3 * mass / (4 * np.pi * density)) ** (1 / 3) * density


def ellipsoid_radius(mass: Any, axes: Any, density: Any = 1.0) -> Any:
    """Areal radius 3V/S, g/cm², of an ellipsoid with half axes in the ratio `axes`.

    The surface is Thomsen's approximation, within 1 %.
    """
    a, b, c = axes
    stretch = (3 * mass / (4 * np.pi * density * a * b * c)) ** (1 / 3)
    p = 1.6075
    surface = 4 * np.pi * (((a * b) ** p + (a * c) ** p + (b * c) ** p) / 3) ** (1 / p)
    return 4 * np.pi * a * b * c / surface * stretch * density


def absorbed_fraction(energy: Any, radius: Any, particle: Particle, tissue: str = "water") -> Any:
    """Absorbed fraction of particles of `energy` (MeV, any shape) in a sphere of areal `radius` (g/cm²).

    `radius` has the same shape or is a number. Traceable and differentiable in both.
    """
    table = load_range_table(particle, tissue)
    energy, radius = jnp.asarray(energy, float), jnp.asarray(radius, float)
    reach = jnp.minimum(table.reach(energy), 2 * radius)
    # up to where it stops, or the longest way out; beyond, everything has been given
    s = reach[..., None] * (_NODES + 1) / 2
    density = 3 / (4 * radius[..., None]) * (1 - (s / (2 * radius[..., None])) ** 2)
    inside = (table.energy_lost(energy[..., None], s) * density * _WEIGHTS).sum(-1) * reach / 2
    u = reach / (2 * radius)
    beyond = 1 - 1.5 * (u - u**3 / 3)
    return inside / energy + beyond
