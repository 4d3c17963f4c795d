"""Normalised prediction distribution errors: where each observation lies in its predictive distribution, as a normal score.

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
from pbpk.diagnostics.simulate_replicates import drop_failed_replicates, predict_typical, simulate_replicates
from pbpk.errors import BadInput, WrongUsage

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.diagnostics.observations import Observations
    from pbpk.diagnostics.options import NpdeOptions


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
        """What the test of npde says, of all endpoints together."""
        return next(iter(self.tests["npde"].values())).verdict

    def to_dict(self) -> dict[str, Any]:
        """The result as npde.json has it."""
        return {
            "study": self.study,
            "replicates": self.replicates,
            "seed": self.seed,
            "tests": {kind: {name: t.to_dict() for name, t in by.items()} for kind, by in self.tests.items()},
            "verdict": self.verdict,
            "notes": list(self.notes),
        }


def compute_npde(
    fit: FittedStudy, options: NpdeOptions, progress: Callable[[int, int], None] = lambda done, of: None
) -> NpdeResult:
    """The errors of every continuous observation, and tests of them. `progress(done, of)` is called as replicates come.

    Raises `WrongUsage` for too few replicates, `BadInput` where nothing continuous was observed, `ScienceFailed` where many
    replicates cannot be solved.
    """
    options.check()
    observed = read_observations(fit.study, fit.problem)
    endpoints = [e for e in observed.select_endpoints(options.endpoint) if observed.kinds[e] == CONTINUOUS]
    if not endpoints:
        raise BadInput(
            "no continuous endpoint was observed, so there are no prediction distribution errors",
            where=fit.study.name,
            hint=f"pbpk vpc {fit.study.name} compares shares of categories and times to events",
        )
    is_scored = observed.table["DVID"].isin(endpoints).to_numpy()
    simulated = simulate_replicates(fit.problem, fit.psi, options.replicates, options.seed, progress)
    simulated, notes = drop_failed_replicates(simulated / observed.scale, fit.study.name)
    longest = int(np.bincount(observed.subject[is_scored]).max())
    if longest >= len(simulated):
        raise WrongUsage(
            f"{len(simulated)} replicates cannot decorrelate a subject with {longest} observations",
            why="the covariance of its replicates has no inverse",
            hint=f"--replicates {10 * longest} or more",
        )
    scores, score_notes = _score_subjects(fit, observed, is_scored, simulated, options.seed)
    values = observed.ranked_values[is_scored]
    pred = (predict_typical(fit.problem, fit.psi) / observed.scale)[is_scored]
    beyond = np.isneginf(values).astype(int) - np.isposinf(values).astype(int)
    table = observed.table.loc[is_scored, ["ID", "TIME", "DVID"]].reset_index(drop=True)
    table = table.assign(NPDE=scores[0], NPD=scores[1], PRED=pred, CENS=beyond)
    return NpdeResult(
        fit.study.name,
        options.replicates,
        options.seed,
        table,
        {kind: _check_endpoints(table, kind.upper(), endpoints) for kind in ("npde", "npd")},
        (*fit.notes, *observed.notes, *notes, *score_notes),
    )


def _score_subjects(
    fit: FittedStudy, observed: Observations, is_scored: np.ndarray, simulated: np.ndarray, seed: int
) -> tuple[np.ndarray, list[str]]:
    """(2, n): npde and npd of the observations of a mask, and notes on those without. `simulated` (K, all observations)."""
    scores, undecorrelated, constant = np.full((2, is_scored.sum()), np.nan), [], 0
    subject, values = observed.subject[is_scored], observed.ranked_values[is_scored]
    for i in np.unique(subject):
        of_subject = subject == i
        at = np.flatnonzero(is_scored)[of_subject]
        limits = observed.lower[at], observed.upper[at]
        random = np.random.default_rng([seed, int(i)])  # by subject, so that one left out changes no other's scores
        subject_scores, is_decorrelated = score_subject(values[of_subject], simulated[:, at], limits, random)
        scores[:, of_subject] = subject_scores
        constant += int(np.isnan(subject_scores[1]).sum())
        undecorrelated += [] if is_decorrelated else [fit.study.subjects[i]]
    notes = []
    if constant:
        notes.append(f"{constant} observations have no error: every replicate of them is the same")
    if undecorrelated:
        first = ", ".join(undecorrelated[:5])
        notes.append(f"no npde for ID {first}: the replicates' covariance has no Cholesky factor")
    return scores, notes


def _check_endpoints(table: pd.DataFrame, column: str, endpoints: list[str]) -> dict[str, NormalityTest]:
    """The tests of a column, of all endpoints together where there are several, and of each."""
    parts = {"all": table} if len(endpoints) > 1 else {}
    parts |= {e: table[table["DVID"] == e] for e in endpoints}
    return {name: check_normality(part[column].to_numpy(dtype=float)) for name, part in parts.items()}


def score_subject(
    y: np.ndarray, simulated: np.ndarray, limits: tuple[np.ndarray, np.ndarray], random: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """(2, n): npde and npd of one subject's observations in their order, from `y` (n,) with ∓∞ beyond a limit and `simulated`
    (K, n); and whether they could be decorrelated. NaN where all replicates are the same."""
    k = len(simulated)
    scores = np.full((2, len(y)), np.nan)
    varies = simulated.std(axis=0) > 1e-12 * np.maximum(np.abs(simulated).max(axis=0), 1e-300)
    if not varies.any():
        return scores, True
    y, simulated, (lower, upper) = y[varies], simulated[:, varies], (e[varies] for e in limits)
    ordered = np.sort(simulated, axis=0)
    p_low, p_high = (simulated < lower).mean(axis=0), (simulated > upper).mean(axis=0)
    share = (simulated < y).mean(axis=0)
    below, above = np.isneginf(y), np.isposinf(y)
    u = random.uniform(size=len(y))
    share = np.where(below, u * p_low, np.where(above, 1 - u * p_high, share))
    scores[1, varies] = ndtri(np.clip(share, 1 / (2 * k), 1 - 1 / (2 * k)))
    imputed = np.where(below | above, _order_statistic(ordered, share), y)
    # Replicates beyond a limit are censored too, so they are drawn anew in the same way.
    u = random.uniform(size=simulated.shape)
    low, high = simulated < lower, simulated > upper
    redrawn = _order_statistic(ordered, np.where(low, u * p_low, 1 - u * p_high))
    redrawn = np.where(low | high, redrawn, simulated)
    mean = redrawn.mean(axis=0)
    try:
        factor = np.linalg.cholesky(np.atleast_2d(np.cov(redrawn, rowvar=False)))
    except np.linalg.LinAlgError:
        return scores, False
    decorrelated = np.linalg.solve(factor, imputed - mean)
    replicates = np.linalg.solve(factor, (redrawn - mean).T).T
    scores[0, varies] = ndtri(np.clip((replicates < decorrelated).mean(axis=0), 1 / (2 * k), 1 - 1 / (2 * k)))
    return scores, True


def _order_statistic(ordered: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The first order statistic (K, n) whose share is not below p (..., n)."""
    k = len(ordered)
    at = np.clip(np.ceil(p * k).astype(int) - 1, 0, k - 1)
    return np.take_along_axis(ordered, np.atleast_2d(at), axis=0).reshape(p.shape)
