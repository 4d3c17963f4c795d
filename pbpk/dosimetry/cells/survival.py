"""Which cells survive: one hit at a time, linear-quadratic in the specific energy, and what mean-dose formulas say instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk.dosimetry.cells.spectrum import compute_spectrum, mean_hits

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.hits import Hits


def single_hit(hits: Hits, dose: Any, z0: Any) -> jax.Array:
    """S = exp(−n̄ (1 − T₁(1/z0))), each hit killing with 1 − e^(−z/z0) (Stinchcomb and Roeske 1992, Med Phys 19:1385)."""
    return jnp.exp(-mean_hits(hits, dose) * (1 - hits.laplace(z0)))


def lq(hits: Hits, dose: Any, alpha: Any, beta: Any) -> jax.Array:
    """S = ∫ f(z; D) e^(−αz − βz²) dz: α 1/Gy and β 1/Gy² are the cell's own, of its specific energy; `dose` a number."""
    spectrum = compute_spectrum(hits, dose, damp=alpha)
    return spectrum.expectation(jnp.exp(-beta * spectrum.z**2))


def mean_dose(dose: Any, alpha: Any, beta: Any, rbe: Any = 1.0) -> jax.Array:
    """The beta formalism: every cell gets the mean, S = exp(−RBE·αD − βD²)."""
    return jnp.exp(-rbe * alpha * dose - beta * dose**2)
