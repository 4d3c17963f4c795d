"""Bins of time, in which observations are taken together: natural breaks, equal counts, equal widths, or stated edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pbpk.errors import BadInput, did_you_mean

BIN_METHODS = ("jenks", "quantile", "time")
_MOST_DISTINCT = 600  # values that natural breaks choose among: the search is quadratic in them; more are first grouped


@dataclass(frozen=True, eq=False)
class TimeBins:
    """`index` (n,): the bin of each observation, −1 for none; by bin, `centre`, `low`, `high`: the median, least and greatest
    time."""

    index: np.ndarray
    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return len(self.centre)

    def exclude(self, excluded: np.ndarray) -> TimeBins:
        """The same bins without the observations of a mask (n,); one that is left empty is no bin."""
        where = np.where(excluded, -1, self.index)
        used = np.unique(where[where >= 0])
        renumbered = np.where(where >= 0, np.searchsorted(used, where), -1)
        return TimeBins(renumbered, self.centre[used], self.low[used], self.high[used])


def choose_bin_count(observations: int, subjects: int) -> int:
    """As many bins as a subject has observations, between 4 and 15, with ten observations or more in each on average."""
    per = round(observations / max(subjects, 1))
    return max(1, min(max(4, min(per, 15)), observations // 10))


def make_bins(time: np.ndarray, bins: int | tuple[float, ...] | None, method: str, subjects: int) -> TimeBins:
    """The bins of observations at `time` (n,), of that many subjects. `bins`: how many, or their edges (a time on an inner edge
    belongs to the bin that begins there). `method` is one of `BIN_METHODS`.

    Raises `BadInput` for an unknown method, or where no observation lies inside the edges.
    """
    if method not in BIN_METHODS:
        raise BadInput(f"no way of binning called `{method}`", hint=did_you_mean(method, BIN_METHODS))
    if isinstance(bins, tuple):
        return _assign_bins(time, np.asarray(bins, dtype=float), closed=True)
    distinct = np.unique(time)
    count = bins or choose_bin_count(len(time), subjects)
    if len(distinct) <= count:
        return _assign_bins(time, np.append(distinct, np.inf))
    if method == "time":
        edges = np.linspace(distinct[0], distinct[-1], count + 1)[:-1]
    elif method == "quantile":
        edges = np.unique(np.quantile(time, np.arange(count) / count, method="higher"))
    else:
        edges = find_natural_breaks(time, count)
    return _assign_bins(time, np.append(edges, np.inf))


def _assign_bins(time: np.ndarray, edges: np.ndarray, closed: bool = False) -> TimeBins:
    """Bins from `edges`, each closed below and open above; `closed`: the last one also above."""
    where = np.searchsorted(edges, time, side="right") - 1
    if closed:
        where = np.where(time == edges[-1], len(edges) - 2, where)
    where = np.where((where < 0) | (where > len(edges) - 2), -1, where)
    used = np.unique(where[where >= 0])
    if not len(used):
        raise BadInput("no observation lies inside the bins", why=f"times are {time.min():g} to {time.max():g}")
    where = np.where(where >= 0, np.searchsorted(used, where), -1)
    parts = [time[where == b] for b in range(len(used))]
    return TimeBins(where, *(np.array([f(p) for p in parts]) for f in (np.median, np.min, np.max)))


def find_natural_breaks(values: np.ndarray, count: int) -> np.ndarray:
    """The first value of each of `count` classes with the least sum of squares within (Fisher 1958; Jenks 1967), exactly, by
    dynamic programming over the distinct values."""
    x, weight = np.unique(values, return_counts=True)
    if len(x) > _MOST_DISTINCT:
        group = np.searchsorted(np.quantile(x, np.linspace(0, 1, _MOST_DISTINCT + 1)[1:-1]), x)
        keep = np.unique(group, return_index=True)[1]
        weight = np.add.reduceat(weight, keep)
        x = x[keep]
    n = len(x)
    s0, s1, s2 = (np.concatenate([[0.0], np.cumsum(weight * x**k)]) for k in (0, 1, 2))
    first, last = np.arange(n)[:, None], np.arange(1, n + 1)[None, :]  # a class is x[first:last]
    w = np.where(last > first, s0[last] - s0[first], 1.0)
    within = np.where(last > first, s2[last] - s2[first] - (s1[last] - s1[first]) ** 2 / w, np.inf)
    best, back = within[0], []
    for _ in range(1, count):
        total = np.concatenate([[np.inf], best[:-1]])[:, None] + within
        back.append(total.argmin(axis=0))
        best = total.min(axis=0)
    starts, end = [], n - 1
    for choice in reversed(back):
        starts.append(int(choice[end]))
        end = starts[-1] - 1
    return x[[0, *reversed(starts)]]
