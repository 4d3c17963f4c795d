"""How numbers are written in reports: four significant digits, and a dash where there is none."""

from __future__ import annotations

import math
from typing import Any

from pbpk.run_folders.read import finite_or_nan

MISSING = "–"


def format_number(x: Any, digits: int = 4) -> str:
    """1.590, 31.81, 0.06910, 1.235e-06. Whole digits are never rounded away below a million."""
    value = finite_or_nan(x)
    if math.isnan(value):
        return MISSING
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        return _format_signed(f"{value:.{digits - 1}e}")
    text = f"{value:#.{digits}g}"
    return _format_signed(f"{value:.0f}" if "e" in text else text.rstrip("."))


def format_objective(x: Any) -> str:
    """Likelihoods keep three decimals: a difference of 3.84 decides between models, whatever the size of the whole."""
    value = finite_or_nan(x)
    return MISSING if math.isnan(value) else _format_signed(f"{value:.3f}")


def format_interval(low: Any, high: Any) -> str:
    """`[1.092, 2.316]`, or a dash when either end is missing."""
    ends = format_number(low), format_number(high)
    return MISSING if MISSING in ends else f"[{ends[0]}, {ends[1]}]"


def _format_signed(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text
