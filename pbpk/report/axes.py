"""What axes need to know: units, finite values, ranges, and whether a logarithmic scale reads better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pbpk.report.canvas import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

WIDE = 200.0  # largest over smallest value from which a logarithmic scale reads better


def list_endpoints(table: pd.DataFrame) -> list[str]:
    """The endpoints (DVID) of a table of observations, in order."""
    return [str(e) for e in table["DVID"].unique()]


def label_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Set title and axis labels."""
    axes.set_title(title)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)


def select_endpoint(table: pd.DataFrame, endpoint: str) -> pd.DataFrame:
    """The rows of one endpoint."""
    return table.loc[table["DVID"].astype(str) == endpoint]


def set_log_scale(axes: Axes, which: str, minor: bool = True) -> None:
    """A logarithmic scale whose ticks read 0.01, 1, 100; below two decades also 2 and 5. No powers typeset."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis: Axis = getattr(axes, f"{which}axis")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

    def between(value: float, _: int) -> str:
        low, high = sorted(axis.get_view_interval())
        leading = f"{value:.0e}"[0]
        return f"{value:g}" if high / low < 100 and leading in "25" else ""

    axis.set_minor_formatter(FuncFormatter(between))
    if not minor:
        axis.set_minor_locator(NullLocator())


def find_censored(part: pd.DataFrame) -> np.ndarray:
    """(rows,) of which observations only a limit is known, which their DV is."""
    return part["CENS"].to_numpy() != 0 if "CENS" in part else np.zeros(len(part), bool)


def keep_finite(values: ArrayLike) -> np.ndarray:
    """The finite ones of some values, as an array."""
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]


def is_wide(*columns: ArrayLike) -> bool:
    """Whether every value is positive and together they span a wide range."""
    joined = np.concatenate([keep_finite(c) for c in columns])
    return bool(len(joined)) and joined.min() > 0 and joined.max() / joined.min() > WIDE


def find_limits(columns: Sequence[ArrayLike], log: bool = False, zero: bool = True) -> tuple[float, float]:
    """From the least to the greatest with a margin; `zero` keeps zero in sight on a linear scale."""
    values = np.concatenate([keep_finite(c) for c in columns])
    if log:
        values = values[values > 0]
        return (float(values.min()) / 1.2, float(values.max()) * 1.2) if len(values) else (0.1, 10.0)
    if zero or not len(values):
        values = np.append(values, 0.0)
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin
