"""Goodness of fit: what was observed against what was predicted, and the residuals against what they may hang on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pbpk.report.axes import (
    find_censored,
    find_limits,
    is_wide,
    keep_finite,
    label_axes,
    select_endpoint,
    set_log_scale,
)
from pbpk.report.canvas import (
    GREY,
    ORANGE,
    draw_empty_panel,
    draw_limits,
    draw_points,
    new_panel,
    say_omitted,
    to_svg,
    use_style,
)
from pbpk.report.normal_quantiles import draw_normal_quantiles
from pbpk.report.trend import running_median
from pbpk.run_folders.read import ObservationUnits


def draw_goodness(table: pd.DataFrame, endpoint: str, units: ObservationUnits, name: str = "gof") -> list[str]:
    """Six panels for one endpoint: DV–PRED, DV–IPRED, |IWRES|–IPRED, CWRES–TIME, CWRES–PRED, CWRES quantiles."""
    part = select_endpoint(table, endpoint)
    omitted = int(find_censored(part).sum())
    pred, ipred = units.of(endpoint, "PRED"), units.of(endpoint, "IPRED")
    dv = units.of(endpoint, "DV")
    absolute = part.assign(IWRES=part["IWRES"].abs())
    with use_style():
        return [
            _draw_against(part, "PRED", "DV", "Observed and population prediction", pred, dv, f"{name}-dv-pred"),
            _draw_against(part, "IPRED", "DV", "Observed and individual prediction", ipred, dv, f"{name}-dv-ipred"),
            _draw_against(absolute, "IPRED", "IWRES", "Size of residual error", ipred, "|IWRES|", f"{name}-iwres"),
            _draw_against(part, "TIME", "CWRES", "Residuals over time", units.clock, "CWRES", f"{name}-cwres-time"),
            _draw_against(part, "PRED", "CWRES", "Residuals over prediction", pred, "CWRES", f"{name}-cwres-pred"),
            draw_normal_quantiles(
                keep_finite(part["CWRES"]), "Residuals against a normal", "CWRES", f"{name}-cwres-qq", omitted
            ),
        ]


def _draw_against(part: pd.DataFrame, x: str, y: str, title: str, x_label: str, y_label: str, name: str) -> str:
    points, censored = part[[x, y]].to_numpy(dtype=float), find_censored(part)
    residual, absolute = y.endswith("WRES"), y == "IWRES"
    limits_known = points[censored & np.isfinite(points).all(axis=1)]
    points = points[~censored & np.isfinite(points).all(axis=1)]
    if not len(points):
        return draw_empty_panel(name, title)
    figure, axes = new_panel()
    draw_points(axes, *points.T)
    if residual:
        say_omitted(axes, int(censored.sum()))
    else:
        draw_limits(axes, *limits_known.T, label="censored, at its limit")
    log = is_wide(part[x], part[y]) if not residual else x != "TIME" and is_wide(part[x])
    if log:
        set_log_scale(axes, "x")
    if residual:
        for level in (0.0,) if absolute else (0.0, -1.959964, 1.959964):
            axes.axhline(level, color=GREY, linewidth=0.8, linestyle="-" if level == 0 else (0, (4, 3)), zorder=0)
        reach = 1.22 * max(2.5, np.abs(points[:, 1]).max())  # room for the legend
        axes.set_ylim(-0.04 * reach if absolute else -reach, reach)
    else:
        if log:
            set_log_scale(axes, "y")
        limits = find_limits([part[x], part[y]], log)
        axes.set_xlim(limits)
        axes.set_ylim(limits)
        axes.plot(limits, limits, color=GREY, linewidth=0.8, zorder=0)
    line = running_median(*points.T)
    if len(line[0]) > 1:
        axes.plot(*line, color=ORANGE, label="running median")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left" if not residual else "upper right", handlelength=1.4, borderaxespad=0.1)
    scale = " – log scale" if log else ""
    label_axes(axes, title, x_label + scale, y_label + (scale if not residual else ""))
    return to_svg(figure, name, f"{title}: {y_label} against {x_label}")
