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
_LIGHT, _REVIVED = 0.05, 0.25  # weights: below the first a photon plays roulette, and survivors get the second
# Places where a step uses a random number, which is a hash of lane, step and place.
_VOXEL, _OFFSET, _DIRECTION, _PATH, _REAL, _PAIR, _ANGLE, _AZIMUTH, _ROULETTE = 0, 1, 4, 6, 7, 8, 9, 10, 11


class PhotonDeposition(NamedTuple):
    """Absorbed fractions by label (0 is outside) and by group of lanes, (GROUPS, labels): the groups are independent, and
    their spread is the statistical error. `soft` is the same for soft tissue in place of the material."""

    fraction: np.ndarray
    soft: np.ndarray
    histories: int


class TransportGeometry(NamedTuple):
    """A voxel grid and its media on the device, in single precision: `label` of each voxel (flat), `material` by label,
    `shape` of the grid, `origin` and edge `voxel` (cm)."""

    label: Any
    material: Any
    shape: Any
    origin: Any
    voxel: Any
    media: Any


class _Photons(NamedTuple):
    """One photon a lane: place (cm), direction, `energy` (MeV) and statistical `weight`."""

    x: Any
    y: Any
    z: Any
    u: Any
    v: Any
    w: Any
    energy: Any
    weight: Any


class _State(NamedTuple):
    """The loop's state: steps done; by lane, photons to begin and whether one is under way; MeV scored, (GROUPS · labels,)."""

    step: Any
    waiting: Any
    alive: Any
    photons: _Photons
    tally: Any
    soft: Any


class _Collision(NamedTuple):
    """A tentative collision: the flight's energy `cell` and `majorant`; `within` the grid; the place's `label`, `material`."""

    cell: Any
    majorant: Any
    within: Any
    label: Any
    material: Any


def build_geometry(grid: VoxelGrid, media: PhotonMedia | None = None) -> TransportGeometry:
    """A grid as `transport_photons` takes it; `media` are XCOM's unless given. Outside is a vacuum."""
    media = media or build_media()
    material = np.where(grid.material < 0, len(media.total) - 1, grid.material).astype(np.int32)
    return TransportGeometry(
        jnp.asarray(grid.label.ravel()),
        jnp.asarray(material),
        jnp.asarray(grid.label.shape, jnp.int32),
        jnp.asarray(grid.origin, jnp.float32),
        jnp.float32(grid.voxel),
        jax.tree.map(jnp.asarray, media),
    )


def transport_photons(
    geometry: TransportGeometry, voxels: np.ndarray, energy: float, histories: int, seed: int, labels: int
) -> PhotonDeposition:
    """Score photons of `energy` (MeV) from `voxels`, flat places in the grid drawn from with equal chance.

    At least `histories` of them, as many in each lane; `labels` counts the grid's labels, outside included.
    """
    per_lane = -(-histories // LANES)
    with jax.enable_x64(False):
        fraction, soft = _transport(
            geometry, jnp.asarray(voxels, jnp.int32), jnp.float32(energy), jnp.int32(per_lane), jnp.uint32(seed), labels
        )
    scale = energy * per_lane * (LANES // GROUPS)
    return PhotonDeposition(np.asarray(fraction, float) / scale, np.asarray(soft, float) / scale, per_lane * LANES)


def _mix_bits(h):
    """The finaliser of MurmurHash3: random numbers are hashes of lane, step and place of use, and need no state."""
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def _draw_uniform(h, place: int):
    """Between 0 and 1, neither included, for one place of use."""
    bits = _mix_bits(_mix_bits(h + jnp.uint32((place * 0x9E3779B9) & 0xFFFFFFFF)) ^ h)
    return ((bits >> 8).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-24)


def _isotropic_direction(a, b):
    """A direction drawn evenly from the sphere, by two uniform numbers."""
    w, phi = 2 * a - 1, jnp.float32(2 * np.pi) * b
    s = jnp.sqrt(jnp.maximum(1 - w * w, 0))
    return s * jnp.cos(phi), s * jnp.sin(phi), w


@partial(jax.jit, static_argnames="labels")
def _transport(geometry: TransportGeometry, voxels, energy, per_lane, seed, labels: int):
    """Energy scored, (GROUPS, labels) MeV, in the material and in soft tissue in its place."""
    n = LANES
    lane = jnp.arange(n, dtype=jnp.uint32)
    key = _mix_bits(lane * jnp.uint32(0x9E3779B1) + _mix_bits(seed + jnp.uint32(0x51ED270B)))
    group = (jnp.arange(n) // (n // GROUPS)).astype(jnp.int32) * labels

    def step(state: _State) -> _State:
        h = _mix_bits(key ^ _mix_bits(state.step.astype(jnp.uint32) * jnp.uint32(0xC2B2AE3D) + jnp.uint32(0x27D4EB2F)))
        birth = ~state.alive & (state.waiting > 0)
        photons = _begin_photons(state.photons, birth, geometry, voxels, energy, h)
        alive, waiting = state.alive | birth, state.waiting - birth
        photons, collision = _fly(photons, alive, geometry, h)
        expected, in_soft = _expect_deposit(photons, collision, geometry.media)
        photons = _collide(photons, collision, geometry.media, h)
        ends = collision.within & (photons.energy < CUTOFF)
        expected += jnp.where(ends, photons.weight * photons.energy, 0.0)
        in_soft += jnp.where(ends, photons.weight * photons.energy, 0.0)
        photons, lost = _play_roulette(photons, collision.within & ~ends, h)
        place = group + collision.label
        return _State(
            state.step + 1,
            waiting,
            collision.within & ~ends & ~lost,
            photons,
            state.tally.at[place].add(expected),
            state.soft.at[place].add(in_soft),
        )

    zero = jnp.zeros(n, jnp.float32)
    nothing = jnp.zeros(GROUPS * labels)
    start = _State(jnp.int32(0), jnp.full(n, per_lane), jnp.zeros(n, bool), _Photons(*(zero,) * 8), nothing, nothing)
    last = jax.lax.while_loop(lambda s: jnp.any(s.alive) | jnp.any(s.waiting > 0), step, start)
    return last.tally.reshape(GROUPS, labels), last.soft.reshape(GROUPS, labels)


def _begin_photons(photons: _Photons, birth, geometry: TransportGeometry, voxels, energy, h) -> _Photons:
    """New photons in the lanes of `birth`: anywhere within a voxel of the source, in any direction."""
    many = voxels.shape[0]
    voxel = voxels[jnp.minimum((_draw_uniform(h, _VOXEL) * many).astype(jnp.int32), many - 1)]
    iz = voxel % geometry.shape[2]
    iy = (voxel // geometry.shape[2]) % geometry.shape[1]
    ix = voxel // (geometry.shape[2] * geometry.shape[1])
    place = [
        geometry.origin[k] + geometry.voxel * (i.astype(jnp.float32) + _draw_uniform(h, _OFFSET + k))
        for k, i in enumerate((ix, iy, iz))
    ]
    direction = _isotropic_direction(_draw_uniform(h, _DIRECTION), _draw_uniform(h, _DIRECTION + 1))
    return _Photons(*(jnp.where(birth, a, b) for a, b in zip((*place, *direction, energy, 1.0), photons, strict=True)))


def _fly(photons: _Photons, alive, geometry: TransportGeometry, h) -> tuple[_Photons, _Collision]:
    """To the next tentative collision, in a medium as dense as the densest there is."""
    x, y, z, u, v, w, energy, _ = photons
    media = geometry.media
    cell = jnp.clip(energy_cell(energy) + 0.5, 0, media.majorant.shape[0] - 1).astype(jnp.int32)
    majorant = media.majorant[cell]
    path = -jnp.log(_draw_uniform(h, _PATH)) / majorant
    x, y, z = x + u * path, y + v * path, z + w * path
    place = [jnp.floor((a - geometry.origin[k]) / geometry.voxel).astype(jnp.int32) for k, a in enumerate((x, y, z))]
    within = alive
    for k, i in enumerate(place):
        within &= (i >= 0) & (i < geometry.shape[k])
    flat = jnp.where(within, (place[0] * geometry.shape[1] + place[1]) * geometry.shape[2] + place[2], 0)
    label = jnp.where(within, geometry.label[flat].astype(jnp.int32), 0)
    collision = _Collision(cell, majorant, within, label, geometry.material[label])
    return photons._replace(x=x, y=y, z=z), collision


def _expect_deposit(photons: _Photons, at: _Collision, media: PhotonMedia):
    """Energy expected to be left at a tentative collision (MeV), in the material and in soft tissue in its place."""
    flux = jnp.where(at.within, photons.weight * photons.energy / at.majorant, 0.0)
    return flux * media.deposit[at.material, at.cell], flux * media.in_soft[at.material, at.cell]


def _collide(photons: _Photons, at: _Collision, media: PhotonMedia, h) -> _Photons:
    """Scatter or make a pair where the collision is real; absorption lessens the weight."""
    _, _, _, u, v, w, energy, weight = photons
    total = media.total[at.material, at.cell]
    real = at.within & (_draw_uniform(h, _REAL) * at.majorant < total)
    scatter, pair = media.scatter[at.material, at.cell], media.pair[at.material, at.cell]
    survived = weight * scatter / jnp.maximum(total, 1e-30)
    pairs = _draw_uniform(h, _PAIR) * scatter < pair
    row = jnp.clip(angle_row(energy) + 0.5, 0, media.angle.shape[0] - 1).astype(jnp.int32)
    q = _draw_uniform(h, _ANGLE) * (media.angle.shape[1] - 1)
    low = jnp.minimum(q.astype(jnp.int32), media.angle.shape[1] - 2)
    one, two = media.angle[row, low], media.angle[row, low + 1]
    cosine = one + (q - low) * (two - one)
    phi = jnp.float32(2 * np.pi) * _draw_uniform(h, _AZIMUTH)
    turned = _deflect(u, v, w, cosine, phi)
    anew = _isotropic_direction(_draw_uniform(h, _ANGLE), _draw_uniform(h, _AZIMUTH))
    u, v, w = (jnp.where(real, jnp.where(pairs, a, t), old) for a, t, old in zip(anew, turned, (u, v, w), strict=True))
    scattered = energy / (1 + energy / jnp.float32(ELECTRON_MASS) * (1 - cosine))
    energy = jnp.where(real, jnp.where(pairs, jnp.float32(ELECTRON_MASS), scattered), energy)
    weight = jnp.where(real, jnp.where(pairs, 2 * survived, survived), weight)
    return photons._replace(u=u, v=v, w=w, energy=energy, weight=weight)


def _play_roulette(photons: _Photons, going_on, h):
    """Light photons end, or go on with more weight, so that on average nothing changes; also which end."""
    light = going_on & (photons.weight < _LIGHT)
    lost = light & (_draw_uniform(h, _ROULETTE) * _REVIVED > photons.weight)
    return photons._replace(weight=jnp.where(light & ~lost, _REVIVED, photons.weight)), lost


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
