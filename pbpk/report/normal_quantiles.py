"""Ordered values against the quantiles of a standard normal."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from pbpk.report.axes import label_axes
from pbpk.report.canvas import GREY, draw_empty_panel, draw_points, new_panel, say_omitted, to_svg


def draw_normal_quantiles(values: np.ndarray, title: str, y_label: str, name: str, omitted: int = 0) -> str:
    """Plot ordered values against the quantiles of a standard normal; `omitted` censored ones have none."""
    if not len(values):
        return draw_empty_panel(name, title)
    normal = NormalDist()
    n = len(values)
    at = np.array([normal.inv_cdf((i + 0.5) / n) for i in range(n)])
    figure, axes = new_panel()
    draw_points(axes, at, np.sort(values))
    say_omitted(axes, omitted)
    reach = 1.08 * max(2.0, np.abs(at).max(), np.abs(values).max())
    axes.plot([-reach, reach], [-reach, reach], color=GREY, linewidth=0.8, zorder=0)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    label_axes(axes, title, "quantile of a standard normal", y_label)
    return to_svg(figure, name, title)
