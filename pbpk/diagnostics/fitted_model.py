"""A fit as a check by simulation takes it: the study, its problem, and the parameters to simulate with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.diagnostics.simulate_replicates import predict_typical
from pbpk.errors import BadInput, ScienceFailed

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class FittedStudy:
    """What is simulated: a study with its problem and ψ (P,) in the problem's layout; `notes` are sentences for the reader."""

    study: Study
    problem: Problem
    psi: np.ndarray
    notes: tuple[str, ...] = ()


def build_fitted_study(
    study: Study, problem: Problem, estimates: dict[str, float], notes: tuple[str, ...] = ()
) -> FittedStudy:
    """A fitted study from estimates by name, in shown units.

    Raises `BadInput` where they are not this study's, `ScienceFailed` where their Ω is not positive definite.
    """
    layout, names = problem.structure.layout, study.problem.structure.layout.names
    if missing := [n for n in layout.names if not np.isfinite(estimates.get(n, np.nan))]:
        raise BadInput(f"the run has no estimate of `{missing[0]}`", where=study.name, hint="fit the study again")
    natural = np.array([estimates[n] * study.scale[names.index(n)] for n in layout.names])
    try:
        psi = layout.to_unconstrained(natural)
    except np.linalg.LinAlgError:
        psi = np.array([np.nan])
    if not np.isfinite(psi).all():
        raise ScienceFailed(
            "the estimated Ω is not positive definite, so nothing can be drawn from it",
            where=study.name,
            why="a variance went to zero, or two random effects are one",
            hint="leave that random effect out and fit again",
        )
    return FittedStudy(study, problem, psi, notes)


def check_predictions_unchanged(fit: FittedStudy, recorded: np.ndarray, quantified: np.ndarray, where: str) -> None:
    """Raises `ScienceFailed` where the typical predictions are not those that the run recorded (n,): something has changed.

    `quantified` says which of the problem's observations have a record.
    """
    now = predict_typical(fit.problem, fit.psi)[quantified]
    scale = max(1e-12, float(np.nanmax(np.abs(recorded), initial=0.0)))
    if len(now) != len(recorded) or not np.allclose(now, recorded, rtol=1e-5, atol=1e-6 * scale):
        raise ScienceFailed(
            "its predictions are no longer those that it recorded",
            where=where,
            why="its data, model or program has changed since",
            hint="fit the study again",
        )
