"""How a random effect moves a parameter around its typical value. To add one: a line in `DISTRIBUTIONS`.

η is normal with mean 0 throughout; the distributions differ in what is done with it:

    lognormal   θ · exp(η)
    normal      θ + η
    boxcox      θ · exp((exp(λη) − 1)/λ)          skewed to the right for λ > 0        (Petersson, Hanze, Savic & Karlsson 2009)
    t           θ · exp(η (1 + (η²+1)/4ν + …))    heavier tails, as PsN and pharmpy write it (same paper, AAPS J 11:56)
    logit       a + (b − a) expit(logit((θ − a)/(b − a)) + η)     between a and b
    probit      a + (b − a) Φ(Φ⁻¹((θ − a)/(b − a)) + η)

The first four of these that multiply can be applied before or after a covariate's factor; the others act on the typical value
with all its factors in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri


class Distribution(NamedTuple):
    """`move(typical, η, low, high, shape)`; `multiplies`: it is a factor on θ; `shape`: the name and start of its own
    parameter, if any; `bounded`: it needs a lower and an upper end."""

    move: Callable
    multiplies: bool = False
    shape: tuple[str, float] | None = None
    bounded: bool = False


def boxcox(eta: jax.Array, shape: jax.Array) -> jax.Array:
    """(exp(λη) − 1)/λ, right and differentiable at λ = 0 too."""
    x = shape * eta
    small = jnp.abs(x) < 1e-4
    safe = jnp.where(small, 1.0, x)
    series = 1 + x / 2 + x**2 / 6 + x**3 / 24
    return eta * jnp.where(small, series, jnp.expm1(safe) / safe)


def student(eta: jax.Array, df: jax.Array) -> jax.Array:
    """Cornish and Fisher's expansion of a t quantile in a normal one, to ν⁻³."""
    e2 = eta**2
    first, second = (e2 + 1) / 4, (5 * e2**2 + 16 * e2 + 3) / 96
    third = (3 * e2**3 + 19 * e2**2 + 17 * e2 - 15) / 384
    return eta * (1 + first / df + second / df**2 + third / df**3)


def _logit(typical, eta, low, high, shape):
    share = (typical - low) / (high - low)
    return low + (high - low) * jax.nn.sigmoid(jnp.log(share) - jnp.log1p(-share) + eta)


def _probit(typical, eta, low, high, shape):
    return low + (high - low) * ndtr(ndtri((typical - low) / (high - low)) + eta)


DISTRIBUTIONS: dict[str, Distribution] = {
    "lognormal": Distribution(lambda typical, eta, low, high, shape: typical * jnp.exp(eta), True),
    "normal": Distribution(lambda typical, eta, low, high, shape: typical + eta),
    "boxcox": Distribution(
        lambda typical, eta, low, high, shape: typical * jnp.exp(boxcox(eta, shape)), True, ("lambda", 0.1)
    ),
    "t": Distribution(
        lambda typical, eta, low, high, shape: typical * jnp.exp(student(eta, shape)), True, ("df", 10.0)
    ),
    "logit": Distribution(_logit, bounded=True),
    "probit": Distribution(_probit, bounded=True),
}
