"""Bootstrap of a finished fit: refits of subjects drawn with replacement, or of studies simulated under the estimates.

Efron & Tibshirani 1993; for mixed-effects models, Thai et al. 2013 (Pharm Stat 12:129) and 2014 (J Pharmacokinet Pharmacodyn
41:15). A replicate is a refit from the run's estimates, by the run's method and to the same accuracy. Replicates that fail are
counted, their reasons named, and are left out of the summary.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.uncertainty.fit_objective import FitObjective
from pbpk.uncertainty.intervals import compute_bca_interval, summarise_sample
from pbpk.uncertainty.replicates import (
    REPLICATE_COLUMNS,
    Replicate,
    Resample,
    ResampledStudy,
    count_zero_variances,
    refit_replicates,
)
from pbpk.uncertainty.resampling import assign_strata, draw_case_weights, simulate_observations, tabulate_weights

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import FinishedFit

BootstrapKind = Literal["case", "parametric"]
_MOST_FAILURES = 0.1  # of the replicates failing, above which the rest may be a biased choice


@dataclass(frozen=True)
class BootstrapOptions:
    """What is asked for; with the fit it determines every digit of the result.

    `kind`: case (subjects are drawn) or parametric (studies are simulated). `strata`: a column of the data, within whose values
    subjects are drawn. `bca`: also Efron's intervals. `level` of the intervals, a fraction.
    """

    replicates: int = 500
    kind: BootstrapKind = "case"
    seed: int = 1
    strata: str | None = None
    bca: bool = False
    level: float = 0.95

    def check(self) -> None:
        """Raises `WrongUsage` for options that no bootstrap can be made with."""
        if self.replicates < 2:
            raise WrongUsage(
                f"{self.replicates} replicates have no spread", hint="at least 2; 500 or more for intervals"
            )
        if self.kind not in get_args(BootstrapKind):
            raise WrongUsage(f"no bootstrap of kind `{self.kind}`", hint="case or parametric")
        if self.seed < 0:
            raise WrongUsage(f"the seed {self.seed} is below zero")
        if not 0 < self.level < 1:
            raise WrongUsage(f"a level of {self.level:g} is no probability", hint="0.95 is usual")
        if self.kind == "parametric" and self.strata:
            raise WrongUsage("a parametric bootstrap draws no subjects, so it has no strata")
        if self.kind == "parametric" and self.bca:
            raise WrongUsage(
                "BCa intervals are for the case bootstrap", why="their acceleration comes from leaving out subjects"
            )


@dataclass
class BootstrapProgress:
    """What the caller sees as replicates come, in order, those of the jackknife after the others; and the replicates that it
    has of an earlier, interrupted call."""

    on_replicate: Callable[[Replicate], None] = field(default=lambda replicate: None)
    on_jackknife: Callable[[Replicate], None] = field(default=lambda replicate: None)
    done: Sequence[Replicate] = ()
    done_jackknife: Sequence[Replicate] = ()


@dataclass(frozen=True, eq=False)
class BootstrapResult:
    """`table`: a row for each replicate, failures among them. `summary`: a row for each parameter, of those that converged.
    `drawn`: how often each subject was drawn, None for a parametric bootstrap. `correlation` is of the estimates. `failures`
    and `at_zero`: how many replicates failed by cause, and have a variance at zero by parameter."""

    study: str
    options: BootstrapOptions
    ofv: float
    table: pd.DataFrame
    summary: pd.DataFrame
    correlation: pd.DataFrame
    drawn: pd.DataFrame | None
    failures: dict[str, int]
    at_zero: dict[str, int]
    seconds: dict[str, float]

    @property
    def converged_count(self) -> int:
        """How many replicates converged."""
        return int(self.table["converged"].sum())

    @property
    def is_reliable(self) -> bool:
        """Whether so few replicates failed that the others are no biased choice."""
        return self.converged_count >= (1 - _MOST_FAILURES) * self.options.replicates

    @property
    def verdict(self) -> str:
        """Sentences: how many converged, what failed, and whether the intervals may be used."""
        failed = self.options.replicates - self.converged_count
        words = [f"{self.converged_count} of {self.options.replicates} replicates converged."]
        if failed:
            why = "; ".join(f"{n} × {cause}" for cause, n in self.failures.items())
            words.append(f"Left out: {why}.")
        if not self.is_reliable:
            words.append("With so many failures the rest may be a biased choice: do not use these intervals.")
        for name, n in self.at_zero.items():
            words.append(f"{name} went to zero in {n}, which are kept: the data may not support that random effect.")
        return " ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """The result as bootstrap.json has it."""
        rows = self.summary.set_index("name")
        by_name = {str(c): rows[c].to_dict() for c in rows if c not in ("label", "unit")}
        return {
            "study": self.study,
            "kind": self.options.kind,
            "replicates": self.options.replicates,
            "converged": self.converged_count,
            "failures": self.failures,
            "at_zero": self.at_zero,
            "seed": self.options.seed,
            "strata": self.options.strata,
            "level": self.options.level,
            "ofv": self.ofv,
            "parameter_units": rows["unit"].to_dict(),
            "parameter_estimates": by_name.pop("estimate"),
            "standard_errors": by_name.pop("se"),
            "relative_standard_errors": {k: v / 100 for k, v in by_name.pop("rse").items()},
            **by_name,
            "correlation": self.correlation.to_dict(),
            "sound": self.is_reliable,
            "verdict": self.verdict,
            "seconds": self.seconds,
        }


def run_bootstrap(
    fit: FinishedFit,
    options: BootstrapOptions,
    progress: BootstrapProgress | None = None,
    objective: FitObjective | None = None,
) -> BootstrapResult:
    """Refits of resampled studies, and what they say of the estimates. `objective` is the fit's, if it is compiled already.

    Raises `WrongUsage` and `BadInput` for the options, `ScienceFailed` where fewer than two replicates converge.
    """
    options.check()
    progress = progress or BootstrapProgress()
    strata = assign_strata(fit.study, options.strata)
    objective = objective or FitObjective.compile(fit)
    begun = time.perf_counter()
    resample = _choose_resampling(fit, options, strata)
    replicates = _complete_replicates(objective, resample, options.replicates, progress.done, progress.on_replicate)
    seconds = {"first evaluation": objective.compile_seconds, "replicates": time.perf_counter() - begun}
    sample = np.array([r.estimates for r in replicates if r.converged]).reshape(-1, len(fit.names))
    failures = dict(Counter(r.cause for r in replicates if not r.converged).most_common())
    if len(sample) < 2:
        raise ScienceFailed(
            f"{len(sample)} of {options.replicates} replicates converged",
            where=fit.study.name,
            why="; ".join(f"{n} × {cause}" for cause, n in failures.items()),
            hint="look at bootstrap.csv",
        )
    summary = summarise_sample(fit.names, fit.labels, fit.units, fit.estimates, sample, options.level)
    if options.bca:
        begun = time.perf_counter()
        jackknife = _complete_replicates(
            objective,
            partial(_leave_out_subject, fit),
            fit.problem.subjects,
            progress.done_jackknife,
            progress.on_jackknife,
        )
        seconds["jackknife"] = time.perf_counter() - begun
        summary = summary.assign(**_compute_bca_columns(fit, sample, jackknife, options.level))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.atleast_2d(np.corrcoef(sample.T))
    drawn = None
    if options.kind == "case":
        weights = [draw_case_weights(options.seed, k, strata) for k in range(1, options.replicates + 1)]
        drawn = tabulate_weights(weights, fit.study.subjects)
    return BootstrapResult(
        study=fit.study.name,
        options=options,
        ofv=fit.ofv,
        table=_tabulate_replicates(replicates, fit.names),
        summary=summary,
        correlation=pd.DataFrame(correlation, index=pd.Index(fit.names), columns=pd.Index(fit.names)),
        drawn=drawn,
        failures=failures,
        at_zero=count_zero_variances(fit, sample),
        seconds=seconds,
    )


def _choose_resampling(fit: FinishedFit, options: BootstrapOptions, strata: np.ndarray) -> Resample:
    """What the replicate of a number is fitted to: drawn subjects, or observations simulated under the estimates."""

    def draw_subjects(number: int) -> ResampledStudy:
        return draw_case_weights(options.seed, number, strata), fit.problem.observed, fit.eta

    def simulate(number: int) -> ResampledStudy:
        observed, eta = simulate_observations(fit.problem, fit.psi, options.seed, number)
        return np.ones(fit.problem.subjects), observed, eta

    return draw_subjects if options.kind == "case" else simulate


def _leave_out_subject(fit: FinishedFit, number: int) -> ResampledStudy:
    """The study without its subject of that number, from 1: a replicate of the jackknife."""
    weights = np.ones(fit.problem.subjects)
    weights[number - 1] = 0.0
    return weights, fit.problem.observed, fit.eta


def _complete_replicates(
    objective: FitObjective,
    resample: Resample,
    count: int,
    done: Sequence[Replicate],
    on_replicate: Callable[[Replicate], None],
) -> list[Replicate]:
    """All replicates up to `count`: those that are `done`, and the rest as they come."""
    replicates = list(done[:count])
    for replicate in refit_replicates(objective, resample, range(len(replicates) + 1, count + 1)):
        replicates.append(replicate)
        on_replicate(replicate)
    return replicates


def _compute_bca_columns(
    fit: FinishedFit, sample: np.ndarray, left_out: Sequence[Replicate], level: float
) -> dict[str, list[float]]:
    """The ends of Efron's intervals, from the fits `left_out`, without one subject each. Raises `ScienceFailed` where one of
    these did not converge."""
    failed = [fit.study.subjects[r.number - 1] for r in left_out if not r.converged]
    if failed:
        raise ScienceFailed(
            f"no BCa intervals: the fit without ID {', '.join(failed[:5])} did not converge",
            where=fit.study.name,
            hint="leave out --bca",
        )
    values = np.array([r.estimates for r in left_out])
    ends = [compute_bca_interval(sample[:, k], e, values[:, k], level) for k, e in enumerate(fit.estimates)]
    return {"bca_low": [e[0] for e in ends], "bca_high": [e[1] for e in ends]}


def _tabulate_replicates(rows: Sequence[Replicate], names: Sequence[str]) -> pd.DataFrame:
    """A row for each replicate, as in bootstrap.csv."""
    cells = [(r.number, r.ofv, r.converged, r.cause, r.iterations, r.evaluations, *r.estimates) for r in rows]
    return pd.DataFrame(cells, columns=pd.Index([*REPLICATE_COLUMNS, *names]))
