"""How many patients: information is proportional to their number, so a wanted standard error or power has one answer."""

from __future__ import annotations

import math

from scipy.special import ndtr, ndtri


def count_patients_for_error(now: float, subjects: float, wanted: float) -> int:
    """For a standard error (absolute or relative, as `now` is) of `wanted`, when `subjects` give `now`."""
    return math.ceil(subjects * (now / wanted) ** 2 * (1 - 1e-12))


def compute_wald_power(effect: float, error: float, level: float = 0.05) -> float:
    """Of the two-sided Wald test that an effect is zero, when it is `effect` and its standard error `error`."""
    z, shift = ndtri(1 - level / 2), abs(effect) / error
    return float(ndtr(shift - z) + ndtr(-shift - z))


def count_patients_for_power(effect: float, error: float, subjects: float, power: float, level: float = 0.05) -> int:
    """For a power of `power`, the smaller tail left out (Retout, Comets, Samson & Mentré 2007, Stat Med 26:5162)."""
    needed = (ndtri(1 - level / 2) + ndtri(power)) / abs(effect)
    return count_patients_for_error(error, subjects, 1.0 / needed)
