"""Time-integrated activity from what was imaged: exponentials chosen by AICc, or a single time point.

Activities are those present (decay included). The functions decay at least as fast as the nuclide does: each rate is λ +
k, with k ≥ 0, after the fit functions of Kletting et al. 2013 (Med. Phys. 40:012501). Their choice by the corrected
Akaike criterion and the standard errors by the delta method are theirs too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide


@dataclass(frozen=True)
class TacFit:
    """A function fitted to a time-activity curve.

    `tia` in the activities' unit · h with its standard error `se`; `parameters` with their names; `aicc`; `weight` among all
    functions that could be fitted (Akaike's); `curve(t)` gives the activity.
    """

    function: str
    tia: float
    se: float
    parameters: dict[str, float]
    aicc: float
    weight: float
    curve: Callable[[np.ndarray], np.ndarray]


# Sums of exponentials: amplitudes and rates from positive parameters q and the decay constant. The rates are λ + k.
def _mono(q, lam):
    return [q[0]], [lam + q[1]]


def _mono_decay(q, lam):
    return [q[0]], [lam]


def _bi(q, lam):
    return [q[0], q[1]], [lam + q[2], lam + q[3]]


def _bi_decay(q, lam):
    return [q[0], q[1]], [lam + q[2], lam]


def _uptake(q, lam):
    return [q[0], -q[0]], [lam + q[1], lam + q[1] + q[2]]


def _tri(q, lam):
    return [q[0], q[1], -(q[0] + q[1])], [lam + q[2], lam + q[3], lam + q[2] + q[3] + q[4]]


FUNCTIONS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "mono": (_mono, ("A", "k")),
    "mono, decay alone": (_mono_decay, ("A",)),
    "bi": (_bi, ("A1", "A2", "k1", "k2")),
    "bi, decay alone at last": (_bi_decay, ("A1", "A2", "k1")),
    "uptake and mono": (_uptake, ("A", "k", "k_uptake")),
    "uptake and bi": (_tri, ("A1", "A2", "k1", "k2", "k_uptake")),
}


def fit_tac(
    times: Sequence[float],
    activity: Sequence[float],
    nuclide: str,
    sd: Sequence[float] | None = None,
    functions: Sequence[str] | None = None,
) -> list[TacFit]:
    """Every function that the points can bear (fewer parameters than points less one), the best by AICc first.

    `times` in h, `activity` at them, decay included, `sd` its standard deviation; without it all points weigh alike relative to
    their size, and the scatter is estimated. Raises `BadInput` for points that no function can be fitted to.
    """
    t, y = np.asarray(times, float), np.asarray(activity, float)
    if t.shape != y.shape or t.ndim != 1 or not np.isfinite(t).all() or not np.isfinite(y).all():
        raise BadInput("times and activities must be two lists of as many numbers")
    if (t < 0).any() or (y < 0).any() or not (y > 0).any():
        raise BadInput("times and activities must not be negative")
    known_sd = sd is not None
    weight = 1 / (np.asarray(sd, float) if sd is not None else np.where(y > 0, y, y[y > 0].min()))
    if not (np.isfinite(weight) & (weight > 0)).all():
        raise BadInput("standard deviations must be above 0")
    lam = load_nuclide(nuclide).decay_constant
    fits = []
    for name in functions or FUNCTIONS:
        if name not in FUNCTIONS:
            raise BadInput(f"no function `{name}`", hint=", ".join(FUNCTIONS))
        if len(t) >= len(FUNCTIONS[name][1]) + 2 or (functions and len(t) > len(FUNCTIONS[name][1])):
            fits.append(_fit(name, t, y, weight, lam, known_sd))
    if not fits:
        raise BadInput(
            f"{len(t)} points are too few for a fit",
            hint="three at least; for one point hanscheid(t, A) or madsen(t, A, T_eff)",
        )
    best = min(f.aicc for f in fits)
    shares = np.exp([-(f.aicc - best) / 2 for f in fits])
    weighted = [
        TacFit(f.function, f.tia, f.se, f.parameters, f.aicc, float(w), f.curve)
        for f, w in zip(fits, shares / shares.sum(), strict=True)
    ]
    return sorted(weighted, key=lambda f: f.aicc)


def _fit(name: str, t: np.ndarray, y: np.ndarray, weight: np.ndarray, lam: float, known_sd: bool) -> TacFit:
    """One function, from several starts: sums of exponentials have many optima."""
    form, names = FUNCTIONS[name]

    def curve(q: np.ndarray, at: np.ndarray) -> np.ndarray:
        amplitudes, rates = form(q, lam)
        terms = [a * np.exp(-r * np.asarray(at, float)) for a, r in zip(amplitudes, rates, strict=True)]
        return np.sum(terms, axis=0)

    def tia(q: np.ndarray) -> float:
        amplitudes, rates = form(q, lam)
        return float(sum(a / r for a, r in zip(amplitudes, rates, strict=True)))

    top, span = float(y.max()), max(float(t.max()), 1e-3)
    fits = []
    for fast_rate in (0.3, 1.0, 3.0, 10.0, 30.0):
        slow_rate = 0.3 / span
        first_rates = {"k_uptake": fast_rate * 3 / span, "k2": slow_rate}
        start = [top if n.startswith("A") else first_rates.get(n, fast_rate / span) for n in names]
        fits.append(
            least_squares(lambda u: weight * (curve(np.exp(u), t) - y), np.log(start), method="trf", max_nfev=2000)
        )
    best = min(fits, key=lambda f: f.cost)
    q, n, k = np.exp(best.x), len(t), len(names)
    sse = 2 * best.cost
    # with known deviations −2 log L is χ²; without, the scatter is one more parameter
    count = k if known_sd else k + 1
    spare = n - count - 1
    aicc = (sse if known_sd else n * math.log(max(sse / n, 1e-300))) + 2 * count
    aicc += 2 * count * (count + 1) / spare if spare > 0 else 0.0
    step = 1e-6
    slope = np.array([(tia(q * np.exp(step * e)) - tia(q * np.exp(-step * e))) / (2 * step) for e in np.eye(k)])
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * (1.0 if known_sd else sse / max(n - k, 1))
    se = float(np.sqrt(max(slope @ covariance @ slope, 0.0)))
    return TacFit(name, tia(q), se, dict(zip(names, q.tolist(), strict=True)), aicc, 0.0, lambda at: curve(q, at))


def hanscheid(time: float, activity: float, sd: float = 0.0) -> tuple[float, float]:
    """TIA and its SE from one point at `time` h: 2 t A/ln 2 (Hänscheid et al. 2018, J. Nucl. Med. 59:75).

    For a time of 0.75 to 2.5 effective half-lives. SE is that of the activity; `hanscheid_error` has the method's own.
    """
    if not (time > 0 and activity >= 0):
        raise BadInput("a single time point needs a time above 0 and an activity from 0 on")
    return 2 * time * activity / math.log(2), 2 * time * sd / math.log(2)


def hanscheid_error(time: float, effective_half_life: float) -> float:
    """Hänscheid's estimate over truth if the curve is one exponential: 2 x exp(−x ln 2) with x = t/T_eff."""
    x = time / effective_half_life
    return 2 * x * math.exp(-x * math.log(2))


def madsen(
    time: float, activity: float, effective_half_life: float, sd: float = 0.0, sd_half_life: float = 0.0
) -> tuple[float, float]:
    """TIA and its SE from one point and the population's effective half-life, h: A e^{λt}/λ.

    Madsen et al. 2018, Med. Phys. 45:2318.
    """
    if not (time >= 0 and activity >= 0 and effective_half_life > 0):
        raise BadInput("times and activities must not be negative, and the half-life must be above 0")
    lam = math.log(2) / effective_half_life
    tia = activity * math.exp(lam * time) / lam
    by_rate = (time - 1 / lam) * tia * lam / effective_half_life * sd_half_life
    by_activity = tia * sd / activity if activity else math.exp(lam * time) / lam * sd
    return tia, math.hypot(by_rate, by_activity)
