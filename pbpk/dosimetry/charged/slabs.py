"""Charged particles from what fills an organ to layers of its wall, and from layer to layer: flat, straight ways.

From a half-space filled evenly, the dose at depth x beyond its surface, relative to that deep inside, is φ(x) = 1/2E ∫ₓ
(1 − x/r) (−dE/dr) dr over the way r from birth, up to the range: 1/2 at the surface, 0 beyond the range. A layer of
source is the difference of two half-spaces. So an alpha of 211At in urine reaches 48 µm, its daughter's 70 µm, and no
further.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.charged.ranges import Particle, load_range_table

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def half_space_dose(energy: Any, depth: Any, particle: Particle, tissue: str = "water") -> Any:
    """φ at `depth` (areal, g/cm²) beyond a filled half-space, of particles of `energy` (MeV); shapes broadcast.

    By parts, and with u = x/r the cosine at which a track that far long still reaches: φ = 1/2E ∫ E_left(x/u) du, u from x/R
    to 1, which has no pole at the end of the range.
    """
    table = load_range_table(particle, tissue)
    energy, depth = jnp.broadcast_arrays(jnp.asarray(energy, float), jnp.asarray(depth, float))
    reach = table.reach(energy)
    x = jnp.clip(depth, 0.0, reach)
    first = x / reach
    u = first[..., None] + (1 - first)[..., None] * (_NODES + 1) / 2
    residual = table.residual_energy(jnp.maximum(reach[..., None] - x[..., None] / u, 0.0))
    return (residual * _WEIGHTS).sum(-1) * (1 - first) / 2 / (2 * energy)


def dose_from_contents(energy: Any, layer: tuple[float, float], particle: Particle, tissue: str = "water") -> Any:
    """Mean φ over a target layer between two depths (areal, g/cm²) beyond filled contents."""
    low, high = layer
    depth = low + (high - low) * (_NODES + 1) / 2
    phi = half_space_dose(jnp.asarray(energy, float)[..., None], depth, particle, tissue)
    return (phi * _WEIGHTS).sum(-1) / 2


def dose_from_layer(
    energy: Any, source: tuple[float, float], layer: tuple[float, float], particle: Particle, tissue: str = "water"
) -> Any:
    """Mean dose over the target `layer`, relative to that deep in an endless source, from a source layer of the same wall.

    Both between two depths (areal, g/cm²); they may overlap.
    """
    low, high = layer
    depth = low + (high - low) * (_NODES + 1) / 2
    e = jnp.asarray(energy, float)[..., None]

    def beyond(edge: float, sign: int) -> Any:
        """From the half-space on one side of `edge`: φ where the target is outside it, 1 − φ inside."""
        away = sign * (depth - edge)
        phi = half_space_dose(e, jnp.abs(away), particle, tissue)
        return jnp.where(away > 0, phi, 1 - phi)

    # everything, less what is above the source, less what is below it
    share = 1 - beyond(source[0], 1) - beyond(source[1], -1)
    return (share * _WEIGHTS).sum(-1) / 2
