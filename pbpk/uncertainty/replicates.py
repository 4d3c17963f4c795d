"""Fits of resampled studies, a row each, in order: what a bootstrap or a jackknife consists of, and what resumes it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.estimation.weighted_descent import SearchOutcome, WeightedStudy, minimise_ofv

if TYPE_CHECKING:
    from pbpk.estimation.parallel_objective import Search
    from pbpk.uncertainty.finished_fit import FinishedFit
    from pbpk.uncertainty.fit_objective import FitObjective

REPLICATE_COLUMNS = ("replicate", "ofv", "converged", "cause", "iterations", "evaluations")
_ZERO_VARIANCE = 1e-5  # a variance below it is at zero, as in a fit's own warning


@dataclass(frozen=True, eq=False)
class Replicate:
    """One refit: its number from 1; `cause`: "converged", or what kept it from that; `estimates` (P,) in shown units."""

    number: int
    ofv: float
    cause: str
    iterations: int
    evaluations: int
    estimates: tuple[float, ...]

    @property
    def converged(self) -> bool:
        """Whether the refit ended at a minimum."""
        return self.cause == "converged"

    @property
    def csv_line(self) -> str:
        """The replicate's line of the CSV file: every digit, so that what is read back is what was written."""
        out = io.StringIO()
        numbers = [repr(x) if math.isfinite(x) else "" for x in (self.ofv, *self.estimates)]
        head = [self.number, numbers[0], str(self.converged).lower(), self.cause, self.iterations, self.evaluations]
        csv.writer(out, lineterminator="\n").writerow([*head, *numbers[1:]])
        return out.getvalue()


def format_header(names: Sequence[str]) -> str:
    """The first line of the CSV file, for parameters of these names."""
    return ",".join((*REPLICATE_COLUMNS, *names)) + "\n"


def read_replicates(text: str, names: Sequence[str]) -> list[Replicate]:
    """The replicates of an unfinished file: whole lines, in order from 1, up to the first that is not."""
    lines = text[: text.rfind("\n") + 1]
    replicates: list[Replicate] = []
    if not lines.startswith(format_header(names)):
        return replicates
    for row in csv.reader(io.StringIO(lines.removeprefix(format_header(names)))):
        if len(row) != len(REPLICATE_COLUMNS) + len(names) or row[0] != str(len(replicates) + 1):
            break
        ofv, *estimates = (float(x) if x else math.nan for x in (row[1], *row[len(REPLICATE_COLUMNS) :]))
        replicates.append(Replicate(int(row[0]), ofv, row[3], int(row[4]), int(row[5]), tuple(estimates)))
    return replicates


# Weights (N,), what was observed (`Problem.observed`) and a first guess of η (q, N).
ResampledStudy = tuple[np.ndarray, Any, np.ndarray]
Resample = Callable[[int], ResampledStudy]


def refit_replicates(objective: FitObjective, resample: Resample, numbers: Sequence[int]) -> Iterator[Replicate]:
    """Refits of the studies `resample(number)`, in the order of `numbers`, whichever ends first."""
    fit = objective.fit
    early: dict[int, Replicate] = {}
    awaited = iter(numbers)
    following = next(awaited, None)
    searches = ((k, _refit(fit, *resample(k))) for k in numbers)
    for number, outcome in objective.run_searches(searches):
        early[number] = _make_replicate(fit, number, outcome)
        while following in early:
            yield early.pop(following)
            following = next(awaited, None)


def _refit(fit: FinishedFit, weights: np.ndarray, observed: Any, eta: np.ndarray) -> Search[SearchOutcome]:
    """The search for the optimum of one resampled study, from the fit's estimates and inverse Hessian."""
    study = WeightedStudy(
        weights, observed, np.asarray(fit.problem.initial_unconstrained), tuple(fit.layout.log_sd_positions)
    )
    try:
        return (yield from minimise_ofv(study, fit.psi, eta, fit.inverse_hessian))
    except np.linalg.LinAlgError as e:
        return SearchOutcome(fit.psi, math.nan, f"a matrix could not be inverted ({e})")


def _make_replicate(fit: FinishedFit, number: int, outcome: SearchOutcome) -> Replicate:
    """The row of a search's outcome; a cause that is about subjects names them."""
    subjects = ", ".join(fit.study.subjects[i] for i in outcome.failed_subjects[:5])
    cause = f"{outcome.cause} for ID {subjects}" if outcome.failed_subjects and not outcome.converged else outcome.cause
    estimates = tuple(float(x) for x in fit.to_shown_units(outcome.psi))
    return Replicate(number, outcome.ofv, cause, outcome.iterations, outcome.evaluations, estimates)


def count_zero_variances(fit: FinishedFit, sample: np.ndarray) -> dict[str, int]:
    """How many replicates of a sample (R, P) have a variance at zero, by its name."""
    variances = [k for k, n in enumerate(fit.names) if n in list_variance_names(fit)]
    near = sample[:, variances] * fit.scale[variances] < _ZERO_VARIANCE
    return {fit.names[k]: int(c) for k, c in zip(variances, near.sum(axis=0), strict=True) if c}


def list_variance_names(fit: FinishedFit) -> set[str]:
    """The names of variances: what is on the diagonal of a block of Ω, whose lower triangle is listed row by row."""
    return {
        name
        for block in fit.layout.blocks
        for k, name in enumerate(block.names)
        if k in {i * (i + 3) // 2 for i in range(len(block.etas))}
    }
