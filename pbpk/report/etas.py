"""Are the individual deviations what the model takes them to be: normal, around zero, as wide as ω says?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pbpk.report.axes import keep_finite, label_axes
from pbpk.report.canvas import BLUE, GREY, ORANGE, draw_empty_panel, new_panel, to_svg, use_style
from pbpk.report.normal_quantiles import draw_normal_quantiles


def draw_eta_distributions(individual: pd.DataFrame, variances: dict[str, float], name: str = "eta") -> list[str]:
    """For each η: its histogram under the normal of the estimated ω, and its quantiles against that normal's."""
    out = []
    with use_style():
        for i, column in enumerate((c for c in individual.columns if c.startswith("ETA_")), 1):
            on = column.removeprefix("ETA_")
            eta, variance = keep_finite(individual[column]), variances.get(on, np.nan)
            omega = float(np.sqrt(variance)) if np.isfinite(variance) and variance > 0 else np.nan
            out.append(_draw_histogram(eta, omega, on, f"{name}-{i}-hist"))
            scaled = eta / omega if np.isfinite(omega) else np.empty(0)
            out.append(
                draw_normal_quantiles(scaled, f"η on {on} against its normal", f"η / ω on {on}", f"{name}-{i}-qq")
            )
    return out


def _draw_histogram(eta: np.ndarray, omega: float, on: str, name: str) -> str:
    title = f"η on {on}"
    if not len(eta):
        return draw_empty_panel(name, title)
    figure, axes = new_panel()
    spread = omega if np.isfinite(omega) else 0.0
    reach = 1.05 * max(3 * spread, np.abs(eta).max(), 1e-8)
    bins = np.linspace(-reach, reach, 2 * int(np.clip(np.sqrt(len(eta)), 5, 20)) + 1)
    axes.hist(eta, bins=list(bins), density=True, color=BLUE, alpha=0.45, edgecolor="white", linewidth=0.6)
    if np.isfinite(omega):
        grid = np.linspace(-reach, reach, 161)
        density = np.exp(-0.5 * (grid / omega) ** 2) / (omega * np.sqrt(2 * np.pi))
        axes.plot(grid, density, color=ORANGE, label="normal, estimated ω")
        axes.set_ylim(0, 1.25 * max(density.max(), axes.get_ylim()[1] / 1.05))
        axes.legend(loc="upper right", handlelength=1.4, borderaxespad=0.1)
    axes.axvline(0, ymax=0.8, color=GREY, linewidth=0.8, zorder=0)
    axes.set_xlim(-reach, reach)
    label_axes(axes, title, title, "density")
    return to_svg(figure, name, f"distribution of {title}")
