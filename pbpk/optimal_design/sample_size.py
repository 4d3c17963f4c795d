"""How many patients: information is proportional to their number, so a wanted standard error or power has one answer."""

from __future__ import annotations

import math

from scipy.special import ndtr, ndtri


def count_patients_for_error(now: float, subjects: float, goal: float) -> int:
    """Patients for a standard error (absolute or relative, as `now` is) of `goal`, when `subjects` give `now`."""
    return math.ceil(subjects * (now / goal) ** 2 * (1 - 1e-12))  # rounding must not add a patient


def compute_wald_power(effect: float, error: float, level: float = 0.05) -> float:
    """The power of the two-sided Wald test that an effect is zero, when it is `effect` and its standard error `error`."""
    z, shift = ndtri(1 - level / 2), abs(effect) / error
    return float(ndtr(shift - z) + ndtr(-shift - z))


def count_patients_for_power(effect: float, error: float, subjects: float, power: float, level: float = 0.05) -> int:
    """Patients for a power of `power`, when `subjects` give the standard error `error`; the smaller tail is left out
    (Retout, Comets, Samson & Mentré 2007, Stat Med 26:5162)."""
    needed = (ndtri(1 - level / 2) + ndtri(power)) / abs(effect)
    return count_patients_for_error(error, subjects, 1.0 / needed)
