"""The numbers of a VPC, bin by bin: an observed statistic and its distribution over the replicates.

A statistic is a percentile, a share beyond a limit of quantification, or the share of a category.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.diagnostics.percentiles import blank_infinite, compute_percentiles, hide_beyond_limits, mark_inside

if TYPE_CHECKING:
    from pbpk.diagnostics.bins import TimeBins

COLUMNS = (
    "DVID",
    "STRATUM",
    "PANEL",
    "LEVEL",
    "BIN",
    "TIME",
    "FROM",
    "TO",
    "N",
    "OBSERVED",
    "LOW",
    "MEDIAN",
    "HIGH",
    "INSIDE",
)
PERCENTILE, BELOW, ABOVE, CATEGORY, SURVIVAL = "percentile", "below", "above", "category", "survival"
StatisticRow = dict[str, Any]


def compare_with_replicates(observed: np.ndarray, simulated: np.ndarray, interval: float) -> dict[str, np.ndarray]:
    """Observed statistics (k,) against those of the replicates (k, R): the columns of the table from OBSERVED on."""
    tail = (1 - interval / 100) / 2
    low, middle, high = compute_percentiles(simulated, np.array([tail, 0.5, 1 - tail]))
    found = {"OBSERVED": observed, "LOW": low, "MEDIAN": middle, "HIGH": high}
    return {k: blank_infinite(v) for k, v in found.items()} | {"INSIDE": mark_inside(observed, low, high)}


def _walk_rows(panel: str, levels: list[str], bins: TimeBins, b: int, found: dict[str, np.ndarray]) -> Iterator[StatisticRow]:
    where = {
        "BIN": b + 1,
        "TIME": bins.centre[b],
        "FROM": bins.low[b],
        "TO": bins.high[b],
        "N": int((bins.index == b).sum()),
    }
    for k, level in enumerate(levels):
        yield {"PANEL": panel, "LEVEL": level, **where, **{name: float(v[k]) for name, v in found.items()}}


def walk_percentiles(
    observed: np.ndarray,
    simulated: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray],
    bins: TimeBins,
    quantiles: tuple[float, ...],
    interval: float,
) -> Iterator[StatisticRow]:
    """`observed` (n,) and `simulated` (R, n) with ∓∞ beyond a limit; `limits` (n,) each, on the same scale."""
    levels = np.asarray(quantiles) / 100
    for b in range(len(bins)):
        own = bins.index == b
        ends = float(limits[0][own].max()), float(limits[1][own].min())
        seen = hide_beyond_limits(compute_percentiles(observed[own], levels), *ends)
        expected = hide_beyond_limits(compute_percentiles(simulated[:, own], levels), *ends)
        names = [f"{q:g}" for q in quantiles]
        yield from _walk_rows(PERCENTILE, names, bins, b, compare_with_replicates(seen, expected, interval))


def walk_shares_beyond_limits(observed: np.ndarray, simulated: np.ndarray, bins: TimeBins, interval: float) -> Iterator[StatisticRow]:
    """The share below the lower limit and above the upper, where values lie beyond at all."""
    for panel, end in ((BELOW, -np.inf), (ABOVE, np.inf)):
        if not (observed == end).any() and not (simulated == end).any():
            continue
        for b in range(len(bins)):
            own = bins.index == b
            seen, expected = (observed[own] == end).mean(keepdims=True), (simulated[:, own] == end).mean(axis=1)[None]
            yield from _walk_rows(panel, [""], bins, b, compare_with_replicates(seen, expected, interval))


def walk_categories(
    observed: np.ndarray, simulated: np.ndarray, groups: list[tuple[str, float, float]], bins: TimeBins, interval: float
) -> Iterator[StatisticRow]:
    """The share of each group (name, least, greatest)."""
    for b in range(len(bins)):
        own = bins.index == b
        seen = np.array([((low <= observed[own]) & (observed[own] <= high)).mean() for _, low, high in groups])
        each = [((low <= simulated[:, own]) & (simulated[:, own] <= high)).mean(axis=1) for _, low, high in groups]
        yield from _walk_rows(CATEGORY, [g[0] for g in groups], bins, b, compare_with_replicates(seen, np.stack(each), interval))


def group_values(observed: np.ndarray, simulated: np.ndarray) -> list[tuple[str, float, float]]:
    """Every grade or count by itself where they are few, else about four groups of equal size; the last has no end."""
    values = np.unique(np.concatenate([observed, simulated.ravel()]))
    if len(values) == 2 and set(values) == {0.0, 1.0}:
        return [("1", 1.0, 1.0)]
    if len(values) <= 6:
        return [(f"{v:g}", v, v) for v in values]
    starts = np.unique(np.append(values[0], np.quantile(observed, (0.25, 0.5, 0.75), method="higher")))
    ends = np.append(starts[1:] - 1, np.inf)
    names = [
        f"{a:g}" if a == z else f"{a:g}–{z:g}" if np.isfinite(z) else f"≥ {a:g}"
        for a, z in zip(starts, ends, strict=True)
    ]
    return list(zip(names, map(float, starts), map(float, ends), strict=True))
