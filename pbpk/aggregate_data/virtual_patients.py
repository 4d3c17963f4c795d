"""The fixed virtual patients of a group: scrambled Sobol points as standard normals, centred, uncorrelated, of unit size, and
with a normal variable's fourth moment, on which the sampling of an SD depends.

The same for every group, parameter and iteration (common random numbers), so that the likelihood is a smooth function of
ψ. Each point comes with its mirror image: odd moments are exactly 0, and a model that is linear in η has its mean and
covariance to the last digit, whatever the number of patients.
"""

from __future__ import annotations

import numpy as np


def draw_standard_normals(dimensions: int, patients: int, seed: int) -> np.ndarray:
    """Draw z (dimensions, patients) for a seed; an even number of patients, more than twice the dimensions."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    half = patients // 2
    if not dimensions:
        return np.zeros((0, patients))
    points = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed)).random_base2(
        int(np.ceil(np.log2(half)))
    )[:half]
    both = np.concatenate([points, 1 - points]).T
    ranks = np.argsort(np.argsort(both, axis=1), axis=1)
    z = _match_normal_moments(ndtri((np.arange(patients) + 0.5) / patients))[ranks]
    return np.linalg.solve(np.linalg.cholesky(z @ z.T / patients), z)


def _match_normal_moments(z: np.ndarray) -> np.ndarray:
    """Midpoints' normal quantiles with their tails, which the middle of the outermost intervals cuts, moved out until mean
    squares and fourth powers are a normal variable's, 1 and 3."""
    from scipy.optimize import brentq

    def stretch(c):
        x = z + c * z**3
        return x / np.sqrt(np.mean(x**2))

    return stretch(brentq(lambda c: np.mean(stretch(c) ** 4) - 3, 0.0, 0.1))
