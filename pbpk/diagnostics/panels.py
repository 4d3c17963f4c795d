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
    """Observed statistics (k,) against those of the replicates (k, R): the columns of the table from OBSERVED on.

    `interval` is in per cent.
    """
    tail = (1 - interval / 100) / 2
    low, middle, high = compute_percentiles(simulated, np.array([tail, 0.5, 1 - tail]))
    columns = {"OBSERVED": observed, "LOW": low, "MEDIAN": middle, "HIGH": high}
    return {k: blank_infinite(v) for k, v in columns.items()} | {"INSIDE": mark_inside(observed, low, high)}


def _walk_rows(
    panel: str, levels: list[str], bins: TimeBins, b: int, columns: dict[str, np.ndarray]
) -> Iterator[StatisticRow]:
    """A row for each level of one panel in bin `b`, with the `columns` of `compare_with_replicates`."""
    where = {
        "BIN": b + 1,
        "TIME": bins.centre[b],
        "FROM": bins.low[b],
        "TO": bins.high[b],
        "N": int((bins.index == b).sum()),
    }
    for k, level in enumerate(levels):
        yield {"PANEL": panel, "LEVEL": level, **where, **{name: float(v[k]) for name, v in columns.items()}}


def walk_percentiles(
    observed: np.ndarray,
    simulated: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray],
    bins: TimeBins,
    quantiles: tuple[float, ...],
    interval: float,
) -> Iterator[StatisticRow]:
    """Rows of percentiles (`quantiles`, per cent) in each bin, from `observed` (n,) and `simulated` (R, n) with ∓∞ beyond a
    limit; `limits`, lower and upper, (n,) each on the same scale."""
    levels = np.asarray(quantiles) / 100
    for b in range(len(bins)):
        in_bin = bins.index == b
        ends = float(limits[0][in_bin].max()), float(limits[1][in_bin].min())
        statistics = hide_beyond_limits(compute_percentiles(observed[in_bin], levels), *ends)
        expected = hide_beyond_limits(compute_percentiles(simulated[:, in_bin], levels), *ends)
        names = [f"{q:g}" for q in quantiles]
        yield from _walk_rows(PERCENTILE, names, bins, b, compare_with_replicates(statistics, expected, interval))


def walk_shares_beyond_limits(
    observed: np.ndarray, simulated: np.ndarray, bins: TimeBins, interval: float
) -> Iterator[StatisticRow]:
    """Rows of the share below the lower limit and above the upper, where values lie beyond at all: `observed` (n,) and
    `simulated` (R, n) with ∓∞ there."""
    for panel, end in ((BELOW, -np.inf), (ABOVE, np.inf)):
        if not (observed == end).any() and not (simulated == end).any():
            continue
        for b in range(len(bins)):
            in_bin = bins.index == b
            shares, expected = (
                (observed[in_bin] == end).mean(keepdims=True),
                (simulated[:, in_bin] == end).mean(axis=1)[None],
            )
            yield from _walk_rows(panel, [""], bins, b, compare_with_replicates(shares, expected, interval))


def walk_categories(
    observed: np.ndarray, simulated: np.ndarray, groups: list[tuple[str, float, float]], bins: TimeBins, interval: float
) -> Iterator[StatisticRow]:
    """Rows of the share of each group (name, least value, greatest value) in each bin."""
    for b in range(len(bins)):
        in_bin = bins.index == b
        shares = np.array([((low <= observed[in_bin]) & (observed[in_bin] <= high)).mean() for _, low, high in groups])
        replicate_shares = [
            ((low <= simulated[:, in_bin]) & (simulated[:, in_bin] <= high)).mean(axis=1) for _, low, high in groups
        ]
        yield from _walk_rows(
            CATEGORY,
            [g[0] for g in groups],
            bins,
            b,
            compare_with_replicates(shares, np.stack(replicate_shares), interval),
        )


def group_values(observed: np.ndarray, simulated: np.ndarray) -> list[tuple[str, float, float]]:
    """Groups (name, least, greatest) of grades or counts: each value by itself where they are few, else about four groups of
    equal size, of which the last has no end. Of 0 and 1 only 1 is shown: the shares add to 1."""
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
