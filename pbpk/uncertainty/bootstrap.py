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
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.uncertainty.fit_objective import FitObjective
from pbpk.uncertainty.intervals import compute_bca_interval, summarise_sample
from pbpk.uncertainty.replicates import REPLICATE_COLUMNS, Replicate, Resample, count_zero_variances, refit_replicates
from pbpk.uncertainty.resampling import assign_strata, draw_case_weights, simulate_observations, tabulate_weights

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import FinishedFit

BootstrapKind = Literal["case", "parametric"]
_MOST_FAILURES = 0.1  # of the replicates failing, above which the rest may be a biased choice


@dataclass(frozen=True)
class BootstrapOptions:
    """What is asked for; with the fit it determines every digit of the result."""

    replicates: int = 500
    kind: BootstrapKind = "case"
    seed: int = 1
    strata: str | None = None
    bca: bool = False
    level: float = 0.95

    def check(self) -> None:
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
    """What the caller sees as replicates come in, in order, those of the jackknife after the others; and what it has of an
    earlier, interrupted call."""

    on_replicate: Callable[[Replicate], None] = field(default=lambda one: None)
    on_jackknife: Callable[[Replicate], None] = field(default=lambda one: None)
    done: Sequence[Replicate] = ()
    done_jackknife: Sequence[Replicate] = ()


@dataclass(frozen=True, eq=False)
class BootstrapResult:
    """`table`: a row for each replicate, failures among them. `summary`: a row for each parameter, of those that converged.
    `drawn`: how often each subject was drawn, None for a parametric one. `correlation` is of the estimates."""

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
        return int(self.table["converged"].sum())

    @property
    def is_reliable(self) -> bool:
        """Whether so few failed that those left are no biased choice."""
        return self.converged_count >= (1 - _MOST_FAILURES) * self.options.replicates

    @property
    def verdict(self) -> str:
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
    fit: FinishedFit, options: BootstrapOptions, progress: BootstrapProgress | None = None, objective: FitObjective | None = None
) -> BootstrapResult:
    """Raises `WrongUsage` and `BadInput` for what is asked, `ScienceFailed` where fewer than two replicates converge."""
    options.check()
    progress = progress or BootstrapProgress()
    study, strata = fit.study, assign_strata(fit.study, options.strata)
    weights: dict[int, np.ndarray] = {}
    observed, ones = fit.problem.observed, np.ones(fit.problem.subjects)

    def case(number: int):
        return _weights(number), observed, fit.eta

    def parametric(number: int):
        own, eta = simulate_observations(fit.problem, fit.psi, options.seed, number)
        return ones, own, eta

    def _weights(number: int) -> np.ndarray:
        if number not in weights:
            weights[number] = draw_case_weights(options.seed, number, strata)
        return weights[number]

    objective = objective or FitObjective.compile(fit)
    begun = time.perf_counter()
    rows = _complete_replicates(
        objective, case if options.kind == "case" else parametric, options.replicates, progress.done, progress.on_replicate
    )
    seconds = {"first evaluation": objective.compile_seconds, "replicates": time.perf_counter() - begun}
    sample = np.array([r.estimates for r in rows if r.converged]).reshape(-1, len(fit.names))
    failures = dict(Counter(r.cause for r in rows if not r.converged).most_common())
    if len(sample) < 2:
        raise ScienceFailed(
            f"{len(sample)} of {options.replicates} replicates converged",
            where=study.name,
            why="; ".join(f"{n} × {cause}" for cause, n in failures.items()),
            hint="look at bootstrap.csv",
        )
    table = summarise_sample(fit.names, fit.labels, fit.units, fit.estimates, sample, options.level)
    if options.bca:
        begun = time.perf_counter()

        def without(number: int):
            w = ones.copy()
            w[number - 1] = 0.0
            return w, observed, fit.eta

        left_out = _complete_replicates(objective, without, len(ones), progress.done_jackknife, progress.on_jackknife)
        seconds["jackknife"] = time.perf_counter() - begun
        table = table.assign(**_compute_bca_columns(fit, sample, left_out, options.level))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = pd.DataFrame(
            np.atleast_2d(np.corrcoef(sample.T)), index=pd.Index(fit.names), columns=pd.Index(fit.names)
        )
    drawn = None
    if options.kind == "case":
        drawn = tabulate_weights([_weights(k) for k in range(1, options.replicates + 1)], study.subjects)
    return BootstrapResult(
        study=study.name,
        options=options,
        ofv=fit.ofv,
        table=_tabulate_replicates(rows, fit.names),
        summary=table,
        correlation=correlation,
        drawn=drawn,
        failures=failures,
        at_zero=count_zero_variances(fit, sample),
        seconds=seconds,
    )


def _complete_replicates(
    objective: FitObjective,
    resampled: Resample,
    count: int,
    done: Sequence[Replicate],
    watch: Callable[[Replicate], None],
) -> list[Replicate]:
    rows = list(done[:count])
    for one in refit_replicates(objective, resampled, range(len(rows) + 1, count + 1)):
        rows.append(one)
        watch(one)
    return rows


def _compute_bca_columns(
    fit: FinishedFit, sample: np.ndarray, left_out: Sequence[Replicate], level: float
) -> dict[str, list[float]]:
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
    cells = [(r.number, r.ofv, r.converged, r.cause, r.iterations, r.evaluations, *r.estimates) for r in rows]
    return pd.DataFrame(cells, columns=pd.Index([*REPLICATE_COLUMNS, *names]))
