"""From dose to complication and control: EUD and the NTCP of Lyman, Kutcher and Burman; TCP by Poisson counts of survivors.

Doses here are those in which the parameters were found: EQD2 for parameters of fractionated radiotherapy. `volumes` are shares
that add up to 1, along the first axis; other axes (patients) broadcast.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.scipy.special import ndtr


def eud(dose: Any, volumes: Any, n: Any) -> Any:
    """Generalised equivalent uniform dose (Σ v D^(1/n))^n, Gy; n = 1 the mean, n → 0 the maximum (Niemierko 1999).

    `volumes` has the shape of `dose`, or ends in axes of 1.
    """
    dose, volumes = jnp.asarray(dose, float), jnp.asarray(volumes, float)
    top = jnp.maximum(dose.max(0), 1e-300)  # out of the power, which would overflow for a small n
    return top * ((volumes * (dose / top) ** (1 / n)).sum(0)) ** n


def ntcp(eud: Any, td50: Any, m: Any) -> Any:
    """Probability of the complication, Φ((EUD − TD50)/(m TD50)) (Lyman 1985; Kutcher and Burman 1989)."""
    return ndtr((eud - td50) / (m * td50))


def surviving_fraction(bed: Any, alpha: Any) -> Any:
    """Share of clonogens that survive, e^(−α·BED); α 1/Gy."""
    return jnp.exp(-alpha * bed)


def tcp(bed: Any, alpha: Any, clonogens: Any) -> Any:
    """Probability of tumour control e^(−Σ N e^(−α·BED)): no clonogen left.

    `bed` and `clonogens` (voxels, …); BED counts repair and quadratic damage.
    """
    return jnp.exp(-(jnp.asarray(clonogens) * surviving_fraction(jnp.asarray(bed), alpha)).sum(0))
