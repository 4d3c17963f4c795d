"""A running median: the trend line of diagnostic plots, without a smoother's tuning."""

from __future__ import annotations

import numpy as np

POINTS = 40
FEWEST = 10


def running_median(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of x and y in overlapping windows of a quarter of the points, in order of x; empty below ten points."""
    n = len(x)
    if n < FEWEST:
        return np.empty(0), np.empty(0)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    width = max(7, n // 4)
    starts = np.unique(np.linspace(0, n - width, min(POINTS, n - width + 1)).astype(int))
    middle = np.array([np.median(x[s : s + width]) for s in starts])
    level = np.array([np.median(y[s : s + width]) for s in starts])
    keep = np.concatenate([[True], np.diff(middle) > 0])  # tied times give one point, not a vertical stroke
    return middle[keep], level[keep]
