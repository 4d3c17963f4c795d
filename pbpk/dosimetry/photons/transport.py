"""Photons through a voxel phantom: Monte Carlo by Woodcock's tracking, every lane of a vector one photon.

A photon flies to its next tentative collision in a medium as dense as the densest there is; the collision is real with the
probability Σ/Σ_max of the place (Woodcock et al. 1965). Scored is what is expected, not what happens: at every tentative
collision, real or not, weight · E · (energy left per cm)/Σ_max. Absorption lessens the weight instead of ending the history;
light photons play Russian roulette. Interactions: Compton by Klein and Nishina with XCOM's cross-section, photoelectric,
pair production as one annihilation photon of twice the weight. Coherent scattering, fluorescence, bremsstrahlung and the
paths of electrons are left out: what an electron gets stays where it is set free.

A lane whose photon has ended begins the next, so that none idles.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.photons.media import ELECTRON_MASS, PhotonMedia, angle_row, build_media, energy_cell

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.grid import VoxelGrid

LANES, GROUPS = 16384, 16
CUTOFF = 2e-3  # MeV; below, all energy stays
_LIGHT, _REVIVED = 0.05, 0.25


class PhotonDeposition(NamedTuple):
    """Absorbed fractions by label (0 is outside) and by group of lanes, (GROUPS, labels): the groups are independent, and
    their spread is the statistical error. `soft` is the same for soft tissue in place of the material."""

    fraction: np.ndarray
    soft: np.ndarray
    histories: int


class TransportGeometry(NamedTuple):
    label: Any
    material: Any
    shape: Any
    origin: Any
    voxel: Any
    media: Any


def build_geometry(grid: VoxelGrid, media: PhotonMedia | None = None) -> TransportGeometry:
    material = np.where(grid.material < 0, len((media or build_media()).total) - 1, grid.material).astype(np.int32)
    return TransportGeometry(
        jnp.asarray(grid.label.ravel()),
        jnp.asarray(material),
        jnp.asarray(grid.label.shape, jnp.int32),
        jnp.asarray(grid.origin, jnp.float32),
        jnp.float32(grid.voxel),
        jax.tree.map(jnp.asarray, media or build_media()),
    )


def transport_photons(
    world: TransportGeometry, voxels: np.ndarray, energy: float, histories: int, seed: int, labels: int
) -> PhotonDeposition:
    """Photons of `energy` (MeV) from `voxels`, flat places in the grid drawn from with equal chance."""
    each = -(-histories // LANES)
    with jax.enable_x64(False):
        fraction, soft = _transport(
            world, jnp.asarray(voxels, jnp.int32), jnp.float32(energy), jnp.int32(each), jnp.uint32(seed), labels
        )
    scale = energy * each * (LANES // GROUPS)
    return PhotonDeposition(np.asarray(fraction, float) / scale, np.asarray(soft, float) / scale, each * LANES)


def _mix_bits(h):
    """The finaliser of MurmurHash3: random numbers are hashes of lane, step and place of use, and need no state."""
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def _draw_uniform(h, use: int):
    bits = _mix_bits(_mix_bits(h + jnp.uint32((use * 0x9E3779B9) & 0xFFFFFFFF)) ^ h)
    return ((bits >> 8).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-24)


def _isotropic_direction(a, b):
    w, phi = 2 * a - 1, jnp.float32(2 * np.pi) * b
    s = jnp.sqrt(jnp.maximum(1 - w * w, 0))
    return s * jnp.cos(phi), s * jnp.sin(phi), w


@partial(jax.jit, static_argnames="labels")
def _transport(world: TransportGeometry, voxels, energy, each, seed, labels: int):
    media, n = world.media, LANES
    lane = jnp.arange(n, dtype=jnp.uint32)
    key = _mix_bits(lane * jnp.uint32(0x9E3779B1) + _mix_bits(seed + jnp.uint32(0x51ED270B)))
    group = (jnp.arange(n) // (n // GROUPS)).astype(jnp.int32) * labels
    many = voxels.shape[0]

    def born(h):
        voxel = voxels[jnp.minimum((_draw_uniform(h, 0) * many).astype(jnp.int32), many - 1)]
        iz = voxel % world.shape[2]
        iy = (voxel // world.shape[2]) % world.shape[1]
        ix = voxel // (world.shape[2] * world.shape[1])
        at = [
            world.origin[k] + world.voxel * (i.astype(jnp.float32) + _draw_uniform(h, 1 + k))
            for k, i in enumerate((ix, iy, iz))
        ]
        return (*at, *_isotropic_direction(_draw_uniform(h, 4), _draw_uniform(h, 5)))

    def step(state):
        count, left, alive, x, y, z, u, v, w, e, weight, tally, soft = state
        h = _mix_bits(key ^ _mix_bits(count.astype(jnp.uint32) * jnp.uint32(0xC2B2AE3D) + jnp.uint32(0x27D4EB2F)))
        birth = ~alive & (left > 0)
        fresh = born(h)
        x, y, z, u, v, w = (jnp.where(birth, a, b) for a, b in zip(fresh, (x, y, z, u, v, w), strict=True))
        e, weight = jnp.where(birth, energy, e), jnp.where(birth, 1.0, weight)
        alive, left = alive | birth, left - birth

        c = jnp.clip(energy_cell(e) + 0.5, 0, media.majorant.shape[0] - 1).astype(jnp.int32)
        most = media.majorant[c]
        path = -jnp.log(_draw_uniform(h, 6)) / most
        x, y, z = x + u * path, y + v * path, z + w * path
        place = [jnp.floor((a - world.origin[k]) / world.voxel).astype(jnp.int32) for k, a in enumerate((x, y, z))]
        within = alive
        for k, i in enumerate(place):
            within &= (i >= 0) & (i < world.shape[k])
        flat = jnp.where(within, (place[0] * world.shape[1] + place[1]) * world.shape[2] + place[2], 0)
        here = jnp.where(within, world.label[flat].astype(jnp.int32), 0)
        m = world.material[here]

        base = jnp.where(within, weight * e / most, 0.0)
        expected, in_soft = base * media.deposit[m, c], base * media.in_soft[m, c]

        real = within & (_draw_uniform(h, 7) * most < media.total[m, c])
        scatter, pair = media.scatter[m, c], media.pair[m, c]
        new_weight = weight * scatter / jnp.maximum(media.total[m, c], 1e-30)
        pairs = _draw_uniform(h, 8) * scatter < pair
        row = jnp.clip(angle_row(e) + 0.5, 0, media.angle.shape[0] - 1).astype(jnp.int32)
        q = _draw_uniform(h, 9) * (media.angle.shape[1] - 1)
        low = jnp.minimum(q.astype(jnp.int32), media.angle.shape[1] - 2)
        one, two = media.angle[row, low], media.angle[row, low + 1]
        cosine = one + (q - low) * (two - one)
        phi = jnp.float32(2 * np.pi) * _draw_uniform(h, 10)
        turned = _deflect(u, v, w, cosine, phi)
        anew = _isotropic_direction(_draw_uniform(h, 9), _draw_uniform(h, 10))
        u, v, w = (
            jnp.where(real, jnp.where(pairs, a, t), old) for a, t, old in zip(anew, turned, (u, v, w), strict=True)
        )
        scattered = e / (1 + e / jnp.float32(ELECTRON_MASS) * (1 - cosine))
        e = jnp.where(real, jnp.where(pairs, jnp.float32(ELECTRON_MASS), scattered), e)
        weight = jnp.where(real, jnp.where(pairs, 2 * new_weight, new_weight), weight)

        ends = within & (e < CUTOFF)
        expected += jnp.where(ends, weight * e, 0.0)
        in_soft += jnp.where(ends, weight * e, 0.0)
        light = within & ~ends & (weight < _LIGHT)
        lost = light & (_draw_uniform(h, 11) * _REVIVED > weight)
        weight = jnp.where(light & ~lost, _REVIVED, weight)
        alive = within & ~ends & ~lost

        tally = tally.at[group + here].add(expected)
        soft = soft.at[group + here].add(in_soft)
        return count + 1, left, alive, x, y, z, u, v, w, e, weight, tally, soft

    zero = jnp.zeros(n, jnp.float32)
    start = (
        jnp.int32(0),
        jnp.full(n, each),
        jnp.zeros(n, bool),
        *(zero,) * 7,
        zero,
        *(jnp.zeros(GROUPS * labels),) * 2,
    )
    last = jax.lax.while_loop(lambda s: jnp.any(s[2]) | jnp.any(s[1] > 0), step, start)
    return last[-2].reshape(GROUPS, labels), last[-1].reshape(GROUPS, labels)


def _deflect(u, v, w, cosine, phi):
    """The direction turned by the angle whose cosine is given, at the azimuth φ."""
    sine = jnp.sqrt(jnp.maximum(1 - cosine * cosine, 0))
    flat = jnp.sqrt(jnp.maximum(1 - w * w, 1e-12))
    a, b = sine * jnp.cos(phi), sine * jnp.sin(phi)
    return (
        u * cosine + (a * u * w - b * v) / flat,
        v * cosine + (a * v * w + b * u) / flat,
        w * cosine - a * flat,
    )
