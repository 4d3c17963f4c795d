"""A continuous endpoint: normal residuals on the observable's own scale or a transformed one, quantified or censored.

A value below or above a limit counts with the probability of lying there (Beal 2001, J Pharmacokinet Pharmacodyn 28:481: M3,
and with a floor M2 and M4), an interval with the probability between its ends. Objectives of transformed observations hold the
Jacobian, so that they compare with untransformed ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, Predicted, Sigma
from pbpk.likelihood.endpoints.interval import log_between
from pbpk.likelihood.endpoints.transforms import TRANSFORMS
from pbpk.observe.noise import VARIANCES


@dataclass(frozen=True)
class Gaussian(Endpoint):
    """`model` is one of `VARIANCES`, a variance on the transformed scale as a function of the untransformed f; `constants` are
    the transform's numbers that are not estimated; `given`: y has been transformed already; `limits`: some y are censored."""

    model: str
    transform: str = "none"
    constants: tuple[float, ...] = ()
    given: bool = False
    limits: bool = False

    @property
    def continuous(self) -> bool:
        return True

    @property
    def correlated(self) -> str | None:
        return dict(self.names).get("ar1")

    @property
    def columns(self) -> tuple[str, ...] | None:
        return None if self.correlated else ("y", "low", "high", "floor") if self.limits else ("y",)

    def scale(self, x: Numbers, sigma: Sigma) -> Numbers:
        return TRANSFORMS[self.transform].to(x, *self._shape(sigma))

    def unscale(self, z: Numbers, sigma: Sigma) -> Numbers:
        return TRANSFORMS[self.transform].back(z, *self._shape(sigma))

    def _shape(self, sigma: Sigma) -> tuple[Any, ...]:
        takes, own = TRANSFORMS[self.transform].takes, self.own(sigma)
        return tuple(own[n] for n in takes if n in own) + self.constants

    def seen(self, y: Numbers, sigma: Sigma) -> Numbers:
        """y on the scale of the residual."""
        return y if self.given else self.scale(y, sigma)

    def variance(self, around: Numbers, sigma: Sigma) -> Numbers:
        names, function = VARIANCES[self.model]
        own = self.own(sigma)
        return function(around, *(own[n] for n in names))

    def loss(self, p: Predicted, o: Observed, sigma: Sigma) -> Numbers:
        r, mean = self.variance(p.around, sigma), self.scale(p.f, sigma)
        plain = jnp.log(r) + (self.seen(o.y, sigma) - mean) ** 2 / r
        if self.transform != "none" and not self.given:
            plain = plain - 2 * TRANSFORMS[self.transform].log_slope(o.y, *self._shape(sigma))
        if not self.limits:
            return plain
        return self._limited(plain, jnp.sqrt(r), mean, o, sigma)

    def _limited(self, plain: Numbers, sd: Numbers, mean: Numbers, o: Observed, sigma: Sigma) -> Numbers:
        def standard(limit):
            finite = jnp.isfinite(limit)
            if self.transform in ("log", "boxcox"):  # below 0 there is nothing: no limit at all
                finite = finite & (limit > 0) if not self.given else finite
            z = (self.seen(jnp.where(finite, limit, 1.0), sigma) - mean) / sd
            return jnp.where(finite, z, jnp.where(limit > 0, jnp.inf, -jnp.inf))

        low = jnp.where(o.censored, o.low, -jnp.inf)
        high = jnp.where(o.censored, o.high, jnp.inf)
        inside = -2 * log_between(standard(low), standard(high))
        above = 2 * log_between(standard(o.floor), jnp.full_like(mean, jnp.inf))
        return jnp.where(o.censored, inside, plain) + above

    def curvature(self, p: Predicted, o: Observed, sigma: Sigma, interaction: bool) -> Numbers:
        """Expected where quantified: h'²/R and, with interaction, ½(∂ln R/∂f)²; observed where censored or above a floor."""
        ones = jnp.ones_like(p.f)
        slope = jax.jvp(lambda f: self.scale(f, sigma), (p.f,), (ones,))[1]
        expected = slope**2 / self.variance(p.around, sigma)
        if interaction:
            spread = jax.jvp(lambda f: jnp.log(self.variance(f, sigma)), (p.around,), (ones,))[1]
            expected = expected + 0.5 * spread**2
        if not self.limits:
            return expected
        observed = super().curvature(p, o, sigma, interaction)
        return jnp.where(o.censored | jnp.isfinite(o.floor), observed, expected)

    def moments(self, p: Predicted, sigma: Sigma) -> tuple[Numbers, Numbers]:
        """On the scale of the residual."""
        return self.scale(p.f, sigma), self.variance(p.around, sigma)

    def draw(self, keys: Numbers, p: Predicted, o: Observed, sigma: Sigma) -> Numbers:
        """M4 takes y for positive, so its draws are; what M2 leaves out is left out of a replicate as of the data."""
        normal = jax.vmap(jax.vmap(jax.random.normal))(keys)
        if self.correlated is not None:
            normal = _running(normal, o, self.own(sigma)["ar1"])
        mean, sd = self.scale(p.f, sigma), jnp.sqrt(self.variance(p.around, sigma))
        if self.limits and self.transform == "none":
            positive = -ndtri(ndtr(-normal) * ndtr(mean / sd))
            normal = jnp.where(o.floor == 0, positive, normal)
        z = mean + sd * normal
        return z if self.given else self.unscale(z, sigma)


def _running(normal: Numbers, o: Observed, rho: Numbers) -> Numbers:
    """Standard normals (T, N), each correlated by ρ^Δt with the one of the previous record of its endpoint."""

    def step(done, t):
        back, here = o.back[t], o.when[t]
        last = jnp.take_along_axis(done, jnp.maximum(back, 0)[None], axis=0)[0]
        then = jnp.take_along_axis(o.when, jnp.maximum(back, 0)[None], axis=0)[0]
        r = jnp.where(back >= 0, rho ** jnp.maximum(here - then, 0.0), 0.0)
        return done.at[t].set(r * last + jnp.sqrt(1 - r**2) * normal[t]), None

    return jax.lax.scan(step, jnp.zeros_like(normal), jnp.arange(normal.shape[0]))[0]
