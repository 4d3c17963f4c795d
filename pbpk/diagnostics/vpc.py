"""Visual predictive checks: percentiles, shares and survival as observed, against what the fit's own model would give.

Holford 2005 (PAGE 14:738); Karlsson & Holford 2008 (PAGE 17:1434); Bergstrand et al. 2011 for prediction correction; values
below a limit of quantification as censored, with their share beside, as Bergstrand & Karlsson 2009 (AAPS J 11:371).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.diagnostics.bins import make_bins
from pbpk.diagnostics.observations import CONTINUOUS, COUNT, EVENT, Observations, read_observations
from pbpk.diagnostics.panels import (
    COLUMNS,
    SURVIVAL,
    StatisticRow,
    compare_with_replicates,
    group_values,
    walk_categories,
    walk_percentiles,
    walk_shares_beyond_limits,
)
from pbpk.diagnostics.prediction_correction import compute_correction
from pbpk.diagnostics.simulate_replicates import drop_failed_replicates, predict_typical, simulate_replicates
from pbpk.diagnostics.strata import stratify_subjects
from pbpk.diagnostics.survival import build_follow_up, hours_per_time_unit, kaplan_meier

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.diagnostics.options import VpcOptions


@dataclass(frozen=True, eq=False)
class VpcResult:
    """`table` (panels.COLUMNS): a row for each statistic of each bin; not finite where it lies beyond a limit of
    quantification. `points`: the observations as they are set against it, prediction-corrected where that was asked for."""

    study: str
    options: VpcOptions
    table: pd.DataFrame
    points: pd.DataFrame
    limits: dict[str, dict[str, float]]
    kinds: dict[str, str]
    notes: tuple[str, ...] = field(default=())

    def count_inside(self) -> dict[str, tuple[int, int]]:
        """By panel: how many observed statistics lie inside their interval, of how many."""
        found = {}
        for panel, rows in self.table.dropna(subset=["INSIDE"]).groupby("PANEL", sort=False):
            found[str(panel)] = (int(rows["INSIDE"].sum()), len(rows))
        return found

    @property
    def verdict(self) -> str:
        return describe_inside(self.count_inside(), self.options.interval)

    def to_dict(self) -> dict[str, Any]:
        asked = {"bins": list(b) if isinstance(b := self.options.bins, tuple) else b, "bin_method": self.options.method}
        return {
            "study": self.study,
            "replicates": self.options.replicates,
            "seed": self.options.seed,
            "interval": self.options.interval,
            "quantiles": list(self.options.quantiles),
            "prediction_corrected": self.options.corrected,
            "variability_corrected": self.options.variability,
            "by": self.options.by,
            **asked,
            "kinds": self.kinds,
            "limits": self.limits,
            "inside": {k: {"inside": a, "of": n} for k, (a, n) in self.count_inside().items()},
            "verdict": self.verdict,
            "notes": list(self.notes),
            "statistics": self.table.to_dict("records"),
        }


PANEL_NAMES = {
    "percentile": "observed percentiles",
    "below": "observed shares below the limit of quantification",
    "above": "observed shares above the limit of quantification",
    "category": "observed shares of categories",
    "survival": "points of the observed survival curve",
}


def describe_inside(found: dict[str, tuple[int, int]], interval: float) -> str:
    """What is inside, and whether that is much less than it should be. Neighbouring statistics are not independent, so no p."""
    parts, poor = [], False
    for panel, (a, n) in found.items():
        parts.append(f"{a} of {n} {PANEL_NAMES[panel]} ({100 * a / n:.0f} %) lie inside their {interval:g} % interval")
        share = interval / 100
        poor = poor or a / n < share - max(2.5 * float(np.sqrt(share * (1 - share) / n)), 0.05)
    if not parts:
        return "There is nothing to judge by."
    told = "fewer than the model would give: look where they lie outside" if poor else "as the model would give"
    return f"{'; '.join(parts)}: {told}."


def run_vpc(
    fit: FittedStudy, options: VpcOptions, progress: Callable[[int, int], None] = lambda done, of: None
) -> VpcResult:
    """Raises `WrongUsage` for the plan, `BadInput` for an endpoint or covariate that is not there, `ScienceFailed` where many
    replicates cannot be solved."""
    options.check()
    observed = read_observations(fit.study, fit.problem)
    asked, (names, stratum) = observed.select_endpoints(options.endpoint), stratify_subjects(fit.study, options.by)
    rows: list[StatisticRow] = []
    points: list[pd.DataFrame] = []
    notes = [*fit.notes, *observed.notes]
    binned = [e for e in asked if observed.kinds[e] != EVENT]
    if binned:
        simulated = simulate_replicates(fit.problem, fit.psi, options.replicates, options.seed, progress)
        pred = predict_typical(fit.problem, fit.psi) / observed.scale
        simulated, told = drop_failed_replicates(simulated / observed.scale, fit.study.name)
        notes += told
        for endpoint in binned:
            for k, name in enumerate(names):
                own = (observed.table["DVID"] == endpoint).to_numpy() & (stratum[observed.subject] == k)
                if own.any():
                    found, part, told = _compare_binned(observed, own, simulated, pred, endpoint, options)
                    rows += [{"DVID": endpoint, "STRATUM": name, **r} for r in found]
                    points.append(part.assign(STRATUM=name))
                    notes += told
    for endpoint in (e for e in asked if observed.kinds[e] == EVENT):
        found, part, told = _compare_survival(fit, endpoint, options, names, stratum, progress)
        rows += found
        points.append(part)
        notes += told
    return VpcResult(
        fit.study.name,
        options,
        pd.DataFrame(rows, columns=list(COLUMNS)),
        pd.concat(points, ignore_index=True),
        _list_limits(observed, asked),
        {e: observed.kinds[e] for e in asked},
        tuple(dict.fromkeys(notes)),
    )


def _compare_binned(
    o: Observations, own: np.ndarray, simulated: np.ndarray, pred: np.ndarray, endpoint: str, options: VpcOptions
) -> tuple[list[StatisticRow], pd.DataFrame, list[str]]:
    """One endpoint in one stratum."""
    part, notes = o.table[own], []
    time = part["TIME"].to_numpy(dtype=float)
    bins = make_bins(time, options.bins, options.method, part["ID"].nunique())
    if out := int((bins.index < 0).sum()):
        notes.append(f"{out} observations of {endpoint} lie outside the bins")
    seen, drawn = o.ranked_values[own], simulated[:, own]
    expected = o.rank_censored(drawn, drawn < o.lower[own], drawn > o.upper[own])
    kind, shares = o.kinds[endpoint], list(walk_shares_beyond_limits(seen, expected, bins, options.interval))
    if kind != CONTINUOUS:
        groups = group_values(seen, drawn)
        found = (
            list(walk_percentiles(seen, expected, _select_limits(o, own), bins, options.quantiles, options.interval))
            if kind == COUNT
            else []
        )
        return [*found, *walk_categories(seen, drawn, groups, bins, options.interval)], part, notes
    ends, dv = _select_limits(o, own), part["DV"].to_numpy(dtype=float)
    if options.corrected:
        additive = bool(o.additive[own].all())
        by = compute_correction(pred[own], bins.index, additive, drawn, options.variability, endpoint)
        if lost := int((~by.kept & (bins.index >= 0)).sum()):
            notes.append(f"{lost} observations of {endpoint} left out: a prediction of 0 cannot be corrected")
            bins = bins.exclude(~by.kept)
        seen, expected, dv = by(seen), by(expected), by(dv)
        ends = by(ends[0]), by(ends[1])
    found = list(walk_percentiles(seen, expected, ends, bins, options.quantiles, options.interval))
    return [*found, *shares], part.assign(DV=np.where(bins.index >= 0, dv, np.nan)), notes


def _select_limits(o: Observations, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return o.lower[own], o.upper[own]


def _compare_survival(
    fit: FittedStudy,
    endpoint: str,
    options: VpcOptions,
    names: list[str],
    stratum: np.ndarray,
    progress: Callable[[int, int], None],
) -> tuple[list[StatisticRow], pd.DataFrame, list[str]]:
    """Kaplan–Meier of the time to the first event, in each stratum."""
    study, unit = fit.study, hours_per_time_unit(fit.study)
    laid = build_follow_up(study, fit.problem, endpoint)
    drawn, notes = drop_failed_replicates(
        simulate_replicates(laid.problem, fit.psi, options.replicates, options.seed, progress), endpoint
    )
    if laid.has_repeated_events:
        notes.append(f"{endpoint} happens more than once: its curve is of the time to the first")
    time, event = laid.find_first_events(drawn)
    rows: list[StatisticRow] = []
    for k, name in enumerate(names):
        own = stratum == k
        grid = laid.grid[laid.grid <= laid.time[own].max()]
        seen = kaplan_meier(laid.time[own], laid.event[own], grid)
        curves = np.stack([kaplan_meier(t[own], e[own], grid) for t, e in zip(time, event, strict=True)], axis=1)
        # A replicate in which everybody's event came sooner has no one left: its survival is 0 there.
        found = compare_with_replicates(seen, np.where(np.isnan(curves), 0.0, curves), options.interval)
        for i, at in enumerate(grid / unit):
            where = {"BIN": i + 1, "TIME": at, "FROM": at, "TO": at, "N": int((laid.time[own] >= grid[i]).sum())}
            values = {name: float(v[i]) for name, v in found.items()}
            rows.append({"DVID": endpoint, "STRATUM": name, "PANEL": SURVIVAL, "LEVEL": "", **where, **values})
    points = pd.DataFrame(
        {
            "ID": study.subjects,
            "TIME": laid.time / unit,
            "DVID": endpoint,
            "DV": laid.event.astype(float),
            "BELOW": False,
            "ABOVE": False,
            "STRATUM": [names[k] for k in stratum],
        }
    )
    return rows, points, notes


def _list_limits(o: Observations, asked: list[str]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for endpoint in asked:
        own = (o.table["DVID"] == endpoint).to_numpy()
        ends = {"lower": float(o.lower[own].max()), "upper": float(o.upper[own].min())}
        if known := {k: v for k, v in ends.items() if np.isfinite(v)}:
            out[endpoint] = known
    return out
