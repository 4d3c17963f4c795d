"""How much of the damage that needs two hits is repaired while the dose is still being given: the Lea–Catcheside factor.

G = 2/D² ∫ R(t) ∫_{w<t} R(w) e^(−μ(t−w)) dw dt, with μ = ln 2/T_rep. 1 for a flash, 0 for an endless course. Of a dose rate
R = Σ a_i e^(−λ_i t) it is (2/D²) Σ_ij a_i a_j / ((λ_i + λ_j)(μ + λ_i)) (Lea and Catcheside 1942; Dale 1985; Baechler 2008).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Exponentials(NamedTuple):
    """A course of dose rate R(t) = Σ amplitude·e^(−rate·t), Gy/h.

    Amplitudes (K, …) Gy/h, of either sign; rates (K, …) 1/h, above 0.
    """

    amplitude: Any
    rate: Any

    def dose(self) -> jax.Array:
        """The dose to infinity, Gy."""
        return (self.amplitude / self.rate).sum(0)

    def scaled(self, by: Any) -> Exponentials:
        """The course with `by` times the dose rate."""
        return Exponentials(self.amplitude * by, self.rate)

    def protraction(self, t_repair: Any) -> jax.Array:
        """G for a half-time of repair `t_repair`, h."""
        return self.pairs(t_repair) / self.dose() ** 2

    def pairs(self, t_repair: Any) -> jax.Array:
        """G·D², Gy²: damage that meets damage not yet repaired, for a half-time of repair `t_repair`, h."""
        a, rate, mu = jnp.asarray(self.amplitude), jnp.asarray(self.rate), math.log(2) / t_repair
        both = a[:, None] * a[None] / ((rate[:, None] + rate[None]) * (mu + rate[:, None]))
        return 2 * both.sum((0, 1))


def washout(dose: Any, t_effective: Any) -> Exponentials:
    """The course of what is at once in place and then cleared with the effective half-time (h); the whole `dose` in Gy."""
    rate = jnp.log(2) / jnp.asarray(t_effective, float)
    return Exponentials((dose * rate)[None], rate[None])


def uptake_and_washout(dose: Any, t_effective: Any, t_uptake: Any) -> Exponentials:
    """The course R ∝ e^(−λt) − e^(−kt) with the whole `dose` in Gy.

    Half-times in h, not equal; `t_uptake` is that of the term that is subtracted.
    """
    out, into = (jnp.log(2) / jnp.asarray(x, float) for x in (t_effective, t_uptake))
    height = dose / (1 / out - 1 / into)
    return Exponentials(jnp.stack([height, -height]), jnp.stack(jnp.broadcast_arrays(out, into)))
