"""Clusters of cells that differ in uptake: what each gets from itself and from all within reach of an alpha.

Cells sit on a face-centred cubic lattice: every other point of a cubic grid. What a decay in one gives to the nucleus of
another depends on their distance alone, so the doses of all are one convolution by FFT, linear in uptake and differentiable. A
single-hit survival adds up the same way, for hits are Poisson: −ln S is a sum over decays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.cells.cell import CellPart, cell_hits
from pbpk.dosimetry.cells.hits import Hits, alpha_energy, compute_hits, list_alphas
from pbpk.dosimetry.cells.source_distances import SourceDistances, ball_share, region_distances, surface
from pbpk.dosimetry.charged.ranges import load_range_table
from pbpk.dosimetry.constants import MEV
from pbpk.errors import BadInput


class ClusterContributions(NamedTuple):
    """What each cell's nucleus gets, (cells,): doses (Gy) or hits, from the decays in itself and in all other cells."""

    from_itself: jax.Array
    from_others: jax.Array

    @property
    def total(self) -> jax.Array:
        """The sum over all cells."""
        return self.from_itself + self.from_others


@dataclass(frozen=True, eq=False)
class CellCluster:
    """A spherical cluster of cells on a lattice.

    `radius` µm; `sites` (cells, 3) on a grid of `step` µm; `self_hits` of a nucleus by a decay in its own cell, `cross_hits` by
    one at each of `distances` grid² (K,).
    """

    radius: float
    step: float
    sites: np.ndarray
    self_hits: Hits
    distances: np.ndarray
    cross_hits: Hits
    nuclide: str

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.sites)

    def bulk_dose(self, decays: Any) -> Any:
        """What an endless cluster gets, E·Ã/m, Gy: all alpha energy of `decays` per cell in the mass per cell."""
        return decays * alpha_energy(self.nuclide) * MEV / (2 * self.step**3 * 1e-15)

    def dose(self, decays: Any) -> ClusterContributions:
        """Mean dose of each nucleus, Gy, for `decays` (cells,)."""
        return self._convolve(decays, self.self_hits.dose, (self.cross_hits.frequency * self.cross_hits.z).sum(-1))

    def hits(self, decays: Any) -> ClusterContributions:
        """Mean hits of each nucleus."""
        return self._convolve(decays, self.self_hits.count, self.cross_hits.frequency.sum(-1))

    def survival(self, decays: Any, z0: Any) -> jax.Array:
        """Survival of each cell, (cells,), where a hit kills with 1 − e^(−z/z0)."""
        kill = (self.cross_hits.frequency * -jnp.expm1(-self.cross_hits.z / z0)).sum(-1)
        self_kill = (self.self_hits.frequency * -jnp.expm1(-self.self_hits.z / z0)).sum()
        return jnp.exp(-self._convolve(decays, self_kill, kill).total)

    def tcp(self, decays: Any, z0: Any) -> jax.Array:
        """Probability that no cell survives, Π(1 − S)."""
        return jnp.exp(jnp.log1p(-jnp.minimum(self.survival(decays, z0), 1 - 1e-16)).sum())

    def _convolve(self, decays: Any, by_itself: Any, by_distance: Any) -> ClusterContributions:
        """Contributions of `decays` (cells,), by one convolution of the grid with what a decay does by distance."""
        reach = math.isqrt(int(self.distances[-1]))
        lowest = self.sites.min(0)
        size = tuple(int(n) + 2 * reach + 1 for n in np.ptp(self.sites, axis=0))
        site_index = tuple((self.sites - lowest).T)
        axis = [np.minimum(np.arange(n), n - np.arange(n)) for n in size]
        square = axis[0][:, None, None] ** 2 + axis[1][None, :, None] ** 2 + axis[2][None, None] ** 2
        place = np.searchsorted(self.distances, square)
        present = (place < len(self.distances)) & (self.distances[np.minimum(place, len(self.distances) - 1)] == square)
        kernel = jnp.where(present, by_distance[np.minimum(place, len(self.distances) - 1)], 0.0)
        grid = jnp.zeros(size).at[site_index].set(decays)
        cross = jnp.fft.irfftn(jnp.fft.rfftn(grid) * jnp.fft.rfftn(kernel), size)[site_index]
        return ClusterContributions(decays * by_itself, jnp.maximum(cross, 0.0))


def build_cluster(
    radius: float,
    cell: float = 7.0,
    nucleus: float = 5.0,
    part: CellPart = "cell",
    packing: float = 1.0,
    nuclide: str = "At-211",
) -> CellCluster:
    """Build a spherical cluster of cells (µm), decays in `part` of each.

    `packing` is the share of the volume that is cells: 1 in solid tumour, where cells are not round and fill all; at most 0.74
    if they are round. Raises `BadInput` for sizes that cannot be, and decays outside the cells.
    """
    if part == "medium" or not 0 < packing <= 1 or not 0 < nucleus <= cell or radius < cell:
        what = f"a cluster of radius {radius:g} with cells {cell:g}/{nucleus:g} µm, packing {packing:g}, source {part}"
        raise BadInput(what, hint="0 < nucleus ≤ cell ≤ radius in µm, 0 < packing ≤ 1, a source within the cell")
    step = (4 / 3 * math.pi * cell**3 / packing / 2) ** (1 / 3)
    half = int(radius / step)
    i = np.arange(-half, half + 1)
    grid = np.stack(np.meshgrid(i, i, i, indexing="ij"), -1).reshape(-1, 3)
    sites = grid[(grid.sum(1) % 2 == 0) & ((grid**2).sum(1) * step**2 <= radius**2)]
    reach = max(float(load_range_table("alpha").reach(e)) for _, e, _ in list_alphas(nuclide)) * 1e4 + nucleus + cell
    farthest = int(reach / step) + 1
    j = np.arange(farthest + 1) ** 2
    squares = np.unique(j[:, None, None] + j[None, :, None] + j[None, None])
    # sites have an even x + y + z, and so an even x² + y² + z²
    squares = squares[(squares > 0) & (squares % 2 == 0) & (squares <= farthest**2)]
    pairs = jax.lax.map(
        lambda d: compute_hits(_neighbour_source(part, cell, nucleus, d), nucleus, nuclide),
        step * jnp.sqrt(squares.astype(float)),
        batch_size=32,
    )
    self_hits = cell_hits(part, cell, nucleus, nuclide)
    return CellCluster(radius, step, sites, self_hits, squares, pairs._replace(mass=self_hits.mass), nuclide)


def _neighbour_source(part: CellPart, cell: Any, nucleus: Any, away: Any) -> SourceDistances:
    """The decays in a cell whose centre is `away` µm; per decay."""
    volume = 4 / 3 * jnp.pi

    def ball(radius: Any) -> SourceDistances:
        return region_distances(
            lambda r: ball_share(r, radius, away), (jnp.abs(radius - away), radius + away), nucleus, panels=1
        )

    if part == "surface":
        return surface(cell, away)
    if part == "cytoplasm":
        outer, inner = ball(cell), ball(nucleus).scaled(-1.0)
        both = SourceDistances(*(jnp.concatenate([x, y]) for x, y in zip(outer, inner, strict=True)))
        return both.scaled(1 / (volume * (cell**3 - nucleus**3)))
    radius = nucleus if part == "nucleus" else cell
    return ball(radius).scaled(1 / (volume * radius**3))


def lognormal_uptake(key: jax.Array, cells: int, mean: Any, spread: Any, labelled: Any = 1.0) -> jax.Array:
    """Decays by cell, (cells,), with that mean over all, a geometric SD `spread` ≥ 1, and a share `labelled` that has any
    (Neti and Howell 2006; Howell 2011)."""
    one, two = jax.random.split(key)
    sigma = jnp.log(spread)
    drawn = jnp.exp(sigma * jax.random.normal(one, (cells,)) - sigma**2 / 2)
    return mean / labelled * jnp.where(jax.random.uniform(two, (cells,)) < labelled, drawn, 0.0)
