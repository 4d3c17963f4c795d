"""Fits of resampled studies, a row each, in order: what a bootstrap or a jackknife is made of, and what resumes it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.uncertainty.descent import Outcome, Study, minimise

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import Finished
    from pbpk.uncertainty.parallel_searches import Lanes, Search

HEAD = ("replicate", "ofv", "converged", "cause", "iterations", "evaluations")
_EDGE = 1e-5  # a variance below is at zero, as in a fit's own warning


@dataclass(frozen=True, eq=False)
class Replicate:
    """One refit; `estimates` (P,) in shown units."""

    number: int
    ofv: float
    cause: str
    iterations: int
    evaluations: int
    estimates: tuple[float, ...]

    @property
    def converged(self) -> bool:
        return self.cause == "converged"

    @property
    def line(self) -> str:
        """Its line of the CSV file: every digit, so that what is read back is what was written."""
        out = io.StringIO()
        numbers = [repr(x) if math.isfinite(x) else "" for x in (self.ofv, *self.estimates)]
        head = [self.number, numbers[0], str(self.converged).lower(), self.cause, self.iterations, self.evaluations]
        csv.writer(out, lineterminator="\n").writerow([*head, *numbers[1:]])
        return out.getvalue()


def header(names: Sequence[str]) -> str:
    return ",".join((*HEAD, *names)) + "\n"


def read_lines(text: str, names: Sequence[str]) -> list[Replicate]:
    """The replicates of an unfinished file: whole lines, in order from 1, up to the first that is not."""
    whole = text[: text.rfind("\n") + 1]
    found: list[Replicate] = []
    if not whole.startswith(header(names)):
        return found
    for row in csv.reader(io.StringIO(whole.removeprefix(header(names)))):
        if len(row) != len(HEAD) + len(names) or row[0] != str(len(found) + 1):
            break
        ofv, *estimates = (float(x) if x else math.nan for x in (row[1], *row[len(HEAD) :]))
        found.append(Replicate(int(row[0]), ofv, row[3], int(row[4]), int(row[5]), tuple(estimates)))
    return found


Resampled = Callable[[int], tuple[np.ndarray, Any, np.ndarray]]


def replicates(lanes: Lanes, resampled: Resampled, numbers: Sequence[int]) -> Iterator[Replicate]:
    """Refits in order. `resampled(number)` gives weights (N,), what was observed (`Problem.observed`) and a first guess of
    η (q, N)."""
    fit = lanes.finished
    early: dict[int, Replicate] = {}
    awaited = iter(numbers)
    following = next(awaited, None)
    searches = ((k, _refit(fit, *resampled(k))) for k in numbers)
    for number, outcome in lanes.pursue(searches):
        early[number] = _replicate(fit, number, outcome)
        while following in early:
            yield early.pop(following)
            following = next(awaited, None)


def _refit(fit: Finished, weights: np.ndarray, observed: Any, eta: np.ndarray) -> Search[Outcome]:
    study = Study(weights, observed, np.asarray(fit.problem.psi0), tuple(fit.layout.spreads))
    try:
        return (yield from minimise(study, fit.psi, eta, fit.inverse))
    except np.linalg.LinAlgError as e:
        return Outcome(fit.psi, math.nan, f"a matrix could not be inverted ({e})")


def _replicate(fit: Finished, number: int, outcome: Outcome) -> Replicate:
    who = ", ".join(fit.study.subjects[i] for i in outcome.lost[:5])
    cause = f"{outcome.cause} for ID {who}" if outcome.lost and not outcome.converged else outcome.cause
    estimates = tuple(float(x) for x in fit.shown(outcome.psi))
    return Replicate(number, outcome.ofv, cause, outcome.iterations, outcome.evaluations, estimates)


def at_zero(fit: Finished, sample: np.ndarray) -> dict[str, int]:
    """How many replicates (R, P) have a variance at zero, by its name."""
    variances = [k for k, n in enumerate(fit.names) if n in spread_names(fit)]
    near = sample[:, variances] * fit.scale[variances] < _EDGE
    return {fit.names[k]: int(c) for k, c in zip(variances, near.sum(axis=0), strict=True) if c}


def spread_names(fit: Finished) -> set[str]:
    """The variances among the free parameters: what is on the diagonal of a block of Ω."""
    return {
        name
        for block in fit.layout.blocks
        for k, name in enumerate(block.names)
        if k in {i * (i + 3) // 2 for i in range(len(block.etas))}
    }
