"""The way an estimation went: objective and gradient, iteration by iteration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pbpk.report.axes import label as name_axes
from pbpk.report.axes import logarithmic
from pbpk.report.canvas import BLUE, nothing, panel, style, to_svg


def trace(iterations: pd.DataFrame, name: str = "trace") -> list[str]:
    """OFV and the size of its gradient over iterations."""
    with style():
        return [
            _course(iterations, "ofv", "Objective", "OFV", False, f"{name}-ofv"),
            _course(iterations, "gradient", "Gradient", "largest |gradient|", True, f"{name}-gradient"),
        ]


def _course(iterations: pd.DataFrame, column: str, title: str, label: str, log: bool, name: str) -> str:
    course = iterations[["iteration", column]].to_numpy(dtype=float).reshape(-1, 2)
    course = course[np.isfinite(course).all(axis=1) & ((course[:, 1] > 0) if log else True)]
    if not len(course):
        return nothing(name, title, "no iterations were recorded")
    figure, axes = panel(5.6, 2.8)
    axes.plot(*course.T, color=BLUE, marker="o" if len(course) <= 60 else "", markersize=3.2)
    if log:
        logarithmic(axes, "y")
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    name_axes(axes, title, "iteration", label + (" – log scale" if log else ""))
    return to_svg(figure, name, f"{label} over iterations")
