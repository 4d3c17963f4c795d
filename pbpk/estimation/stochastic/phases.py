"""When to explore, when to average, when to stop: judged from the path of ψ so far (iterations, P).

    warm-up      the chains find the posterior; ψ stays
    exploration  steps of 1: ψ wanders around the maximum by the noise of its draws. Until no coordinate has a trend
    smoothing    steps of 1/k^0.7: the noise falls. ψ is averaged over the later half (Polyak & Juditsky 1992, SIAM J Control
                 Optim 30:838), which undoes what a step that falls slowly leaves of it

A trend is the slope of the means of successive stretches over its own standard error. The spread of the path does not say how
far its average is from the maximum: where data are sparse it is correlated over hundreds of iterations. So the end is left
to the marginal likelihood (saem.py).
"""

from __future__ import annotations

import numpy as np

STRETCH = 20  # iterations of a step, compiled as one
WARM_UP, ANNEALED = 20, 60  # iterations; while annealed, spreads fall slowly
_POWER = 0.7
_WINDOW, _PARTS = 60, 6  # iterations that a trend is looked for in, and parts of them
_TREND = 4.0  # standard errors, on 4 degrees of freedom
_EXPLORATION = (100, 600)  # iterations at least and at most
_FIRST_CHECK, _LONGEST_SMOOTHING = 120, 2000  # iterations of smoothing


def compute_gains(iteration: np.ndarray, turned: int) -> np.ndarray:
    """Step of each iteration; `turned`: the first of smoothing, -1 while exploring."""
    past = iteration - turned + 1 if turned >= 0 else np.ones_like(iteration)
    return np.maximum(past, 1) ** -_POWER


def measure_trends(path: np.ndarray) -> np.ndarray:
    """Slope of the means of `_PARTS` stretches over its standard error, for each coordinate (P,)."""
    means = np.stack([part.mean(axis=0) for part in np.array_split(path, _PARTS)])
    x = np.arange(_PARTS) - (_PARTS - 1) / 2
    slope = x @ means / (x @ x)
    residuals = means - means.mean(axis=0) - np.outer(x, slope)
    error = np.sqrt((residuals**2).sum(axis=0) / (_PARTS - 2) / (x @ x))
    return np.where(slope == 0, 0.0, np.abs(slope) / np.maximum(error, 1e-300))


def has_explored(path: np.ndarray) -> bool:
    """Whether to turn to smoothing."""
    done = len(path) - WARM_UP
    least, most = _EXPLORATION
    return done >= most or (done >= least and bool((measure_trends(path[-_WINDOW:]) < _TREND).all()))


def average_path(path: np.ndarray, turned: int) -> np.ndarray:
    """ψ averaged over the later half of smoothing."""
    return path[turned + (len(path) - turned) // 2 :].mean(axis=0)


def is_check_due(length: int) -> bool:
    """Whether to check the marginal likelihood after so many iterations of smoothing: each check is half as late again."""
    checks = (_FIRST_CHECK * 1.5**k for k in range(30))
    return any(n <= length < n + STRETCH for n in checks) or is_out_of_iterations(length)


def is_out_of_iterations(length: int) -> bool:
    """Whether smoothing has taken as many iterations as it may."""
    return length >= _LONGEST_SMOOTHING
