"""Visual predictive checks: observed percentiles, shares and survival over the bands that the model gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.report.axes import find_limits, is_wide, keep_finite, label_axes, set_log_scale
from pbpk.report.canvas import BLUE, GREY, INK, ORANGE, new_panel, to_svg, use_style
from pbpk.run_folders.read import ObservationUnits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS, WIDTH, HEIGHT = 3, 4.2, 3.3  # panels in a row of a PNG, and the inches of one
SHARES = {"below": "share below the limit", "above": "share above the limit", "category": "share of {}"}
MOST = 1500  # dots in a panel


@dataclass(frozen=True, eq=False)
class VpcFigures:
    """What a VPC left: `table` and `points` as `pbpk.diagnostics.vpc.VpcResult` has them, `info` its `to_dict`."""

    table: pd.DataFrame
    points: pd.DataFrame
    info: dict[str, Any]
    units: ObservationUnits

    def figures(self) -> Iterator[tuple[str, str, list[tuple[str, pd.DataFrame]]]]:
        """(endpoint, stratum, its panels), each panel a title and its rows."""
        for (endpoint, stratum), rows in self.table.fillna({"STRATUM": "", "LEVEL": ""}).groupby(
            ["DVID", "STRATUM"], sort=False
        ):
            panels = []
            for (name, level), part in rows.groupby(["PANEL", _panel_level(rows)], sort=False):
                of = f"{endpoint}, {stratum}" if stratum else str(endpoint)
                panels.append((f"{of}: {_panel_title(str(name), str(level))}", part))
            yield str(endpoint), str(stratum), panels


def draw_vpc_panels(checked: VpcFigures, name: str = "vpc") -> list[str]:
    """One SVG for each panel, to stand in a page."""
    out = []
    with use_style():
        for i, (_, _, panels) in enumerate(checked.figures(), 1):
            for k, (title, rows) in enumerate(panels, 1):
                figure, axes = new_panel()
                _draw_vpc_panel(axes, checked, title, rows)
                out.append(to_svg(figure, f"{name}-{i}-{k}", f"visual predictive check of {title}"))
    return out


def draw_vpc_images(checked: VpcFigures) -> dict[str, bytes]:
    """A PNG for each endpoint and stratum, by its file's name."""
    import io
    import warnings

    from pbpk.report.canvas import new_figure

    out: dict[str, bytes] = {}
    with use_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter of a name that the font lacks
        for i, (_, _, panels) in enumerate(checked.figures(), 1):
            columns = min(ACROSS, len(panels))
            rows = -(-len(panels) // columns)
            figure = new_figure(columns * WIDTH, rows * HEIGHT)
            grid = figure.subplots(rows, columns, squeeze=False).ravel()
            for axes, (title, part) in zip(grid, panels, strict=False):
                _draw_vpc_panel(axes, checked, title, part)
            for axes in grid[len(panels) :]:
                axes.set_axis_off()
            out[f"vpc-{i}.png"] = _save_png(figure, io.BytesIO())
    return out


def _save_png(figure: Figure, out: Any) -> bytes:
    figure.tight_layout(pad=0.8)
    figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


def _panel_level(rows: pd.DataFrame) -> pd.Series:
    """Percentiles share a panel; each category has its own."""
    return rows["LEVEL"].astype(str).where(rows["PANEL"] == "category", "").rename("LEVELS")


def _panel_title(panel_name: str, level: str) -> str:
    if panel_name == "percentile":
        return "percentiles"
    return "Kaplan–Meier" if panel_name == "survival" else SHARES[panel_name].format(level)


def _draw_vpc_panel(axes: Axes, checked: VpcFigures, title: str, rows: pd.DataFrame) -> None:
    kind, endpoint = str(rows["PANEL"].iloc[0]), str(rows["DVID"].iloc[0])
    corrected = bool(checked.info.get("prediction_corrected")) and checked.info["kinds"].get(endpoint) == "continuous"
    if kind == "percentile":
        _draw_percentiles(axes, checked, rows, corrected)
        value = checked.units.of(endpoint, "prediction-corrected DV" if corrected else "DV")
        value += " – log scale" if axes.get_yscale() == "log" else ""
    else:
        _draw_band(
            axes, rows, BLUE, f"{checked.info['interval']:g} % of replicates", np.nan, np.nan, kind == "survival"
        )
        _draw_observed(axes, rows, "-", "observed", kind == "survival")
        axes.set_ylim(-0.03, 1.03)
        axes.legend(loc="best", handlelength=1.6, borderaxespad=0.2)
        value = "without event" if kind == "survival" else "share"
    label_axes(axes, title, checked.units.clock, value)
    axes.set_xlim(find_limits([rows["FROM"], rows["TO"]], zero=kind == "survival"))


def _draw_percentiles(axes: Axes, checked: VpcFigures, rows: pd.DataFrame, corrected: bool) -> None:
    endpoint, stratum = rows["DVID"].iloc[0], rows["STRATUM"].iloc[0]
    points = checked.points.fillna({"STRATUM": ""})
    shown_points = points[(points["DVID"] == endpoint) & (points["STRATUM"] == stratum)]
    shown_points = shown_points[~(shown_points["BELOW"] | shown_points["ABOVE"])]
    x, y = shown_points["TIME"].to_numpy(dtype=float), shown_points["DV"].to_numpy(dtype=float)
    step = max(1, -(-len(x) // MOST))
    axes.plot(x[::step], y[::step], "o", color=GREY, markersize=2.6, markeredgewidth=0, alpha=0.55, zorder=1)
    limit = {} if corrected else checked.info.get("limits", {}).get(str(endpoint), {})
    low, high = limit.get("lower", np.nan), limit.get("upper", np.nan)
    levels = sorted(rows["LEVEL"].unique(), key=float)
    for level in levels:
        part = rows[rows["LEVEL"] == level]
        middle = float(level) == 50
        first = level == levels[0] or middle
        band_label = f"{checked.info['interval']:g} % of replicates" if first and not middle else ""
        _draw_band(axes, part, ORANGE if middle else BLUE, band_label, low, high)
        _draw_observed(axes, part, "-" if middle else (0, (4, 2)), f"observed {', '.join(levels)} %" if middle else "")
    for end in (low, high):
        if np.isfinite(end):
            axes.axhline(end, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    if len(y) and is_wide(y, rows["OBSERVED"], rows["LOW"]):
        set_log_scale(axes, "y")
    axes.set_ylim(find_limits([y, rows["OBSERVED"], rows["LOW"], rows["HIGH"]], axes.get_yscale() == "log"))
    axes.legend(loc="best", handlelength=1.6, borderaxespad=0.2)


def _draw_band(
    axes: Axes, rows: pd.DataFrame, colour: str, band_label: str, low: float, high: float, steps: bool = False
) -> None:
    """From LOW to HIGH; an end that lies beyond a limit of quantification is drawn at it."""
    bottom, top = (rows[c].to_numpy(dtype=float) for c in ("LOW", "HIGH"))
    known = np.isfinite(bottom) | np.isfinite(top)
    bottom = np.where(known & ~np.isfinite(bottom), low, bottom)
    top = np.where(known & ~np.isfinite(top), high, top)
    x = rows["TIME"].to_numpy(dtype=float)
    if len(x) == 1:
        x, bottom, top = rows[["FROM", "TO"]].to_numpy(dtype=float)[0], np.repeat(bottom, 2), np.repeat(top, 2)
    where = "post" if steps else None
    axes.fill_between(
        x, bottom, top, color=colour, alpha=0.25, linewidth=0, label=band_label or "_", step=where, zorder=2
    )


def _draw_observed(axes: Axes, rows: pd.DataFrame, dashes: Any, line_label: str, steps: bool = False) -> None:
    x, y = rows["TIME"].to_numpy(dtype=float), rows["OBSERVED"].to_numpy(dtype=float)
    shape = "steps-post" if steps else "default"
    mark = "o" if len(keep_finite(y)) == 1 else ""
    axes.plot(
        *(x, y),
        color=INK,
        linestyle=dashes,
        linewidth=1.3,
        marker=mark,
        drawstyle=shape,
        label=line_label or "_",
        zorder=3,
    )
