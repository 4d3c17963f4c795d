"""Sampling importance resampling: parameter vectors drawn from a proposal, kept in proportion to how likely they make the data.

Dosne, Bergstrand, Harling & Karlsson 2016 (J Pharmacokinet Pharmacodyn 43:583), iterated as Dosne, Bergstrand & Karlsson 2017
(ibid. 44:509). As there the target is the likelihood itself, that is, flat in the natural parameters. The proposal is a
Student's in ψ, so that every vector drawn is a valid model and none is truncated; the Jacobian ∂natural/∂ψ in the importance
ratio makes up for the difference, and tails heavier than a normal's keep few vectors from having all the weight. The first
proposal has the covariance of the fit, each later one that of the vectors kept before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, ScienceFailed, WrongUsage
from pbpk.estimation.parallel_objective import ObjectiveValues
from pbpk.uncertainty.fit_objective import FitObjective
from pbpk.uncertainty.intervals import summarise_sample

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import FinishedFit

DEFAULT_SAMPLES = (1000, 1000, 1000, 2000, 2000)  # as in Dosne 2017 and in PsN
DEFAULT_RESAMPLES = (200, 400, 500, 1000, 1000)
_LOWER_OFV = 1e-3  # an OFV lower than the fit's by more says that the fit is not at its minimum
_DEGREES_OF_FREEDOM = 6.0  # of the proposal
_LEAST_EFFECTIVE = 0.1  # effective samples over those kept, below which they are few vectors' copies in all but name


@dataclass(frozen=True)
class SirOptions:
    """What is asked for. `samples` and `resamples`: how many vectors are drawn and kept, a number for each iteration.

    `cap`: how often a vector may be kept. `inflation`: a factor on the first proposal's covariance. `level` of the intervals,
    a fraction.
    """

    samples: tuple[int, ...] = DEFAULT_SAMPLES
    resamples: tuple[int, ...] = DEFAULT_RESAMPLES
    seed: int = 1
    cap: int = 1
    inflation: float = 1.0
    level: float = 0.95

    def check(self, parameters: int) -> None:
        """Raises `WrongUsage` for options that cannot be followed in a fit of that many parameters."""
        if not self.samples or len(self.samples) != len(self.resamples):
            raise WrongUsage(
                f"{len(self.samples)} numbers of samples, {len(self.resamples)} of resamples",
                hint="one of each for an iteration:  --samples 1000,1000 --resamples 200,500",
            )
        for m, kept in zip(self.samples, self.resamples, strict=True):
            if kept <= parameters:
                raise WrongUsage(f"{kept} resamples cannot give a covariance of {parameters} parameters")
            if self.cap < 1 or kept > m * self.cap:
                raise WrongUsage(f"{kept} of {m} samples cannot be kept with each at most {self.cap} times")
        if self.seed < 0:
            raise WrongUsage(f"the seed {self.seed} is below zero")
        if not self.inflation > 0:
            raise WrongUsage(
                f"an inflation of {self.inflation:g}", hint="1 is none; above 1 the first proposal is wider"
            )
        if not 0 < self.level < 1:
            raise WrongUsage(f"a level of {self.level:g} is no probability", hint="0.95 is usual")


@dataclass(frozen=True, eq=False)
class SirResult:
    """`sample`: the vectors kept by the last iteration, with their ΔOFV. `samples`: all vectors drawn in each iteration, with
    their importance, as a share of its iteration, and how often they were kept. `iterations`: the diagnostics of each.
    `summary` is of `sample`; `lowest_delta_ofv` the lowest OFV drawn, less the fit's."""

    study: str
    options: SirOptions
    ofv: float
    sample: pd.DataFrame
    samples: pd.DataFrame
    iterations: pd.DataFrame
    summary: pd.DataFrame
    lowest_delta_ofv: float
    seconds: dict[str, float]

    @property
    def degrees_of_freedom(self) -> float:
        """The degrees of freedom of the χ² that the ΔOFV of the vectors kept would follow: their mean. For a likelihood like
        that of a normal they are the number of parameters."""
        return float(self.sample["delta_ofv"].mean())

    @property
    def warnings(self) -> list[str]:
        """What speaks against using the sample."""
        last, sentences = self.iterations.iloc[-1], []
        if self.lowest_delta_ofv < -_LOWER_OFV:
            sentences.append(
                f"an OFV lower by {-self.lowest_delta_ofv:.3f} than the fit's was drawn: the fit is not at its minimum"
            )
        if last["effective"] < _LEAST_EFFECTIVE * last["resamples"]:
            sentences.append(f"only {last['effective']:.0f} effective samples: draw more, or with --inflation above 1")
        if last["distinct"] < last["resamples"] and self.options.cap > 1:
            sentences.append(f"{last['distinct']:.0f} distinct vectors among the {last['resamples']:.0f} kept")
        return sentences

    @property
    def is_reliable(self) -> bool:
        """Whether no OFV was lower than the fit's, and enough samples are effective."""
        return (
            self.lowest_delta_ofv >= -_LOWER_OFV
            and self.iterations["effective"].iloc[-1] >= _LEAST_EFFECTIVE * self.options.resamples[-1]
        )

    @property
    def verdict(self) -> str:
        """A sentence: the mean ΔOFV beside what it should be, and the warnings."""
        parameters = len(self.summary)
        mean = f"ΔOFV of the vectors kept has mean {self.degrees_of_freedom:.2f}"
        mean += f"; χ² with {parameters} degrees of freedom has {parameters}"
        return "; ".join([mean, *self.warnings]) + "."

    def to_dict(self) -> dict[str, Any]:
        """The result as sir.json has it."""
        rows = self.summary.set_index("name")
        by_name = {str(c): rows[c].to_dict() for c in rows if c not in ("label", "unit")}
        return {
            "study": self.study,
            "samples": list(self.options.samples),
            "resamples": list(self.options.resamples),
            "seed": self.options.seed,
            "cap": self.options.cap,
            "inflation": self.options.inflation,
            "level": self.options.level,
            "ofv": self.ofv,
            "lowest_delta_ofv": self.lowest_delta_ofv,
            "degrees_of_freedom": self.degrees_of_freedom,
            "iterations": self.iterations.to_dict("records"),
            "parameter_units": rows["unit"].to_dict(),
            "parameter_estimates": by_name.pop("estimate"),
            "standard_errors": by_name.pop("se"),
            "relative_standard_errors": {k: v / 100 for k, v in by_name.pop("rse").items()},
            **by_name,
            "sound": self.is_reliable,
            "verdict": self.verdict,
            "seconds": self.seconds,
        }


def run_sir(
    fit: FinishedFit,
    options: SirOptions | None = None,
    on_evaluation: Callable[[int, int, int], None] = lambda iteration, done, of: None,
    objective: FitObjective | None = None,
) -> SirResult:
    """Vectors kept in proportion to their likelihood. `objective` is the fit's, if it is compiled already.

    `on_evaluation(iteration, done, of)` is called as evaluations come. Raises `WrongUsage` for the options, `BadInput` for a
    fit without a covariance, `ScienceFailed` where too few of the vectors drawn have a likelihood.
    """
    options = options or SirOptions()
    options.check(len(fit.names))
    covariance = require_covariance(fit) * options.inflation
    objective = objective or FitObjective.compile(fit)
    begun = time.perf_counter()
    centre, kept = fit.psi, np.empty((0, len(fit.psi)))
    drawn, diagnostics, rise = [], [], np.empty(0)
    for k, (m, count) in enumerate(zip(options.samples, options.resamples, strict=True), start=1):
        random = np.random.default_rng([options.seed, k])
        psis, log_q = draw_proposal(random, centre, covariance, m)
        rise = _compute_rises(fit, objective, psis, lambda done, k=k, m=m: on_evaluation(k, done, m))
        natural, log_jacobian = _map_to_natural(fit, psis)
        importance = _normalise_importance(-rise / 2 + log_jacobian - log_q)
        if (importance > 0).sum() * options.cap < count:
            raise ScienceFailed(
                f"{int((importance > 0).sum())} of {m} vectors have a likelihood, too few to keep {count}",
                where=fit.study.name,
                hint="draw more, or with an --inflation below 1",
            )
        taken = resample_by_importance(random, importance, count, options.cap)
        times = np.bincount(taken, minlength=m)
        drawn.append(_tabulate_drawn(fit, k, natural, rise, importance, times))
        diagnostics.append(_diagnose_iteration(k, rise, importance, times))
        kept, rise = psis[taken], rise[taken]
        centre, covariance = kept.mean(axis=0), np.atleast_2d(np.cov(kept.T))
    samples = pd.concat(drawn, ignore_index=True)
    sample = np.array([fit.to_shown_units(x) for x in kept])
    return SirResult(
        study=fit.study.name,
        options=options,
        ofv=fit.ofv,
        sample=pd.DataFrame(sample, columns=pd.Index(fit.names)).assign(delta_ofv=rise),
        samples=samples,
        iterations=pd.DataFrame(diagnostics),
        summary=summarise_sample(fit.names, fit.labels, fit.units, fit.estimates, sample, options.level),
        lowest_delta_ofv=float(samples["delta_ofv"].min()),
        seconds={"first evaluation": objective.compile_seconds, "iterations": time.perf_counter() - begun},
    )


def require_covariance(fit: FinishedFit) -> np.ndarray:
    """The covariance of ψ (P, P), to propose from. Raises `BadInput` where the fit has none."""
    covariance = fit.psi_covariance
    if covariance is None:
        raise BadInput(
            "the fit has no covariance matrix to propose from",
            where=fit.study.name,
            why="it is not positive definite, or a parameter is on its edge",
            hint="pbpk bootstrap needs none",
        )
    return covariance


def draw_proposal(
    random: np.random.Generator, centre: np.ndarray, covariance: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Student vectors (count, P) around `centre` with that covariance, and the logarithm of their density (count,), up to a
    constant."""
    z = random.standard_normal((count, len(centre)))
    t = z * np.sqrt((_DEGREES_OF_FREEDOM - 2) / random.chisquare(_DEGREES_OF_FREEDOM, (count, 1)))
    log_density = (
        -0.5 * (_DEGREES_OF_FREEDOM + len(centre)) * np.log1p(np.sum(t**2, axis=1) / (_DEGREES_OF_FREEDOM - 2))
    )
    return centre + t @ np.linalg.cholesky(covariance).T, log_density


def resample_by_importance(random: np.random.Generator, importance: np.ndarray, count: int, cap: int) -> np.ndarray:
    """Indices of `count` vectors drawn one after another in proportion to importance, each at most `cap` times."""
    left = np.full(len(importance), cap)
    taken = np.empty(count, int)
    weight = importance.astype(float).copy()
    for k in range(count):
        total = np.cumsum(weight)
        pick = int(np.searchsorted(total, random.uniform(0, total[-1]), side="right"))
        taken[k] = pick = min(pick, int(np.flatnonzero(weight)[-1]))
        left[pick] -= 1
        if left[pick] == 0:
            weight[pick] = 0.0
    return taken


def _compute_rises(
    fit: FinishedFit, objective: FitObjective, psis: np.ndarray, on_evaluation: Callable[[int], None]
) -> np.ndarray:
    """The ΔOFV of each vector, (m,) of (m, P); ∞ where it has none."""
    rises = np.full(len(psis), math.inf)
    for done, (k, values) in enumerate(objective.evaluate_at(psis), start=1):
        rises[k] = _compute_rise(fit, values)
        on_evaluation(done)
    return rises


def _compute_rise(fit: FinishedFit, values: ObjectiveValues) -> float:
    """ΔOFV of one evaluation; ∞ where it has no finite OFV or a subject has no mode."""
    ofv = float(values.objective.sum() + values.penalty)
    return ofv - fit.ofv if math.isfinite(ofv) and values.good.all() else math.inf


def _map_to_natural(fit: FinishedFit, psis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Natural parameters in shown units (m, P), and ln|∂natural/∂ψ| (m,)."""
    pairs = [fit.map_to_natural(x) for x in psis]
    logs = np.array([np.linalg.slogdet(jacobian)[1] for _, jacobian in pairs])
    return np.array([values for values, _ in pairs]) / fit.scale, logs


def _normalise_importance(logs: np.ndarray) -> np.ndarray:
    """Importance ratios that sum to 1."""
    finite = np.isfinite(logs)
    ratio = np.where(finite, np.exp(np.where(finite, logs - np.max(logs, where=finite, initial=-math.inf), 0.0)), 0.0)
    return ratio / ratio.sum() if ratio.sum() > 0 else ratio


def _tabulate_drawn(
    fit: FinishedFit, iteration: int, natural: np.ndarray, rise: np.ndarray, importance: np.ndarray, times: np.ndarray
) -> pd.DataFrame:
    """A row for each vector that an iteration drew: ΔOFV, importance, how often it was kept, parameters in shown units."""
    head = {"iteration": iteration, "delta_ofv": rise, "importance": importance, "kept": times}
    return pd.DataFrame(head).join(pd.DataFrame(natural, columns=pd.Index(fit.names)))


def _diagnose_iteration(
    iteration: int, rise: np.ndarray, importance: np.ndarray, times: np.ndarray
) -> dict[str, float]:
    """The row of one iteration in iterations.csv."""
    is_finite = np.isfinite(rise)
    kept = np.repeat(rise, times)
    return {
        "iteration": iteration,
        "samples": len(rise),
        "failed": int((~is_finite).sum()),
        "resamples": int(times.sum()),
        "distinct": int((times > 0).sum()),
        "effective": float(1 / np.sum(importance**2)),
        "largest": float(importance.max()),
        "proposed_delta_ofv": float(rise[is_finite].mean()),
        "kept_delta_ofv": float(kept.mean()),
        "kept_delta_ofv_95": float(np.quantile(kept, 0.95)),
    }
