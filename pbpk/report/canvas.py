"""Figures without pyplot: one style, no state left behind, and SVG text that is the same each time it is made."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A9099", "#2B2F36"
MOST_LIMITS = 4  # of quantification, that a panel has lines for
MOST_POINTS = 2000  # markers in one panel; an SVG keeps each
DPI = 72
ZOOM = 1.38  # CSS pixels a point of the figure is shown at, so that text has one size in every figure

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # an ID may hold a dollar sign
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.minor.size": 1.6,
    "ytick.minor.size": 1.6,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}


def require_report_extra() -> None:
    """Raise `MissingExtra` unless matplotlib and jinja2 are there."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("the report needs matplotlib and jinja2", hint='pip install "pbpk[report]"') from None


@contextmanager
def use_style(salt: str = "pbpk") -> Iterator[None]:
    """Our style over matplotlib's own defaults, whatever the user's matplotlibrc says; given back on leaving."""
    require_report_extra()
    import matplotlib

    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(("backend", "date.epoch"))}
    with matplotlib.rc_context({**defaults, **STYLE, "svg.hashsalt": salt}):  # type: ignore[arg-type]
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, without pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI)


def new_panel(width: float = 3.7, height: float = 3.0) -> tuple[Figure, Axes]:
    """One axes with room for its labels; fixed margins, so that panels side by side line up."""
    figure = new_figure(width, height)
    left, bottom, right, top = 0.62, 0.5, 0.12, 0.32
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return figure, figure.add_axes(box)


def to_svg(figure: Figure, name: str, about: str) -> str:
    """The figure as an `<svg>` element to stand inside a page: ids made its own by `name`, no address, no date."""
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter matplotlib's own font lacks: the reader's browser will have it
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', lambda match: match[1] + name + "-", svg)
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), svg)
    svg = _compact(svg)
    opening, rest = svg.split(">", 1)
    widest = round(figure.get_figwidth() * DPI * ZOOM)
    return f'{opening} role="img" aria-label="{escape(about)}" style="max-width: {widest}px">{rest}'.strip()


def _compact(svg: str) -> str:
    """The same picture in fewer bytes: groups need no ids, and a run of markers states its style once."""
    svg = re.sub(r"\n\s*", "\n", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href=", "href=")
    return re.sub(r'<use [^>]*( style="[^"]*")/>\n(?:<use [^>]*\1/>\n)+', _styled_once, svg)


def _styled_once(run: re.Match[str]) -> str:
    return f"<g{run[1]}>\n{run[0].replace(run[1], '')}</g>\n"


def draw_empty_panel(name: str, about: str, why: str = "no finite values to show") -> str:
    """A panel that says why it is empty."""
    figure, axes = new_panel()
    axes.set_axis_off()
    axes.set_title(about)
    axes.text(0.5, 0.5, why, ha="center", va="center", color=GREY, transform=axes.transAxes)
    return to_svg(figure, name, f"{about}: {why}")


def draw_points(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    size: float = 3.6,
    alpha: float = 0.5,
    label: str = "",
    most: int = MOST_POINTS,
) -> None:
    """Markers; beyond `most` the most extreme are kept and the rest thinned evenly, and the panel says so."""
    if len(x) > most:
        extreme = most // 10
        order = np.argsort(-np.abs(y - np.median(y)), kind="stable")
        rest = np.sort(order[extreme:])
        step = -(-len(rest) // (most - extreme))
        pick = np.sort(np.concatenate([order[:extreme], rest[::step]]))
        thinned = f"{len(pick)} of {len(x)} points"
        axes.text(1, 1, thinned, ha="right", va="bottom", fontsize=7, color=GREY, transform=axes.transAxes)
        x, y = x[pick], y[pick]
    axes.plot(x, y, "o", color=BLUE, markersize=size, markeredgewidth=0, alpha=alpha, label=label or "_")


def draw_limits(axes: Axes, x: np.ndarray, limits: np.ndarray, label: str = "", size: float = 3.6) -> None:
    """Hollow markers of values of which only a limit is known, and a dotted line at each limit, where these are few."""
    if not len(x):
        return
    hollow = {"color": BLUE, "markersize": size, "markerfacecolor": "none", "markeredgewidth": 0.7}
    axes.plot(x, limits, "o", alpha=0.9, label=label or "_", **hollow)
    levels = np.unique(limits)
    for level in levels if len(levels) <= MOST_LIMITS else ():
        axes.axhline(level, color=BLUE, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)


def say_omitted(axes: Axes, count: int) -> None:
    """Say in the panel how many censored values it has no residual of."""
    if count:
        values = "1 censored value has" if count == 1 else f"{count} censored values have"
        note = f"{values} no residual"
        axes.text(0.01, 0.01, note, ha="left", va="bottom", fontsize=7, color=GREY, transform=axes.transAxes)
