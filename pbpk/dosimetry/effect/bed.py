"""Biologically effective dose, the dose in 2-Gy fractions that does as much, and both for fields of alphas and low LET.

BED = D (1 + G D/(α/β)); EQD2 = BED/(1 + 2/(α/β)) (Barendsen 1982; Dale 1985). Alphas count in the linear term by RBE_max, the
ratio of α's: BED = RBE_max D_α + D_low + G D²/(α/β) (Dale and Jones 1999; Hobbs 2012). In the quadratic term D is
D_low + RBE_min D_α, RBE_min = √(β_α/β), 1 unless given (the usual assumption); `rbe_min=0` leaves alphas no such term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from pbpk.dosimetry.effect.protraction import Exponentials

if TYPE_CHECKING:
    from pbpk.dosimetry.effect.sampled import Sampled


def bed(dose: Any, alpha_beta: Any, protraction: Any = 1.0) -> Any:
    """BED, Gy, of a dose in Gy with the Lea–Catcheside factor `protraction`; shapes broadcast."""
    return dose * (1 + protraction * dose / alpha_beta)


def eqd2(bed: Any, alpha_beta: Any) -> Any:
    """The dose in fractions of 2 Gy that has this BED, Gy."""
    return bed / (1 + 2 / alpha_beta)


def bed_of(course: Exponentials | Sampled, alpha_beta: Any, t_repair: Any) -> Any:
    """BED, Gy, of a course of dose rate; `t_repair` h."""
    return course.dose() + course.pairs(t_repair) / alpha_beta


def rbe_bed(alpha: Any, low: Any, rbe_max: Any, alpha_beta: Any, protraction: Any = 1.0, rbe_min: Any = 1.0) -> Any:
    """BED, Gy, of `alpha` and `low`-LET doses (Gy) that share a course, so a `protraction`. `alpha_beta` is that of low LET."""
    return rbe_max * alpha + low + protraction * (low + rbe_min * alpha) ** 2 / alpha_beta


def rbe_bed_of(
    alpha: Exponentials, low: Exponentials, rbe_max: Any, alpha_beta: Any, t_repair: Any, rbe_min: Any = 1.0
) -> Any:
    """BED, Gy, of alphas and low LET with a course each: damage of one meets damage of the other."""
    parts = [jnp.concatenate([jnp.asarray(x), jnp.asarray(y)]) for x, y in zip(alpha.scaled(rbe_min), low, strict=True)]
    return rbe_max * alpha.dose() + low.dose() + Exponentials(*parts).pairs(t_repair) / alpha_beta
