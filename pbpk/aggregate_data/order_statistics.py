"""Medians, quantiles, smallest and largest values: the exact joint density of order statistics of n patients.

    f(x₁ … x_J) ∝ Π f(x_j) · Π (F(x_{j+1}) − F(x_j))^{r_{j+1} − r_j − 1}      with ranks r_1 < … < r_J of n, F from 0 to 1

F and f are the model's, by a normal kernel over its virtual patients, on the log scale where all values are positive. The
kernel is shrunk, so that it keeps the model's mean and variance (Silverman & Young 1987, Biometrika 74:469). The median of
an even number, and quantiles, have ranks between two patients: the density is then Dirichlet's, which continues the exact one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, ndtr

from pbpk.aggregate_data.moments import LN2PI

_TINY = 1e-300


class KernelDistribution:
    """The model's distribution of one quantity x (M,), or of its logarithm."""

    def __init__(self, x: jax.Array):
        self.positive = jnp.all(x > 0)
        safe = jnp.where(self.positive, x, 1.0)
        x = jnp.where(self.positive, jnp.log(safe), x)
        mean = jnp.mean(x)
        spread = jnp.sqrt(jnp.mean((x - mean) ** 2))
        h = 1.06 * x.shape[0] ** -0.2
        shrink = 1 / jnp.sqrt(1 + h**2)
        self.centres, self.width, self.x = mean + shrink * (x - mean), h * shrink * spread, x

    def to_kernel_scale(self, t: jax.Array) -> jax.Array:
        """t on the scale of the kernel: its logarithm where all values are positive."""
        return jnp.where(self.positive, jnp.log(jnp.where(self.positive & (t > 0), t, 1.0)), t)

    def compute_cdf(self, t: jax.Array) -> jax.Array:
        """F(t) (J,)."""
        return jnp.mean(ndtr((self.to_kernel_scale(t)[:, None] - self.centres) / self.width), axis=1)

    def compute_survival(self, t: jax.Array) -> jax.Array:
        """1 − F(t) (J,), accurate where it is small."""
        return jnp.mean(ndtr((self.centres - self.to_kernel_scale(t)[:, None]) / self.width), axis=1)

    def compute_log_density(self, t: jax.Array) -> jax.Array:
        """ln f(t) (J,), the density of t itself also where the kernel is on the log scale."""
        u = (self.to_kernel_scale(t)[:, None] - self.centres) / self.width
        log = jax.nn.logsumexp(-0.5 * u**2, axis=1) - jnp.log(u.shape[1]) - jnp.log(self.width) - 0.5 * LN2PI
        return log - jnp.where(self.positive, self.to_kernel_scale(t), 0.0)

    def compute_quantile(self, p: jax.Array) -> jax.Array:
        """The quantile at p (J,) of the virtual patients themselves, linear between them."""
        quantile = jnp.quantile(self.x, jnp.clip(p, 0.0, 1.0))
        return jnp.where(self.positive, jnp.exp(quantile), quantile)


def evaluate_order_statistics(x: jax.Array, value: jax.Array, rank: jax.Array, n: jax.Array):
    """(J,) −2 ln density of each value given those below it, less ln 2π; predictions (J,) and sampling SDs (J,).

    Values in ascending order of rank (J,); n the number of patients.
    """
    kernel = KernelDistribution(x)
    f, low, high = kernel.compute_log_density(value), kernel.compute_cdf(value), kernel.compute_survival(value)
    gap = jnp.diff(rank, prepend=0.0)
    before = jnp.concatenate([jnp.zeros(1), low[:-1]])
    between = jnp.log(jnp.maximum(low - before, _TINY))
    parts = (gap - 1) * between + f - gammaln(gap)
    # The joint density of the first j values and of the remaining patients lying above the j-th.
    remaining = n - rank
    joint_log_density = (
        gammaln(n + 1) + jnp.cumsum(parts) - gammaln(remaining + 1) + remaining * jnp.log(jnp.maximum(high, _TINY))
    )
    columns = -2 * jnp.diff(joint_log_density, prepend=0.0) - LN2PI
    p = rank / (n + 1)
    # The expected value of a normal order statistic (Blom 1958).
    at = kernel.compute_quantile((rank - 0.375) / (n + 0.25))
    return columns, at, jnp.sqrt(p * (1 - p) / (n + 2)) / jnp.exp(kernel.compute_log_density(at))
