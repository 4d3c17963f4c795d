"""Several administrations: doses add, and damage left from one meets the next, exactly, for sums of exponentials.

For R_i = a e^(−λ_i t) from 0 and R_j = b e^(−λ_j (t−Δ)) from Δ on, the pair's part of ∬ R R e^(−μ|t−w|) is closed: what was
given before Δ, left over and repairing, times what is given after; and e^(−λ_i Δ) times the same pair with Δ = 0.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from pbpk.dosimetry.effect.phi_functions import phi
from pbpk.dosimetry.effect.protraction import Exponentials


def cycles_bed(
    cycles: Exponentials, starts: Any, alpha_beta: Any, t_repair: Any, recovered: Any = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Dose and BED, Gy, of cycles with amplitudes and rates (C, K, …), begun at `starts` (C,) h, rising.

    `recovered`, 0 to 1, is the share of the BED of each cycle that is as good as forgotten by the start of the next: slow
    recovery and repopulation, for which there are no data with alphas. It is assumed by whoever sets it; 0 is the safe side.
    Damage of one cycle that meets the next belongs to the later one.
    """
    a, rate, mu = jnp.asarray(cycles.amplitude), jnp.asarray(cycles.rate), math.log(2) / jnp.asarray(t_repair, float)
    starts = jnp.asarray(starts, float)
    count = a.shape[0]
    dose, total = jnp.zeros(()), jnp.zeros(())
    for later in range(count):
        dose = dose + (a[later] / rate[later]).sum(0)
        added = (a[later] / rate[later]).sum(0) + Exponentials(a[later], rate[later]).pairs(t_repair) / alpha_beta
        for earlier in range(later):
            gap = starts[later] - starts[earlier]
            added = added + 2 * _meet(a[earlier], rate[earlier], a[later], rate[later], gap, mu) / alpha_beta
        total = total * (1 - recovered) + added
    return dose, total


def _meet(a: Any, rate: Any, b: Any, later: Any, gap: Any, mu: Any) -> Any:
    """∬ R_a R_b e^(−μ|t−w|), Gy², summed over the terms of both (K, …)."""
    i, j = rate[:, None], later[None]
    # given before the later one begins; by the slower of the two, as the other way about overflows
    unrepaired = gap * jnp.exp(-jnp.minimum(mu, i) * gap) * phi(1, -jnp.abs(mu - i) * gap) / (j + mu)
    tails = jnp.exp(-i * gap) / (i + j) * (1 / (j + mu) + 1 / (i + mu))
    return (a[:, None] * b[None] * (unrepaired + tails)).sum((0, 1))


def repeated(course: Exponentials, scale: Any) -> Exponentials:
    """The same course once for each cycle, with that cycle's activity: `scale` (C,) or (C, patients)."""
    course_amplitude, scale = jnp.asarray(course.amplitude, float), jnp.asarray(scale, float)
    scale = scale.reshape(len(scale), *[1] * course_amplitude.ndim) if scale.ndim == 1 else scale[:, None]
    amplitude = scale * (
        course_amplitude[None] if course_amplitude.ndim >= scale.ndim - 1 else course_amplitude[None, :, None]
    )
    rate = jnp.asarray(course.rate, float)
    rate = rate[None] if rate.ndim >= amplitude.ndim - 1 else rate[None, :, None]
    return Exponentials(amplitude, jnp.broadcast_to(rate, amplitude.shape))
