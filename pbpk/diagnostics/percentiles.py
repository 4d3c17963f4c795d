"""Percentiles of values that may lie beyond a limit: −∞ and +∞ rank, but nothing is interpolated between them and a number."""

from __future__ import annotations

import numpy as np


def compute_percentiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Percentiles along the last axis, (..., n) → (levels, ...): linear between order statistics; ∓∞ where one is beyond a
    limit. `levels` are fractions."""
    ordered = np.sort(values, axis=-1)
    at = (values.shape[-1] - 1) * np.asarray(levels, dtype=float)
    below, part = np.floor(at).astype(int), at - np.floor(at)
    a, b = ordered[..., below], ordered[..., np.minimum(below + 1, values.shape[-1] - 1)]
    known = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        between = np.where(known, a, 0.0) * (1 - part) + np.where(known, b, 0.0) * part
    beyond = np.where(np.isfinite(b), a, np.where(part > 0, b, a))
    return np.moveaxis(np.where(known, between, beyond), -1, 0)


def hide_beyond_limits(values: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Percentiles of values with several limits: one below the largest lower limit, or above the least upper one, cannot be
    told from a censored value and becomes ∓∞."""
    return np.where(values < lower, -np.inf, np.where(values > upper, np.inf, values))


def mark_inside(observed: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """1 where an observed statistic lies in its interval, else 0; NaN where both it and the interval are beyond a limit, so
    that nothing can be compared."""
    unseen = ~np.isfinite(observed) & (observed == low) & (observed == high)
    return np.where(unseen | np.isnan(observed), np.nan, ((low <= observed) & (observed <= high)).astype(float))


def blank_infinite(values: np.ndarray) -> np.ndarray:
    """The values with NaN for what lies beyond a limit, as tables show it."""
    return np.where(np.isfinite(values), values, np.nan)
