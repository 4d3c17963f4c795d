"""Means and standard deviations of a group: their joint sampling distribution, for quantities and their logarithms.

Each statistic has its own distribution, and a normal copula joins them with the correlations of their influence functions
(mean: x − μ; SD: ((x − μ)² − σ²)/2σ), taken over the model's own population:

    mean   normal, variance σ²/n
    SD     s² = σ² χ²_ν/ν with ν such that Var s² = (μ₄ − σ⁴(n − 3)/(n − 1))/n, what it is for any distribution with a
           fourth moment; for a normal one ν = n − 1, exactly (Box 1953, Biometrika 40:318, adjusts ν alike)

Means alone are then jointly normal with covariance V/n; mean and SD of a normal quantity have their exact distribution. The
SD's place in the copula is Wilson and Hilferty's normal deviate (1931, PNAS 17:684). An error of reporting adds its variance.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

LN2PI = 1.8378770664093453


def centre_features(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean and SD (both (F,)) of features x (F, M), and their deviations from the mean (F, M)."""
    mean = jnp.mean(x, axis=1)
    c = x - mean[:, None]
    return mean, jnp.sqrt(jnp.mean(c**2, axis=1)), c


def evaluate_moments(x, feature, is_sd, value, n, error):
    """Each row's −2 ln density given the rows before it, less ln 2π (R,); predictions (R,) and their sampling SDs (R,).

    x (F, M) the features of the virtual patients; `feature` (R,) and `is_sd` (R,) static; value, n, error (R,).
    """
    mean, sd, c = centre_features(x)
    mu, sigma, c = mean[feature], sd[feature], c[feature]
    is_sd = jnp.asarray(is_sd)
    influence = jnp.where(is_sd[:, None], (c**2 - sigma[:, None] ** 2) / (2 * sigma[:, None]), c)
    influence_covariance = influence @ influence.T / x.shape[1] / jnp.maximum(n[:, None], n[None, :])
    kurtosis = jnp.mean(c**4, axis=1) / sigma**4
    relative_variance = (kurtosis - (n - 3) / jnp.maximum(n - 1, 1)) / n  # Var(s²)/σ⁴
    spread = jnp.where(is_sd, sigma**2 * jnp.maximum(relative_variance, 1e-12) / 4, sigma**2 / n) + error**2
    freedom = sigma**2 / (2 * jnp.where(is_sd, spread, 1.0))
    normal = (value - mu) / jnp.sqrt(spread)
    mean_term = normal**2 + jnp.log(spread)
    y = jnp.where(is_sd, freedom * (value / sigma) ** 2, 1.0)
    half = freedom / 2
    log_density = (half - 1) * jnp.log(y) - y / 2 - half * jnp.log(2.0) - gammaln(half)
    log_density = log_density + jnp.log(2 * freedom * jnp.where(is_sd, value, 1.0) / sigma**2)
    small = 2 / (9 * freedom)
    deviate = (jnp.cbrt(y / freedom) - 1 + small) / jnp.sqrt(small)
    z = jnp.where(is_sd, deviate, normal)
    marginal = jnp.where(is_sd, -2 * log_density - LN2PI, mean_term)
    size = jnp.sqrt(jnp.diag(influence_covariance) + error**2)
    correlation = (influence_covariance + jnp.diag(error**2)) / jnp.outer(size, size)
    lower = jnp.linalg.cholesky(correlation)
    w = jax.scipy.linalg.solve_triangular(lower, z, lower=True)
    copula_term = w**2 + 2 * jnp.log(jnp.diag(lower)) - z**2
    return marginal + copula_term, jnp.where(is_sd, sigma, mu), jnp.sqrt(spread)
