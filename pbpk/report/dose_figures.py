"""Figures of dose: by organ with its interval, and as a dose rate over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pbpk.report.axes import keep_finite, set_log_scale
from pbpk.report.canvas import BLUE, INK, ORANGE, new_figure, use_style
from pbpk.report.curves import CurvesPanel, draw_curves

if TYPE_CHECKING:
    from pbpk.dosimetry.curves import DoseCourse

MOST = 6  # panels of dose rates
_ROW = 0.21  # inches
_DECADES = 1e-4  # of the largest dose: what is shown at all
_BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)


class DoseBar(NamedTuple):
    """A dose with its interval, None where there is none. `marked` stands out: a lesion."""

    value: float
    interval: tuple[float, float] | None = None
    marked: bool = False


def draw_doses(doses: Mapping[str, DoseBar], unit: str, title: str, interval: str = "") -> bytes:
    """A PNG: a line for each target, the highest dose on top, on a logarithmic scale; `interval` says what the lines are."""
    top = max((d.value for d in doses.values() if np.isfinite(d.value)), default=0.0)
    rows = sorted(((k, d) for k, d in doses.items() if d.value > _DECADES * top), key=lambda x: x[1].value)
    out = io.BytesIO()
    with use_style():
        figure = new_figure(5.6, max(2.2, 0.9 + _ROW * len(rows)))
        figure.set_layout_engine("constrained")
        axes = figure.add_subplot()
        for i, (_, d) in enumerate(rows):
            colour = ORANGE if d.marked else BLUE
            if d.interval is not None:
                axes.plot(d.interval, (i, i), color=colour, linewidth=1.6, alpha=0.55, solid_capstyle="butt")
            axes.plot(d.value, i, "o", color=colour, markersize=4.2, markeredgewidth=0)
        axes.set_yticks(range(len(rows)), [k.replace("_", " ") for k, _ in rows])
        axes.set_ylim(-0.7, len(rows) - 0.3)
        if rows:
            every = keep_finite([x for _, d in rows for x in (d.value, *(d.interval or ())) if x > 0])
            set_log_scale(axes, "x", minor=every.max() / every.min() < 1e4)
        axes.set_xlabel(f"absorbed dose ({unit})" + (f"\n{interval}" if interval else ""), color=INK)
        axes.set_title(title)
        axes.grid(axis="x", alpha=0.25, linewidth=0.6)
        figure.savefig(out, format="png", dpi=130, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return out.getvalue()


def draw_dose_rates(course: DoseCourse, targets: Sequence[str], until: float) -> bytes:
    """A PNG: the dose rate of each of `targets` to `until` h; the median with its bands of 50 and 90 % where there are
    patients."""
    shown_rates = course.time <= until
    panels = []
    for t in targets:
        rate = np.asarray(course.rate(t))[shown_rates]
        line = np.nanquantile(rate, _BANDS, axis=1) if rate.shape[1] > 1 else rate[:, 0]
        panels.append(CurvesPanel(t, "dose rate", "Gy/h", {"": line}))
    return draw_curves(course.time[shown_rates], "h", panels, {"": {}}, "")


def select_highest(course: DoseCourse, always: Sequence[str], but: Sequence[str] = ()) -> list[str]:
    """`always`, and the targets of most dose, up to `MOST` or as many as the first are."""
    dose = {t: float(np.nanmedian(np.asarray(course.dose(t))[-1])) for t in course.targets if t not in but}
    rest = sorted((t for t in dose if t not in always and dose[t] > 0), key=lambda t: -dose[t])
    return [*rest[: max(MOST - len(always), 0)], *always]
