"""Individual fits: a grid of small panels, one a subject, paged so that nobody is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.report.axes import find_censored, find_limits, is_wide, keep_finite, select_endpoint, set_log_scale
from pbpk.report.canvas import GREEN, ORANGE, draw_limits, draw_points, new_figure, to_svg, use_style
from pbpk.run_folders.read import ObservationUnits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_PAGE, COLUMNS = 24, 6
MOST_POINTS = 150  # in one small panel
UNEQUAL = 5.0  # largest over smallest of the subjects' peaks from which each gets its own scale
SHOWN = ("DV", "IPRED", "PRED")
# Inches: one panel, the room between two, and the margins.
WIDTH, HEIGHT, LIFT, LEFT, RIGHT, TOP, BOTTOM = 1.55, 1.24, 0.27, 0.62, 0.1, 0.5, 0.5


@dataclass(frozen=True)
class SubjectScale:
    """What the panels share. `values` is None when each has its own."""

    time: tuple[float, float]
    values: tuple[float, float] | None
    log: bool


def draw_individual_fits(table: pd.DataFrame, endpoint: str, units: ObservationUnits, name: str = "ind") -> list[str]:
    """Pages of at most 24 subjects: observations, IPRED and PRED. All have one scale unless their peaks are unequal."""
    part = select_endpoint(table, endpoint)
    groups = {str(who): g.sort_values("TIME", kind="stable") for who, g in part.groupby("ID", sort=False)}
    scale, subjects = _choose_scale(part, list(groups.values())), list(groups)
    pages = [subjects[i : i + PER_PAGE] for i in range(0, len(subjects), PER_PAGE)]
    with use_style():
        return [
            _draw_page({who: groups[who] for who in page}, endpoint, units, scale, f"{name}-{i}")
            for i, page in enumerate(pages, 1)
        ]


def _choose_scale(part: pd.DataFrame, groups: list[pd.DataFrame]) -> SubjectScale:
    log = is_wide(part["DV"], part["IPRED"])
    peaks = np.array([_find_peak(g) for g in groups])
    peaks = peaks[np.isfinite(peaks) & (peaks > 0)]
    alike = log or not len(peaks) or peaks.max() / peaks.min() <= UNEQUAL
    values = find_limits([part[c] for c in SHOWN], log) if alike else None
    return SubjectScale(find_limits([part["TIME"]], zero=False), values, log)


def _draw_page(
    groups: dict[str, pd.DataFrame], endpoint: str, units: ObservationUnits, scale: SubjectScale, name: str
) -> str:
    columns = min(COLUMNS, max(3, len(groups)))
    rows = -(-len(groups) // columns)
    gap = 0.14 if scale.values else 0.44  # its own scale needs its own numbers
    across, down = columns * (WIDTH + gap) - gap, rows * (HEIGHT + LIFT) - LIFT
    width, height = LEFT + across + RIGHT, TOP + down + BOTTOM
    figure = new_figure(width, height)
    for k, (subjects, group) in enumerate(groups.items()):
        row, column = divmod(k, columns)
        x, y = LEFT + column * (WIDTH + gap), height - TOP - row * (HEIGHT + LIFT) - HEIGHT
        axes = figure.add_axes((x / width, y / height, WIDTH / width, HEIGHT / height))
        _draw_subject(axes, group, scale)
        axes.set_title(f"ID {subjects}" if len(subjects) < 22 else f"ID {subjects[:20]}…", fontsize=8, pad=2)
        first, last = scale.values is None or column == 0, k + columns >= len(groups)
        axes.tick_params(length=2.5, labelsize=7.5, labelleft=first, labelbottom=last)
    handles = {label: h for axes in figure.axes for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        *(list(handles.values()), list(handles)),
        loc="upper left",
        ncols=4,
        bbox_to_anchor=(LEFT / width, 1),
        borderaxespad=0.2,
        handlelength=1.8,
    )
    figure.text((LEFT + across / 2) / width, 0.17 / height, units.clock, ha="center", va="top")
    value = units.of(endpoint, endpoint) + (" – log scale" if scale.log else "")
    figure.text(0.08 / width, (BOTTOM + down / 2) / height, value, rotation=90, ha="left", va="center")
    range_text = list(groups)
    return to_svg(figure, name, f"individual fits of {endpoint}, subjects {range_text[0]} to {range_text[-1]}")


def _draw_subject(axes: Axes, group: pd.DataFrame, scale: SubjectScale) -> None:
    time = group["TIME"].to_numpy(dtype=float)
    for column, colour, dashes, label in (
        ("PRED", GREEN, (0, (3, 2)), "population prediction (PRED)"),
        ("IPRED", ORANGE, "-", "individual prediction (IPRED)"),
    ):
        value = group[column].to_numpy(dtype=float)
        ok = np.isfinite(time) & np.isfinite(value)
        mark = "_" if ok.sum() == 1 else ""  # a line through one point would not be seen
        axes.plot(time[ok], value[ok], color=colour, linestyle=dashes, linewidth=1.2, label=label, marker=mark)
    dv = group["DV"].to_numpy(dtype=float)
    censored, ok = find_censored(group), np.isfinite(time) & np.isfinite(dv)
    quantified, limits = ok & ~censored, ok & censored
    draw_points(axes, time[quantified], dv[quantified], size=3.2, alpha=0.85, label="observed", most=MOST_POINTS)
    draw_limits(axes, time[limits], dv[limits], label="censored", size=3.2)
    if scale.log:
        set_log_scale(axes, "y", minor=False)
    axes.set_xlim(scale.time)
    axes.set_ylim(scale.values or find_limits([group[c] for c in SHOWN]))


def _find_peak(group: pd.DataFrame) -> float:
    both = np.concatenate([keep_finite(group[c]) for c in ("DV", "IPRED")])
    return float(both.max()) if len(both) else np.nan
