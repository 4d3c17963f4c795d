"""Whether chains have converged to one distribution, and how many independent draws they are worth: rank-normalised split
R-hat, and effective sample sizes.

Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021 (Bayesian Anal 16:667), which is what Stan and ArviZ report. Written here
because ArviZ takes two seconds to import and brings Matplotlib, xarray and HDF5 for these few lines; it gives the same numbers
(tests/against/test_nuts_diagnostics.py).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, rankdata


def rhat(draws: np.ndarray) -> float:
    """R-hat of one quantity from its draws (chains, n): the larger of the bulk's and the tails'."""
    split = _split_chains(draws)
    if not np.isfinite(split).all() or np.ptp(split) == 0:
        return float("nan")
    return max(_plain_rhat(_normal_scores(split)), _plain_rhat(_normal_scores(np.abs(split - np.median(split)))))


def ess_bulk(draws: np.ndarray) -> float:
    """How many independent draws determine the middle of the distribution as well."""
    split = _split_chains(draws)
    if not np.isfinite(split).all() or np.ptp(split) == 0:
        return float("nan")
    return _estimate_ess(_normal_scores(split))


def ess_tail(draws: np.ndarray) -> float:
    """How many determine the 5 % and the 95 % quantile as well, the lesser of the two."""
    split = _split_chains(draws)
    if not np.isfinite(split).all() or np.ptp(split) == 0:
        return float("nan")
    return min(_estimate_ess((split <= np.quantile(split, p)).astype(float)) for p in (0.05, 0.95))


def ess_mean(draws: np.ndarray) -> float:
    """How many determine the mean as well, whose Monte Carlo error is SD/√ESS."""
    return _estimate_ess(_split_chains(draws))


def _split_chains(draws: np.ndarray) -> np.ndarray:
    """Each chain as two, so that a trend within a chain shows; the middle draw of an odd number is left out."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])


def _normal_scores(x: np.ndarray) -> np.ndarray:
    """The normal quantiles of the ranks among all draws, so that no moment of the distribution need exist."""
    rank = rankdata(x, method="average").reshape(x.shape)
    return norm.ppf((rank - 0.375) / (x.size + 0.25))


def _plain_rhat(x: np.ndarray) -> float:
    """R-hat without ranks: the variance of all chains over that within them."""
    n = x.shape[1]
    within = x.var(axis=1, ddof=1).mean()
    between = n * x.mean(axis=1).var(ddof=1)
    return float(np.sqrt((between / within + n - 1) / n))


def _estimate_ess(x: np.ndarray) -> float:
    """The effective size by Geyer's initial monotone sequence of the autocorrelations of all chains together."""
    chains, n = x.shape
    if n < 4 or np.ptp(x) == 0:
        return float("nan")
    covariance = np.array([_autocovariance(c) for c in x])
    within = covariance[:, 0].mean() * n / (n - 1)
    total = within * (n - 1) / n + (x.mean(axis=1).var(ddof=1) if chains > 1 else 0.0)
    rho = 1 - (within - covariance.mean(axis=0)) / total
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    last = min(int(negative[0]) if len(negative) else len(pairs), (n - 3) // 2)
    monotone_pairs = np.minimum.accumulate(pairs[:last])
    tail = max(float(rho[2 * last]), 0.0)  # improves the estimate where draws are antithetic
    tau = max(-1 + 2 * float(monotone_pairs.sum()) + tail, 1 / np.log10(chains * n))
    return chains * n / tau


def _autocovariance(x: np.ndarray) -> np.ndarray:
    """Of one chain at all lags, by the fast Fourier transform, padded so that it does not wrap around."""
    n = len(x)
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    f = np.fft.rfft(x - x.mean(), size)
    return np.fft.irfft(f * np.conj(f), size)[:n] / n
