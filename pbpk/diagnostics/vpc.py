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


PANEL_NAMES = {
    "percentile": "observed percentiles",
    "below": "observed shares below the limit of quantification",
    "above": "observed shares above the limit of quantification",
    "category": "observed shares of categories",
    "survival": "points of the observed survival curve",
}


@dataclass(frozen=True, eq=False)
class VpcResult:
    """`table` (panels.COLUMNS): a row for each statistic of each bin; not finite where it lies beyond a limit of
    quantification. `points`: the observations as they are set against it, prediction-corrected where that was asked for.
    `limits` of quantification and `kinds` are by endpoint."""

    study: str
    options: VpcOptions
    table: pd.DataFrame
    points: pd.DataFrame
    limits: dict[str, dict[str, float]]
    kinds: dict[str, str]
    notes: tuple[str, ...] = field(default=())

    def count_inside(self) -> dict[str, tuple[int, int]]:
        """By panel: how many observed statistics lie inside their interval, of how many."""
        counts = {}
        for panel, rows in self.table.dropna(subset=["INSIDE"]).groupby("PANEL", sort=False):
            counts[str(panel)] = (int(rows["INSIDE"].sum()), len(rows))
        return counts

    @property
    def verdict(self) -> str:
        """A sentence: what lies inside, and whether that is as the model would give."""
        return describe_inside(self.count_inside(), self.options.interval)

    def to_dict(self) -> dict[str, Any]:
        """The result as vpc.json has it."""
        bins = self.options.bins
        return {
            "study": self.study,
            "replicates": self.options.replicates,
            "seed": self.options.seed,
            "interval": self.options.interval,
            "quantiles": list(self.options.quantiles),
            "prediction_corrected": self.options.corrected,
            "variability_corrected": self.options.variability,
            "by": self.options.by,
            "bins": list(bins) if isinstance(bins, tuple) else bins,
            "bin_method": self.options.method,
            "kinds": self.kinds,
            "limits": self.limits,
            "inside": {k: {"inside": a, "of": n} for k, (a, n) in self.count_inside().items()},
            "verdict": self.verdict,
            "notes": list(self.notes),
            "statistics": self.table.to_dict("records"),
        }


def describe_inside(counts: dict[str, tuple[int, int]], interval: float) -> str:
    """What is inside, and whether that is much less than it should be. Neighbouring statistics are not independent, so no p."""
    parts, is_poor = [], False
    for panel, (a, n) in counts.items():
        parts.append(f"{a} of {n} {PANEL_NAMES[panel]} ({100 * a / n:.0f} %) lie inside their {interval:g} % interval")
        share = interval / 100
        is_poor = is_poor or a / n < share - max(2.5 * float(np.sqrt(share * (1 - share) / n)), 0.05)
    if not parts:
        return "There is nothing to judge by."
    meaning = "fewer than the model would give: look where they lie outside" if is_poor else "as the model would give"
    return f"{'; '.join(parts)}: {meaning}."


@dataclass(frozen=True, eq=False)
class PartOfVpc:
    """What one endpoint in one stratum adds to a VPC: rows of the table, points, and notes."""

    rows: list[StatisticRow]
    points: pd.DataFrame
    notes: list[str]


def run_vpc(
    fit: FittedStudy, options: VpcOptions, progress: Callable[[int, int], None] = lambda done, of: None
) -> VpcResult:
    """A visual predictive check. `progress(done, of)` is called as replicates come.

    Raises `WrongUsage` for the options, `BadInput` for an endpoint or covariate that is not there, `ScienceFailed` where many
    replicates cannot be solved.
    """
    options.check()
    observed = read_observations(fit.study, fit.problem)
    endpoints = observed.select_endpoints(options.endpoint)
    names, stratum = stratify_subjects(fit.study, options.by)
    parts: list[PartOfVpc] = []
    notes = [*fit.notes, *observed.notes]
    binned = [e for e in endpoints if observed.kinds[e] != EVENT]
    if binned:
        simulated = simulate_replicates(fit.problem, fit.psi, options.replicates, options.seed, progress)
        pred = predict_typical(fit.problem, fit.psi) / observed.scale
        simulated, failures = drop_failed_replicates(simulated / observed.scale, fit.study.name)
        notes += failures
        for endpoint in binned:
            for k, name in enumerate(names):
                selected = (observed.table["DVID"] == endpoint).to_numpy() & (stratum[observed.subject] == k)
                if selected.any():
                    part = _compare_binned(observed, selected, simulated, pred, endpoint, options)
                    rows = [{"DVID": endpoint, "STRATUM": name, **row} for row in part.rows]
                    parts.append(PartOfVpc(rows, part.points.assign(STRATUM=name), part.notes))
    for endpoint in (e for e in endpoints if observed.kinds[e] == EVENT):
        parts.append(_compare_survival(fit, endpoint, options, names, stratum, progress))
    notes += [note for part in parts for note in part.notes]
    return VpcResult(
        fit.study.name,
        options,
        pd.DataFrame([row for part in parts for row in part.rows], columns=list(COLUMNS)),
        pd.concat([part.points for part in parts], ignore_index=True),
        _list_limits(observed, endpoints),
        {e: observed.kinds[e] for e in endpoints},
        tuple(dict.fromkeys(notes)),
    )


def _compare_binned(
    observed: Observations,
    selected: np.ndarray,
    simulated: np.ndarray,
    pred: np.ndarray,
    endpoint: str,
    options: VpcOptions,
) -> PartOfVpc:
    """One endpoint in one stratum, whose observations are `selected` (n,). `simulated` (R, n); `pred` (n,) typical."""
    points, notes = observed.table[selected], []
    time = points["TIME"].to_numpy(dtype=float)
    bins = make_bins(time, options.bins, options.method, points["ID"].nunique())
    if outside := int((bins.index < 0).sum()):
        notes.append(f"{outside} observations of {endpoint} lie outside the bins")
    values, drawn = observed.ranked_values[selected], simulated[:, selected]
    limits = observed.lower[selected], observed.upper[selected]
    expected = observed.rank_censored(drawn, drawn < limits[0], drawn > limits[1])
    if observed.kinds[endpoint] != CONTINUOUS:
        categories = walk_categories(values, drawn, group_values(values, drawn), bins, options.interval)
        percentiles = walk_percentiles(values, expected, limits, bins, options.quantiles, options.interval)
        rows = [*(percentiles if observed.kinds[endpoint] == COUNT else ()), *categories]
        return PartOfVpc(rows, points, notes)
    # Shares beyond a limit are of all observations, percentiles of those that can be corrected.
    shares = list(walk_shares_beyond_limits(values, expected, bins, options.interval))
    dv = points["DV"].to_numpy(dtype=float)
    if options.corrected:
        additive = bool(observed.additive[selected].all())
        correct = compute_correction(pred[selected], bins.index, additive, drawn, options.variability, endpoint)
        if left_out := int((~correct.kept & (bins.index >= 0)).sum()):
            notes.append(f"{left_out} observations of {endpoint} left out: a prediction of 0 cannot be corrected")
            bins = bins.exclude(~correct.kept)
        values, expected, dv = correct(values), correct(expected), correct(dv)
        limits = correct(limits[0]), correct(limits[1])
    rows = list(walk_percentiles(values, expected, limits, bins, options.quantiles, options.interval))
    return PartOfVpc([*rows, *shares], points.assign(DV=np.where(bins.index >= 0, dv, np.nan)), notes)


def _compare_survival(
    fit: FittedStudy,
    endpoint: str,
    options: VpcOptions,
    names: list[str],
    stratum: np.ndarray,
    progress: Callable[[int, int], None],
) -> PartOfVpc:
    """Kaplan–Meier of the time to the first event, in each stratum (`names`, and that of each subject)."""
    study, unit = fit.study, hours_per_time_unit(fit.study)
    follow_up = build_follow_up(study, fit.problem, endpoint)
    simulated = simulate_replicates(follow_up.problem, fit.psi, options.replicates, options.seed, progress)
    simulated, notes = drop_failed_replicates(simulated, endpoint)
    if follow_up.has_repeated_events:
        notes.append(f"{endpoint} happens more than once: its curve is of the time to the first")
    time, event = follow_up.find_first_events(simulated)
    rows: list[StatisticRow] = []
    for k, name in enumerate(names):
        members = stratum == k
        grid = follow_up.grid[follow_up.grid <= follow_up.time[members].max()]
        observed_curve = kaplan_meier(follow_up.time[members], follow_up.event[members], grid)
        curves = [kaplan_meier(t[members], e[members], grid) for t, e in zip(time, event, strict=True)]
        curves = np.stack(curves, axis=1)
        # A replicate in which everybody's event came sooner has no one left: its survival is 0 there.
        columns = compare_with_replicates(observed_curve, np.where(np.isnan(curves), 0.0, curves), options.interval)
        for i, at in enumerate(grid / unit):
            at_risk = int((follow_up.time[members] >= grid[i]).sum())
            place = {"BIN": i + 1, "TIME": at, "FROM": at, "TO": at, "N": at_risk}
            values = {column: float(v[i]) for column, v in columns.items()}
            rows.append({"DVID": endpoint, "STRATUM": name, "PANEL": SURVIVAL, "LEVEL": "", **place, **values})
    points = pd.DataFrame(
        {
            "ID": study.subjects,
            "TIME": follow_up.time / unit,
            "DVID": endpoint,
            "DV": follow_up.event.astype(float),
            "BELOW": False,
            "ABOVE": False,
            "STRATUM": [names[k] for k in stratum],
        }
    )
    return PartOfVpc(rows, points, notes)


def _list_limits(observed: Observations, endpoints: list[str]) -> dict[str, dict[str, float]]:
    """The limits of quantification that endpoints have, in shown units: {endpoint: {"lower" or "upper": value}}."""
    limits: dict[str, dict[str, float]] = {}
    for endpoint in endpoints:
        of_endpoint = (observed.table["DVID"] == endpoint).to_numpy()
        ends = {"lower": float(observed.lower[of_endpoint].max()), "upper": float(observed.upper[of_endpoint].min())}
        if finite := {k: v for k, v in ends.items() if np.isfinite(v)}:
            limits[endpoint] = finite
    return limits
