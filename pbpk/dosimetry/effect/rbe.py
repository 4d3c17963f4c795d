"""The RBE of an endpoint as an uncertain number: a distribution with a source, and doses weighted by it.

D_RBE = RBE·D_α + D_low (MIRD 22, Sgouros 2010). An RBE belongs to an endpoint, a tissue and a level of dose. w_R is not one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from pbpk.errors import BadInput


@dataclass(frozen=True)
class Rbe:
    """An uncertain RBE of one endpoint.

    Lognormal with median `a` and geometric SD `b`; uniform from `a` to `b`; or fixed at `a`. `source` must be said. Raises
    `BadInput` without one, or for numbers that cannot be.
    """

    endpoint: str
    distribution: Literal["lognormal", "uniform", "fixed"]
    a: float
    b: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        low = {"lognormal": 1.0, "uniform": self.a, "fixed": -math.inf}
        if self.distribution not in low:
            raise BadInput(f"no distribution `{self.distribution}` of RBE", hint="lognormal, uniform or fixed")
        if not self.a > 0 or not self.b >= low[self.distribution]:
            what = f"RBE for {self.endpoint}: {self.distribution} with {self.a} and {self.b}"
            raise BadInput(
                what, hint="lognormal: median and geometric SD ≥ 1; uniform: low and high; fixed: a value above 0"
            )
        if not self.source:
            raise BadInput(f"the RBE for {self.endpoint} has no source", hint='source="…", or "assumed: why"')

    def median(self) -> float:
        """The median."""
        return (self.a + self.b) / 2 if self.distribution == "uniform" else self.a

    def mean(self) -> float:
        """The mean."""
        return {
            "lognormal": self.a * math.exp(math.log(max(self.b, 1.0)) ** 2 / 2),
            "uniform": (self.a + self.b) / 2,
            "fixed": self.a,
        }[self.distribution]

    def sd(self) -> float:
        """The standard deviation."""
        return {
            "lognormal": self.mean() * math.sqrt(math.expm1(math.log(max(self.b, 1.0)) ** 2)),
            "uniform": (self.b - self.a) / math.sqrt(12),
            "fixed": 0.0,
        }[self.distribution]

    def draws(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Draws of that shape."""
        if self.distribution == "lognormal":
            return self.a * jnp.exp(math.log(self.b) * jax.random.normal(key, shape))
        if self.distribution == "uniform":
            return jax.random.uniform(key, shape, minval=self.a, maxval=self.b)
        return jnp.full(shape, self.a)


def rbe_weighted(alpha: Any, low: Any, rbe: Any) -> Any:
    """RBE-weighted dose, Gy; `rbe` a number or draws, shapes broadcast."""
    return rbe * alpha + low


def weighted_moments(rbe: Rbe, alpha: Any, low: Any, alpha_sd: Any = 0.0, low_sd: Any = 0.0) -> tuple[Any, Any]:
    """Mean and SD of the RBE-weighted dose, Gy, for doses independent of the RBE and of each other (exact for such)."""
    m, s = rbe.mean(), rbe.sd()
    variance = s**2 * (alpha**2 + alpha_sd**2) + (m * alpha_sd) ** 2 + low_sd**2
    return m * alpha + low, jnp.sqrt(variance)


def split(by_radiation: Mapping[str, Mapping[str, Any]], target: str) -> tuple[Any, Any]:
    """Alpha and low-LET dose of a target from `AbsorbedDose.by_radiation`, in its unit: mGy/MBq, not yet Gy."""
    return by_radiation["alpha"][target], by_radiation["electron"][target] + by_radiation["photon"][target]
