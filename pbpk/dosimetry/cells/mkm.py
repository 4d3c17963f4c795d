"""The microdosimetric-kinetic model: ln S = −(α₀ + β z*) D − β D², z* the saturation-corrected dose-mean specific energy of a
domain from single hits (Hawkins 1994; Kase 2006; Inaniwa 2010).

Domains are cylinders along the track, radius r_d; the track is that of Kiefer and Chatterjee (Kase 2008): a core of
11.6 nm·β, a penumbra K_p/r² out to 61.6 nm·(MeV/u)^1.7. Unlike the hits of a nucleus this has delta rays in it. Saturation
z' = z0 √(1 − e^(−(z/z0)²)), with z0 = (R_n/r_d)²/√(β(1 + (R_n/r_d)²)).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.charged.ranges import load_range_table
from pbpk.dosimetry.constants import MEV

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.hits import Hits

_NUCLEON, _CHARGE, _MASS = 931.5, 2, 4.0  # MeV; of helium
_ENERGY = np.geomspace(0.02, 9.0, 160)  # MeV of an alpha
_X, _W = np.polynomial.legendre.leggauss(48)
_U, _V = (_X + 1) / 2, _W / 2


class Mkm(NamedTuple):
    """The model's parameters: α₀ 1/Gy and β 1/Gy² at the limit of low LET, radii µm of domain and nucleus."""

    alpha0: Any
    beta: Any
    domain: Any
    nucleus: Any

    @property
    def z0(self) -> Any:
        """The specific energy above which a domain is saturated, Gy."""
        ratio = self.nucleus / self.domain
        return ratio**2 / jnp.sqrt(self.beta * (1 + ratio**2))

    def log_survival(self, dose: Any, z_star: Any) -> Any:
        """ln S at `dose` Gy."""
        return -(self.alpha0 + self.beta * z_star) * dose - self.beta * dose**2

    def rbe_max(self, z_star: Any, alpha_reference: Any) -> Any:
        """RBE at vanishing dose: (α₀ + β z*)/α of the reference radiation."""
        return (self.alpha0 + self.beta * z_star) / alpha_reference


def domain_z_star(energy: Any, domain: Any, z0: Any, let: Any = None) -> jax.Array:
    """z*, Gy, of alphas of `energy` MeV (any shape) in a domain of radius `domain` µm. `let` MeV/cm, from ASTAR if None."""
    energy = jnp.asarray(energy, float)
    let = stopping_power(energy) if let is None else jnp.asarray(let, float)
    return jax.vmap(partial(_z_star, domain=domain, z0=z0))(energy.reshape(-1), let.reshape(-1)).reshape(energy.shape)


def stopping_power(energy: Any) -> Any:
    """MeV/cm in water, the slope of ASTAR's range."""
    table = load_range_table("alpha")
    return 1 / jax.vmap(jax.grad(table.reach))(jnp.asarray(energy, float).reshape(-1)).reshape(jnp.shape(energy))


def _z_star(energy: Any, let: Any, domain: Any, z0: Any) -> Any:
    """z* of one energy (MeV) and LET (MeV/cm): the integral over tracks at all distances from the domain's axis."""
    per_u = energy / _MASS
    velocity = jnp.sqrt(1 - 1 / (1 + per_u / _NUCLEON) ** 2)
    charge = _CHARGE * (1 - jnp.exp(-125 * velocity * _CHARGE ** (-2 / 3)))
    core, penumbra = 11.6e-3 * velocity, 0.0616 * per_u**1.7  # µm
    penumbra = jnp.maximum(penumbra, 1.001 * core)
    k = 1.25e-4 * (charge / velocity) ** 2  # Gy µm²
    line = let * 1e-4 * MEV / 1e-15  # Gy µm²: energy per length over density
    centre = line - 2 * jnp.pi * k * jnp.log(penumbra / core)  # what is left for the core

    def z(b: Any) -> Any:
        """Specific energy of a track that passes the domain's axis at b µm.

        Arcs within the domain, r on a log scale from core to penumbra.
        """
        low = jnp.maximum(core, b - domain)
        high = jnp.maximum(jnp.minimum(penumbra, b + domain), low * (1 + 1e-12))
        within = jnp.clip(domain - b, low, high)  # circles up to here lie within
        inner = 2 * jnp.pi * k * jnp.log(within / low)
        # arcs beyond, with the square roots at both ends taken out
        u, v = (1 - jnp.cos(jnp.pi * _U)) / 2, jnp.pi / 2 * jnp.sin(jnp.pi * _U) * _V
        r = within * (high / within) ** u
        arc = 2 * jnp.arccos(
            jnp.clip((r**2 + b**2 - domain**2) / (2 * r * jnp.maximum(b, 1e-12)), -1 + 1e-15, 1 - 1e-15)
        )
        outer = k * jnp.log(high / within) * (arc * v).sum()
        return (inner + outer + jnp.where(b < domain, centre, 0.0)) / (jnp.pi * domain**2)

    b = jnp.concatenate([domain * (1 - _U**2), domain + penumbra * _U**2])  # towards the rim from both sides
    weight = b * jnp.concatenate([domain * 2 * _U * _V, penumbra * 2 * _U * _V])
    specific = jax.vmap(z)(b)
    saturated = -(z0**2) * jnp.expm1(-((specific / z0) ** 2))
    return (weight * saturated).sum() / (weight * specific).sum()


def z_star(hits: Hits, model: Mkm) -> jax.Array:
    """z*, Gy, of the alphas that give a nucleus its dose: the mean of z*(E) over the energy they lose in it."""
    grid = domain_z_star(_ENERGY, model.domain, model.z0)
    steps = jnp.diff(_ENERGY) * (grid[1:] + grid[:-1]) / 2
    summed = jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)]) + _ENERGY[0] * grid[0]

    def upto(energy: Any) -> Any:
        return jnp.where(energy < _ENERGY[0], energy * grid[0], jnp.interp(energy, _ENERGY, summed))

    lost = hits.frequency * (hits.entry_energy - hits.exit_energy)
    return (hits.frequency * (upto(hits.entry_energy) - upto(hits.exit_energy))).sum() / jnp.maximum(lost.sum(), 1e-300)


def survival(hits: Hits, dose: Any, model: Mkm) -> jax.Array:
    """S of cells with a mean dose `dose`, Gy."""
    return jnp.exp(model.log_survival(dose, z_star(hits, model)))
