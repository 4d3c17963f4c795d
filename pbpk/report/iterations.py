"""The way an estimation went: objective and gradient, iteration by iteration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pbpk.report.axes import label_axes as name_axes
from pbpk.report.axes import set_log_scale
from pbpk.report.canvas import BLUE, draw_empty_panel, new_panel, to_svg, use_style


def draw_iterations(iterations: pd.DataFrame, name: str = "trace") -> list[str]:
    """OFV and the size of its gradient over iterations."""
    with use_style():
        return [
            _draw_course(iterations, "ofv", "Objective", "OFV", False, f"{name}-ofv"),
            _draw_course(iterations, "gradient", "Gradient", "largest |gradient|", True, f"{name}-gradient"),
        ]


def _draw_course(iterations: pd.DataFrame, column: str, title: str, label: str, log: bool, name: str) -> str:
    course = iterations[["iteration", column]].to_numpy(dtype=float).reshape(-1, 2)
    course = course[np.isfinite(course).all(axis=1) & ((course[:, 1] > 0) if log else True)]
    if not len(course):
        return draw_empty_panel(name, title, "no iterations were recorded")
    figure, axes = new_panel(5.6, 2.8)
    axes.plot(*course.T, color=BLUE, marker="o" if len(course) <= 60 else "", markersize=3.2)
    if log:
        set_log_scale(axes, "y")
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    name_axes(axes, title, "iteration", label + (" – log scale" if log else ""))
    return to_svg(figure, name, f"{label} over iterations")
