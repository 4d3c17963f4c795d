"""Single hits of a spherical nucleus: which tracks cross it, with what energy they enter and leave.

From a decay at distance r, in a direction whose closest approach to the centre is after a way t, the half chord is
h = √(R² − r² + t²), and directions are even in t/r. The track enters after t − h (at once, if born inside) and leaves after
t + h or at its end; z₁ = [E(R₀ − s_in) − E(R₀ − s_out)]/m by the residual range (ASTAR). Quadrature in t, not chance: the same
numbers each time, and derivatives in every length.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.charged.ranges import load_range_table
from pbpk.dosimetry.constants import MEV
from pbpk.dosimetry.progeny import count_in_situ_decays
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide
from pbpk.nuclides.emissions import load_emissions

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.source_distances import SourceDistances

CM = 1e-4  # of a µm; times 1 g/cm³ an areal length
_KG = 1e-15  # of a µm³ of water
_X, _W = np.polynomial.legendre.leggauss(48)
_LEAST = 1e-4  # alphas per decay: rarer lines are left out


class Hits(NamedTuple):
    """Kinds of hit (K,) of a nucleus: `frequency` per unit of the source, energies on entry and on leaving, MeV; `mass` of the
    nucleus, kg.
    """

    frequency: Any
    entry_energy: Any
    exit_energy: Any
    mass: Any

    @property
    def z(self) -> Any:
        """Specific energy of a hit, Gy (K,)."""
        return (self.entry_energy - self.exit_energy) * MEV / self.mass

    @property
    def count(self) -> jax.Array:
        """Hits per unit of the source."""
        return self.frequency.sum()

    @property
    def dose(self) -> jax.Array:
        """S: Gy per unit of the source."""
        return (self.frequency * self.z).sum()

    @property
    def zf(self) -> jax.Array:
        """Mean of z over hits, Gy; 0 without hits."""
        return _divide(self.dose, self.count)

    @property
    def zd(self) -> jax.Array:
        """Mean of z over dose, Gy."""
        return _divide((self.frequency * self.z**2).sum(), self.dose)

    def laplace(self, z0: Any) -> jax.Array:
        """T₁(1/z0), the mean of e^(−z/z0) over hits."""
        return _divide((self.frequency * jnp.exp(-self.z / z0)).sum(), self.count)

    def scaled(self, by: Any) -> Hits:
        """Hits of `by` times the source."""
        return self._replace(frequency=self.frequency * by)


def _divide(part: Any, total: Any) -> Any:
    """A quotient that is 0 where the total is, with finite derivatives."""
    return jnp.where(total > 0, part / jnp.where(total > 0, total, 1.0), 0.0)


def nucleus_mass(radius: Any) -> Any:
    """kg, of water."""
    return 4 / 3 * jnp.pi * radius**3 * _KG


@cache
def list_alphas(nuclide: str) -> tuple[tuple[str, float, float], ...]:
    """The nuclide's alphas: (emitter, MeV, per decay of the nuclide), with daughters that decay where it does.

    Lines under 1e-4 are left out. At-211: 5.87 MeV in 41.8 % of decays, and of Po-211 7.45 MeV in 57.6 %. Raises `BadInput` for
    a nuclide without alphas.
    """
    rows = []
    for name, share in count_in_situ_decays(nuclide).items():
        for energy, often in zip(*load_emissions(name).discrete("alpha"), strict=True):
            if share * often > _LEAST:
                rows.append((name, float(energy), float(share * often)))
    if not rows:
        raise BadInput(f"{nuclide} emits no alphas", hint="cells are for alpha emitters; S of a sphere: sphere_s")
    return tuple(rows)


def alpha_energy(nuclide: str) -> float:
    """MeV per decay in the lines of `alphas`."""
    return sum(e * n for _, e, n in list_alphas(nuclide))


@partial(jax.jit, static_argnames="nuclide")
def compute_hits(
    source: SourceDistances, radius: Any, nuclide: str = "At-211", daughters: SourceDistances | None = None
) -> Hits:
    """Hits of a nucleus of `radius` µm by a source's alphas.

    `daughters`: where its daughters' decays are, if not where its own are (`diffuse`).
    """
    table, parts, parent = load_range_table("alpha"), [], load_nuclide(nuclide).name
    for name, energy, per_decay in list_alphas(nuclide):
        emitter = daughters if daughters is not None and name != parent else source
        tracks = _trace_tracks(emitter, radius)
        reach = table.reach(energy)

        def energy_at(way: Any, reach: Any = reach) -> Any:
            return table.residual_energy(jnp.maximum(reach - way * CM, 0.0))

        enter, leave = energy_at(tracks.enter), energy_at(tracks.leave)
        frequency = jnp.where(enter > 0, tracks.weight * per_decay, 0.0)
        parts.append((frequency.reshape(-1), enter.reshape(-1), leave.reshape(-1)))
    frequency, enter, leave = (jnp.concatenate(x) for x in zip(*parts, strict=True))
    return Hits(frequency, enter, leave, nucleus_mass(radius))


class _Tracks(NamedTuple):
    """Straight tracks through a nucleus, (sources, directions): decays by `weight`, ways (µm) from birth to where a track
    enters and leaves."""

    weight: Any
    enter: Any
    leave: Any


def _trace_tracks(source: SourceDistances, radius: Any) -> _Tracks:
    """All tracks of a source that cross a nucleus of `radius` µm, by quadrature over directions."""
    r, weight = jnp.asarray(source.distance, float)[:, None], jnp.asarray(source.weight)[:, None]
    outside = r > radius
    graze = jnp.sqrt(jnp.where(outside, r**2 - radius**2, 0.0))
    u = (_X + 1) / 2
    # from a graze inwards, as u² since h is a square root there; inside, both ways from −r to r
    t = jnp.where(outside, graze + (r - graze) * u**2, r * _X)
    share = jnp.where(outside, (r - graze) * 2 * u * _W / 2 / (2 * jnp.maximum(r, 1e-12)), _W / 2)
    under = radius**2 - r**2 + t**2
    h = jnp.sqrt(jnp.maximum(under, 1e-18))
    enter = jnp.where(outside, jnp.maximum(t - h, 0.0), 0.0)
    return _Tracks(weight * share, enter, t + h)
