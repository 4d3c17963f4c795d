"""What a sample of estimates says: bias, standard errors, percentile intervals, and Efron's BCa.

Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 13 and 14; the acceleration from leaving out one subject at
a time is their equation 14.15.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def summarise_sample(
    names: Sequence[str],
    labels: Sequence[str],
    units: Sequence[str],
    estimates: np.ndarray,
    sample: np.ndarray,
    level: float,
) -> pd.DataFrame:
    """A row for each parameter, of a `sample` (R, P) and the `estimates` (P,). `bias` is the sample's mean less the estimate;
    the ends of intervals are percentiles. `level` is a fraction."""
    tail = (1 - level) / 2
    low, median, high = np.quantile(sample, [tail, 0.5, 1 - tail], axis=0)
    mean, se = sample.mean(axis=0), sample.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rse = 100 * se / np.abs(estimates)
    return pd.DataFrame(
        {
            "name": list(names),
            "label": list(labels),
            "unit": list(units),
            "estimate": estimates,
            "mean": mean,
            "median": median,
            "bias": mean - estimates,
            "se": se,
            "rse": rse,
            "ci_low": low,
            "ci_high": high,
        }
    )


def compute_bca_interval(
    sample: np.ndarray, estimate: float, left_out: np.ndarray, level: float
) -> tuple[float, float]:
    """Bias-corrected and accelerated ends from a parameter's replicates (R,) and its values with one subject left out each;
    NaN where all replicates are on one side of the estimate."""
    from scipy.special import ndtr, ndtri

    below = (np.sum(sample < estimate) + 0.5 * np.sum(sample == estimate)) / len(sample)
    if not 0 < below < 1:
        return np.nan, np.nan
    z0 = ndtri(below)
    away = left_out.mean() - left_out
    spread = np.sum(away**2) ** 1.5
    a = np.sum(away**3) / (6 * spread) if spread > 0 else 0.0
    ends = []
    for tail in ((1 - level) / 2, 1 - (1 - level) / 2):
        z = z0 + ndtri(tail)
        ends.append(float(np.quantile(sample, ndtr(z0 + z / (1 - a * z)))) if a * z < 1 else np.nan)
    return ends[0], ends[1]
