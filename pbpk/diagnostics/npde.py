"""Normalised prediction distribution errors: where each observation lies in its own predictive distribution, as a normal score.

    pd_ij = share of replicates below y_ij          npd = Φ⁻¹(pd)
    pde: the same after decorrelation, y* = L⁻¹(y − mean), LL' the covariance of the subject's replicates       npde = Φ⁻¹(pde)

Brendel, Comets, Laffont, Laveille & Mentré 2006 (Pharm Res 23:2036); Comets, Brendel & Mentré 2008 (Comput Methods Programs
Biomed 90:154), whose Cholesky decorrelation and ends 1/(2K) and 1 − 1/(2K) are taken here. Values beyond a limit of
quantification, observed or simulated, are drawn from the part of the predictive distribution beyond it ("cdf": Nguyen, Comets
& Mentré 2012, J Pharmacokinet Pharmacodyn 39:499).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pbpk.diagnostics.normality import NormalityTest, check_normality
from pbpk.diagnostics.observations import CONTINUOUS, read_observations
from pbpk.diagnostics.options import check_replicates
from pbpk.diagnostics.simulate_replicates import drop_failed_replicates, predict_typical, simulate_replicates
from pbpk.errors import BadInput, WrongUsage

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy


@dataclass(frozen=True, eq=False)
class NpdeResult:
    """`table`: ID TIME DVID NPDE NPD PRED CENS, a row for each continuous observation (CENS 1: below a limit, -1: above one).
    `tests`: of npde and npd, of all endpoints together and of each."""

    study: str
    replicates: int
    seed: int
    table: pd.DataFrame
    tests: dict[str, dict[str, NormalityTest]]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        return next(iter(self.tests["npde"].values())).verdict

    def to_dict(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "replicates": self.replicates,
            "seed": self.seed,
            "tests": {kind: {name: t.to_dict() for name, t in by.items()} for kind, by in self.tests.items()},
            "verdict": self.verdict,
            "notes": list(self.notes),
        }


def compute_npde(
    fit: FittedStudy,
    count: int = 1000,
    seed: int = 1,
    endpoint: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> NpdeResult:
    """Raises `WrongUsage` for too few replicates, `BadInput` where nothing continuous was observed."""
    check_replicates(count)
    observed = read_observations(fit.study, fit.problem)
    kept = [e for e in observed.select_endpoints(endpoint) if observed.kinds[e] == CONTINUOUS]
    if not kept:
        raise BadInput(
            "no continuous endpoint was observed, so there are no prediction distribution errors",
            where=fit.study.name,
            hint=f"pbpk vpc {fit.study.name} compares shares of categories and times to events",
        )
    own = observed.table["DVID"].isin(kept).to_numpy()
    simulated, notes = drop_failed_replicates(
        simulate_replicates(fit.problem, fit.psi, count, seed, progress) / observed.scale, fit.study.name
    )
    longest = int(np.bincount(observed.subject[own]).max())
    if longest >= len(simulated):
        raise WrongUsage(
            f"{len(simulated)} replicates cannot decorrelate a subject with {longest} observations",
            why="the covariance of its replicates has no inverse",
            hint=f"--replicates {10 * longest} or more",
        )
    found, lost, still = np.full((2, own.sum()), np.nan), [], 0
    subject, values = observed.subject[own], observed.ranked_values[own]
    for i in np.unique(subject):
        mine = subject == i
        at = np.flatnonzero(own)[mine]
        limits = observed.lower[at], observed.upper[at]
        scores, well = score_subject(values[mine], simulated[:, at], limits, np.random.default_rng([seed, int(i)]))
        found[:, mine] = scores
        still += int(np.isnan(scores[1]).sum())
        lost += [] if well else [fit.study.subjects[i]]
    if still:
        notes.append(f"{still} observations have no error: every replicate of them is the same")
    if lost:
        notes.append(f"no npde for ID {', '.join(lost[:5])}: the replicates' covariance has no Cholesky factor")
    pred = (predict_typical(fit.problem, fit.psi) / observed.scale)[own]
    beyond = np.isneginf(values).astype(int) - np.isposinf(values).astype(int)
    table = observed.table.loc[own, ["ID", "TIME", "DVID"]].reset_index(drop=True)
    table = table.assign(NPDE=found[0], NPD=found[1], PRED=pred, CENS=beyond)
    return NpdeResult(
        fit.study.name,
        count,
        seed,
        table,
        {k: _check_endpoints(table, k.upper(), kept) for k in ("npde", "npd")},
        (*fit.notes, *observed.notes, *notes),
    )


def _check_endpoints(table: pd.DataFrame, column: str, endpoints: list[str]) -> dict[str, NormalityTest]:
    parts = {"all": table} if len(endpoints) > 1 else {}
    parts |= {e: table[table["DVID"] == e] for e in endpoints}
    return {name: check_normality(part[column].to_numpy(dtype=float)) for name, part in parts.items()}


def score_subject(
    y: np.ndarray, simulated: np.ndarray, limits: tuple[np.ndarray, np.ndarray], random: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """(2, n): npde and npd of one subject's observations in their order, from `y` (n,) with ∓∞ beyond a limit and `simulated`
    (K, n); and whether they could be decorrelated."""
    k = len(simulated)
    out = np.full((2, len(y)), np.nan)
    moves = simulated.std(axis=0) > 1e-12 * np.maximum(np.abs(simulated).max(axis=0), 1e-300)
    if not moves.any():
        return out, True
    y, simulated, (lower, upper) = y[moves], simulated[:, moves], (e[moves] for e in limits)
    ordered = np.sort(simulated, axis=0)
    p_low, p_high = (simulated < lower).mean(axis=0), (simulated > upper).mean(axis=0)
    pd_ = (simulated < y).mean(axis=0)
    below, above = np.isneginf(y), np.isposinf(y)
    u = random.uniform(size=len(y))
    pd_ = np.where(below, u * p_low, np.where(above, 1 - u * p_high, pd_))
    out[1, moves] = ndtri(np.clip(pd_, 1 / (2 * k), 1 - 1 / (2 * k)))
    whole = np.where(below | above, _order_statistic(ordered, pd_), y)
    # Replicates beyond a limit are censored too, so they are drawn anew in the same way.
    u = random.uniform(size=simulated.shape)
    low, high = simulated < lower, simulated > upper
    again = np.where(low | high, _order_statistic(ordered, np.where(low, u * p_low, 1 - u * p_high)), simulated)
    mean = again.mean(axis=0)
    try:
        factor = np.linalg.cholesky(np.atleast_2d(np.cov(again, rowvar=False)))
    except np.linalg.LinAlgError:
        return out, False
    seen = np.linalg.solve(factor, whole - mean)
    drawn = np.linalg.solve(factor, (again - mean).T).T
    out[0, moves] = ndtri(np.clip((drawn < seen).mean(axis=0), 1 / (2 * k), 1 - 1 / (2 * k)))
    return out, True


def _order_statistic(ordered: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The first order statistic (K, n) whose share is not below p (..., n)."""
    k = len(ordered)
    at = np.clip(np.ceil(p * k).astype(int) - 1, 0, k - 1)
    return np.take_along_axis(ordered, np.atleast_2d(at), axis=0).reshape(p.shape)
