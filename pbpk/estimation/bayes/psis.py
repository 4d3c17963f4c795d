"""How far importance weights can be relied on: the shape k̂ of the generalised Pareto distribution of the largest of them.

Below 0.5 their variance is finite; up to 0.7 what is made of them is still usable; above, it is not (Vehtari, Simpson, Gelman,
Yao & Gabry 2024, J Mach Learn Res 25:72). The fit is Zhang & Stephens 2009 (Technometrics 51:316). Written here for the reason
that convergence.py states; ArviZ gives the same numbers (tests/against/test_nuts_diagnostics.py).
"""

from __future__ import annotations

import numpy as np


def pareto_k(log_weights: np.ndarray) -> float:
    """k̂ of one set of log weights (S,), from its tail of min(S/5, 3√S)."""
    s = len(log_weights)
    tail = int(np.ceil(min(0.2 * s, 3 * np.sqrt(s))))
    if tail < 5 or not np.isfinite(log_weights).any():
        return float("nan")
    ordered = np.sort(np.where(np.isnan(log_weights), -np.inf, log_weights))
    ordered = np.exp(ordered - ordered[-1])
    excess = ordered[-tail:] - ordered[-tail - 1]
    return _fit_shape(excess[excess > 0]) if (excess > 0).sum() >= 5 else float("-inf")


def _fit_shape(x: np.ndarray) -> float:
    """k̂ of sorted positive excesses over the tail's start; the prior of the paper's small-sample correction pulls k̂ a little
    towards 0.5."""
    n = len(x)
    m = 30 + int(np.sqrt(n))
    theta = 1 / x[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * x[int(n / 4 + 0.5) - 1])
    k = np.mean(np.log1p(-theta[:, None] * x), axis=1)
    likelihood = n * (np.log(-theta / k) - k - 1)
    weight = 1 / np.exp(likelihood[None, :] - likelihood[:, None]).sum(axis=1)
    best = float((theta * weight).sum() / weight.sum())
    shape = float(np.mean(np.log1p(-best * x)))
    return (n * shape + 10 * 0.5) / (n + 10)
