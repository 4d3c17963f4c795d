"""The rules that every quasi-Newton search here follows: what it starts from, how a step is shortened, when it is over.

quasi_newton.py follows them one iteration a step, weighted_descent.py and uncertainty/constrained_search.py as searches, of
which many run side by side. Nocedal & Wright 2006, chapters 3 and 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.base import Numbers

SMALLEST_FALL = 1e-7  # of the OFV, predicted by the quadratic model, below which the search is over
LONGEST_STEP = 1.0  # largest change of any coordinate of ψ in one step: a factor e of a positive parameter
VANISHED, RESTORED = 3.5, 2.3  # a thirtieth and a tenth of the standard deviation it started from, as logarithms
MOST_ITERATIONS = 300


def invert_scores(gradient: Numbers) -> np.ndarray:
    """(½ Σ gg')⁻¹ of gradients (P, N): the inverse Hessian of the OFV as the scores have it, to start from. The ridge lets a
    coordinate that the data hardly determine still move a little."""
    s = 0.5 * gradient @ gradient.T
    scale = np.sqrt(np.maximum(np.diag(s), 1e-8))
    correlation = s / np.outer(scale, scale) + 1e-3 * np.eye(len(scale))
    return np.linalg.inv(correlation) / np.outer(scale, scale)


def shorten_step(before: float, after: float, slope: float, length: float) -> float:
    """The factor by which a step that does not fall is shortened: to the minimum of the parabola through the OFV before and
    after it and the slope before, kept between a tenth and a half; a quarter where the OFV after it is not finite."""
    if not np.isfinite(after):
        return 0.25
    curvature = (after - before - slope * length) / length**2
    return float(np.clip(-slope / (2 * curvature * length) if curvature > 0 else 0.5, 0.1, 0.5))


def update_inverse(inverse: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The inverse Hessian after a step `s` (P,) over which the gradient changed by `y` (P,), by the BFGS formula; unchanged
    where the curvature along the step is not positive."""
    sy = float(s @ y)
    if sy <= 1e-12 * np.linalg.norm(s) * np.linalg.norm(y):
        return inverse
    rho, eye = 1 / sy, np.eye(len(s))
    return (eye - rho * np.outer(s, y)) @ inverse @ (eye - rho * np.outer(y, s)) + rho * np.outer(s, s)
