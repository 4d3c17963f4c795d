"""Scenarios over time: a panel for each observable, in it a line for each scenario, with its band where there are patients."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pbpk.report.axes import find_limits, is_wide, keep_finite, set_log_scale
from pbpk.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, new_figure, use_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# The rest of Okabe and Ito's palette, but for its yellow, which is too pale for a line.
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))
WIDTH, HEIGHT = 3.5, 2.7  # of a panel, in inches
FEW = 10  # times up to which each is marked
LEAST = 1e-6  # of the largest value: what a logarithmic scale shows at all


class CurvesPanel(NamedTuple):
    """`lines`, by scenario: values (T,), or a population's q05, q25, q50, q75 and q95 (5, T)."""

    name: str
    about: str
    unit: str
    lines: Mapping[str, np.ndarray]


class LineLook(NamedTuple):
    """How a scenario's line is drawn, and its label in the legend."""

    colour: object
    dash: object
    label: str


def draw_curves(
    time: np.ndarray,
    time_unit: str,
    panels: Sequence[CurvesPanel],
    scenarios: Mapping[str, Mapping[str, str]],
    varied: str,
) -> bytes:
    """A PNG. `scenarios`: each one's settings, what was varied and its value; `varied`: the title of their legend.

    There is no legend where there is but one scenario of no name.
    """
    out = io.BytesIO()
    columns = min(len(panels), 2 if len(panels) in (2, 4) else 3)
    rows = -(-len(panels) // columns)
    shape = (5.6, 3.5) if len(panels) == 1 else (WIDTH * columns, HEIGHT * rows)
    with use_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter of a name that the font lacks
        looks = _choose_looks(scenarios)
        figure = new_figure(*shape)
        figure.set_layout_engine("constrained")
        legend = _add_legend(figure, looks, varied) if list(looks) != [""] else None
        if legend is not None:
            figure.set_figheight(shape[1] + _legend_height(figure, legend))
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, columns, place)
            _draw_curves_panel(
                axes, time, panel, looks, [p.lines for p in panels if _panel_kind(p) == _panel_kind(panel)]
            )
            axes.set_xlabel(f"time ({time_unit})" if time_unit else "time", color=INK)
        figure.savefig(out, format="png", dpi=130, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return out.getvalue()


def _panel_kind(panel: CurvesPanel) -> tuple[str, str]:
    """Panels of one kind share a scale: `lesion_1`, `lesion_2` …"""
    return re.sub(r"_\d+(?=_|$)", "", panel.name), panel.unit


def _draw_curves_panel(
    axes: Axes,
    time: np.ndarray,
    panel: CurvesPanel,
    looks: Mapping[str, LineLook],
    kin: Sequence[Mapping[str, np.ndarray]],
) -> None:
    log, low, high = _choose_scale([np.atleast_2d(values) for lines in kin for values in lines.values()])
    if log:
        set_log_scale(axes, "y", minor=high / low < 1e4)
    for scenario, values in panel.lines.items():
        pen, curves = _line_options(looks[scenario]), np.atleast_2d(values)
        middle, marker = curves[len(curves) // 2], "o" if len(time) <= FEW else ""
        if len(curves) > 1:
            lower = np.maximum(curves[0], low) if log else curves[0]
            axes.fill_between(time, lower, curves[-1], color=pen["color"], alpha=0.13, linewidth=0)
        middle = np.where(middle > 0, middle, np.nan) if log else middle
        axes.plot(time, middle, linewidth=1.6, marker=marker, markersize=3, **pen)
    if not any(len(keep_finite(values)) for values in panel.lines.values()):
        axes.text(0.5, 0.5, "no finite values to show", ha="center", va="center", color=GREY, transform=axes.transAxes)
    axes.set_ylim(low, high)
    axes.set_xlim(find_limits([time], zero=False))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_title(panel.name)
    about = f"{panel.about} ({panel.unit})" if panel.unit else panel.about
    axes.set_ylabel("\n".join(textwrap.wrap(about, 32)), color=INK)


def _choose_scale(curves: Sequence[np.ndarray]) -> tuple[bool, float, float]:
    """Whether logarithmic, and its ends; zero is in sight where it is linear."""
    if _wants_log([c[len(c) // 2] for c in curves]):
        past = np.concatenate([keep_finite(_past_peak(row)) for c in curves for row in c])
        past = past[past > LEAST * past.max()]
        return True, float(past.min()) / 1.3, float(past.max()) * 1.4
    low, high = find_limits(curves)
    return False, low if any((keep_finite(c) < 0).any() for c in curves) else 0.0, high


def _past_peak(curve: np.ndarray) -> np.ndarray:
    return curve[int(np.nanargmax(curve)) :] if np.isfinite(curve).any() else curve[:0]


def _wants_log(curves: Sequence[np.ndarray]) -> bool:
    """Whether a wide range is spanned from each curve's peak on: what rises from nothing after a dose does not count."""
    past = [keep_finite(_past_peak(c)) for c in curves]
    highest = max((float(c.max()) for c in past if len(c)), default=0.0)
    if highest <= 0 or min(float(keep_finite(c).min()) for c in curves if len(keep_finite(c))) < -LEAST * highest:
        return False
    return is_wide(*(c[c > LEAST * highest] for c in past))


def _choose_looks(scenarios: Mapping[str, Mapping[str, str]]) -> dict[str, LineLook]:
    """Colour by what varies first, dashes by the rest; where either runs out, colours along a scale."""
    firsts = list(dict.fromkeys(next(iter(s.values()), "") for s in scenarios.values()))
    rests = list(dict.fromkeys(tuple(s.values())[1:] for s in scenarios.values()))
    enough = len(firsts) <= len(COLOURS) and len(rests) <= len(DASHES)
    looks = {}
    for k, (name, settings) in enumerate(scenarios.items()):
        first, rest = next(iter(settings.values()), ""), tuple(settings.values())[1:]
        i, j = firsts.index(first), rests.index(rest)
        label = first if len(settings) == 1 else name
        if enough:
            looks[name] = LineLook(COLOURS[i], DASHES[i % len(DASHES) if len(rests) == 1 else j], label)
        else:
            from matplotlib import colormaps

            colour = colormaps["viridis"](0.95 * k / (len(scenarios) - 1))
            looks[name] = LineLook(colour, DASHES[k % len(DASHES)], label)
    return looks


def _add_legend(figure: Figure, looks: Mapping[str, LineLook], title: str) -> Legend:
    """Below all panels, in as many columns as fit."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], linewidth=1.6, **_line_options(look)) for look in looks.values()]
    labels = ["\n".join(textwrap.wrap(look.label, 78)) for look in looks.values()]
    longest = max(len(line) for label in labels for line in label.splitlines())
    fit = max(1, int(figure.get_figwidth() // (0.55 + 0.075 * longest)))
    ncols = min(fit, len(labels))
    return figure.legend(lines, labels, title=title, ncols=ncols, loc="outside lower center", handlelength=2.8)


def _line_options(look: LineLook) -> dict[str, Any]:
    return {"color": look.colour, "linestyle": look.dash}


def _legend_height(figure: Figure, legend: Legend) -> float:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    return legend.get_window_extent(FigureCanvasAgg(figure).get_renderer()).height / figure.dpi
