"""A virtual population over time: median and the bands that hold half and nine tenths of it."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, did_you_mean
from pbpk.report.axes import find_limits, set_log_scale
from pbpk.report.canvas import BLUE, new_figure, use_style

BANDS = (("q05", "q95", 0.18, "90 % of patients"), ("q25", "q75", 0.38, "50 % of patients"))


def draw_bands(table: pd.DataFrame, observable: str, unit: str, time_unit: str) -> bytes:
    """A PNG of one observable, linear and semilogarithmic. `table`: time, observable, q05, q25, q50, q75, q95."""
    known = [str(k) for k in table["observable"].unique()]
    part = table[table["observable"].astype(str) == observable].sort_values("time", kind="stable")
    if part.empty:
        raise BadInput(f"there are no quantiles of `{observable}`", hint=did_you_mean(observable, known))
    numbers = part[["time", "q05", "q25", "q50", "q75", "q95"]].astype(float)
    numbers = numbers.where(np.isfinite(numbers))
    out = io.BytesIO()
    with use_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter of the observable's name that the font lacks
        figure = new_figure(9.6, 3.9)
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.075, right=0.985, bottom=0.135, top=0.9, wspace=0.2)
        _draw_band(left, numbers)
        left.set_ylim(bottom=min(0.0, left.get_ylim()[0]) if (numbers["q05"] < 0).any() else 0.0)
        left.legend(loc="best")
        positive = numbers.copy()
        positive[positive.columns[1:]] = positive.iloc[:, 1:].where(positive.iloc[:, 1:] > 0)
        if positive.iloc[:, 1:].notna().any(axis=None):
            _draw_band(right, positive)
            set_log_scale(right, "y")
        else:
            right.text(0.5, 0.5, "nothing above zero to show", ha="center", va="center", transform=right.transAxes)
        left.set_title(observable)
        right.set_title(f"{observable}, logarithmic scale")
        for axes in (left, right):
            axes.set_xlabel(f"time ({time_unit})" if time_unit else "time")
            axes.set_ylabel(f"{observable} ({unit})" if unit else observable)
            axes.set_xlim(find_limits([numbers["time"]], zero=False))
            axes.grid(alpha=0.25, linewidth=0.6)
        figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


def _draw_band(axes, numbers: pd.DataFrame) -> None:
    for low, high, alpha, label in BANDS:
        axes.fill_between(
            numbers["time"], numbers[low], numbers[high], color=BLUE, alpha=alpha, linewidth=0, label=label
        )
    marker = "o" if numbers["q50"].notna().sum() == 1 else ""
    axes.plot(numbers["time"], numbers["q50"], color=BLUE, linewidth=1.8, marker=marker, label="median")
