"""Normalised prediction distribution errors: against a normal's quantiles and density, over time and over the prediction."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.diagnostics.bins import make_bins
from pbpk.diagnostics.normality import compute_percentile_bands
from pbpk.report.axes import find_limits, label_axes
from pbpk.report.canvas import BLUE, GREY, INK, ORANGE, draw_empty_panel, draw_points, new_panel, to_svg, use_style
from pbpk.run_folders.read import ObservationUnits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = (5.0, 50.0, 95.0)
MOST_BINS = 10


def draw_npde_panels(table: pd.DataFrame, endpoint: str, units: ObservationUnits, name: str = "npde") -> list[str]:
    """Four SVGs of one endpoint. `table`: ID TIME DVID NPDE NPD PRED."""
    part = _draw_part(table, endpoint)
    if len(part) < 3:
        with use_style():
            return [draw_empty_panel(name, f"NPDE of {endpoint}", "fewer than three errors")]
    out = []
    with use_style():
        for key, (draw, about) in DRAWN.items():
            figure, axes = new_panel()
            draw(axes, part, endpoint, units)
            out.append(to_svg(figure, f"{name}-{key}", f"NPDE of {endpoint} {about}"))
    return out


def draw_npde_images(table: pd.DataFrame, units: ObservationUnits) -> dict[str, bytes]:
    """A PNG for each endpoint, by its file's name."""
    import io
    import warnings

    from pbpk.report.canvas import new_figure

    out: dict[str, bytes] = {}
    with use_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, endpoint in enumerate(table["DVID"].unique(), 1):
            part = _draw_part(table, str(endpoint))
            if len(part) < 3:
                continue
            figure = new_figure(8.4, 6.6)
            for axes, (draw, _) in zip(figure.subplots(2, 2).ravel(), DRAWN.values(), strict=True):
                draw(axes, part, str(endpoint), units)
            figure.tight_layout(pad=0.8)
            picture = io.BytesIO()
            figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
            out[f"npde-{i}.png"] = picture.getvalue()
    return out


def _draw_part(table: pd.DataFrame, endpoint: str) -> pd.DataFrame:
    part = table[table["DVID"].astype(str) == endpoint]
    return part[np.isfinite(part["NPDE"].to_numpy(dtype=float))]


def _draw_quantiles(axes: Axes, part: pd.DataFrame, endpoint: str, units: ObservationUnits) -> None:
    values, normal = np.sort(part["NPDE"].to_numpy(dtype=float)), NormalDist()
    n = len(values)
    at = np.array([normal.inv_cdf((i + 0.5) / n) for i in range(n)])
    some = np.unique(np.linspace(0, n - 1, min(n, 60)).round().astype(int))
    band = compute_percentile_bands(n, tuple(100 * some / max(n - 1, 1)))
    axes.fill_between(at[some], *band.T, color=BLUE, alpha=0.2, linewidth=0, label="95 % of normal samples")
    draw_points(axes, at, values)
    reach = 1.08 * max(2.0, np.abs(at).max(), np.abs(values).max())
    axes.plot([-reach, reach], [-reach, reach], color=GREY, linewidth=0.8, zorder=0)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.legend(loc="upper left", handlelength=1.4, borderaxespad=0.1)
    label_axes(axes, f"NPDE of {endpoint}", "quantile of a standard normal", "NPDE")


def _draw_histogram(axes: Axes, part: pd.DataFrame, endpoint: str, units: ObservationUnits) -> None:
    values = part["NPDE"].to_numpy(dtype=float)
    reach = max(3.0, 1.05 * np.abs(values).max())
    edges = np.linspace(-reach, reach, 2 * int(np.clip(np.sqrt(len(values)), 5, 20)) + 1)
    axes.hist(values, bins=list(edges), density=True, color=BLUE, alpha=0.45, edgecolor="white", linewidth=0.6)
    grid = np.linspace(-reach, reach, 161)
    axes.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color=ORANGE, label="standard normal")
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    axes.legend(loc="upper right", handlelength=1.4, borderaxespad=0.1)
    label_axes(axes, "Distribution", "NPDE", "density")


def _draw_over_time(axes: Axes, part: pd.DataFrame, endpoint: str, units: ObservationUnits) -> None:
    _draw_over(axes, part, "TIME")
    label_axes(axes, "Over time", units.clock, "NPDE")


def _draw_over_prediction(axes: Axes, part: pd.DataFrame, endpoint: str, units: ObservationUnits) -> None:
    _draw_over(axes, part, "PRED")
    label_axes(axes, "Over the prediction", units.of(endpoint, "PRED"), "NPDE")


def _draw_over(axes: Axes, part: pd.DataFrame, column: str) -> None:
    """Dots, their percentiles bin by bin, and the bands in which those of a standard normal would lie."""
    x, y = part[column].to_numpy(dtype=float), part["NPDE"].to_numpy(dtype=float)
    bins = make_bins(x, max(1, min(MOST_BINS, len(x) // 10)), "quantile", part["ID"].nunique())
    counts = [int((bins.index == b).sum()) for b in range(len(bins))]
    each = np.stack([compute_percentile_bands(n, LEVELS) for n in counts])
    stratum = np.stack([np.quantile(y[bins.index == b], np.array(LEVELS) / 100) for b in range(len(bins))])
    draw_points(axes, x, y, size=3.0, alpha=0.35)
    for k, level in enumerate(LEVELS):
        edges = np.append(bins.low, bins.high[-1])
        band = np.append(each[:, k], each[-1:, k], axis=0)
        colour = ORANGE if level == 50 else BLUE
        label_once = "95 % of normal samples" if k == 0 else "_"
        axes.fill_between(edges, *band.T, color=colour, alpha=0.22, linewidth=0, step="post", label=label_once)
        mark = "o" if len(bins) == 1 else ""
        axes.plot(
            bins.centre, stratum[:, k], color=INK, linewidth=1.1, marker=mark, label="5, 50, 95 %" if k == 0 else "_"
        )
    reach = 1.35 * max(3.0, float(np.abs(y).max()))
    axes.set_ylim(-reach, reach)
    axes.set_xlim(find_limits([x], zero=False))
    axes.legend(loc="upper right", ncols=2, handlelength=1.4, borderaxespad=0.1)


DRAWN = {
    "qq": (_draw_quantiles, "against a standard normal"),
    "hist": (_draw_histogram, "and the normal density"),
    "time": (_draw_over_time, "over time"),
    "pred": (_draw_over_prediction, "over the prediction"),
}
