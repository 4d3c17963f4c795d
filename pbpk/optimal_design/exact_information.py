"""The information without linearising the model: E[ss'] over simulated subjects, s the score of the marginal likelihood.

The score is −½ of the gradient that the fit's own methods give, of −2 times the log-likelihood: by adaptive Gauss–Hermite
quadrature it is exact to the quadrature's error (Nguyen & Mentré 2014, Comput Stat Data Anal 80:57), by Laplace's
approximation as good as that is. Monte-Carlo error comes from batches of replicates, by the jackknife; and as the mean score
is zero, how far it is from it is a check of the score itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.likelihood.replicates import draw_replicate, replace_observations
from pbpk.optimal_design.evaluate import compute_value
from pbpk.optimal_design.records import build_candidates, repeat_profiles

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.optimal_design.coordinates import DesignCoordinates
    from pbpk.optimal_design.design_problem import DesignProblem
    from pbpk.optimal_design.evaluate import EvaluatedDesign

MARGINALS = ("agq", "laplace", "focei")
_JACKKNIFE_BATCHES = 20
_MOST_WITHOUT_MODE = 0.01  # of the simulated subjects
_SUBJECTS_AT_ONCE = 64
_LEAST_REPLICATES = 40


@dataclass(frozen=True, eq=False)
class ExactInformation:
    """`information` (P, P) of the whole design; `criterion` and `se` (P,), as shown, with their Monte-Carlo errors;
    `mean_score_z` the largest mean score in its own errors; `without_mode`, of the `simulated` subjects, had no mode."""

    information: np.ndarray
    criterion: float
    criterion_error: float
    se: np.ndarray
    se_error: np.ndarray
    mean_score_z: float
    simulated: int
    without_mode: int
    marginal: str


def simulate_design(problem: DesignProblem, design: EvaluatedDesign) -> dict[str, Any]:
    """The exact information of a design, as design.json has it: standard errors by name, each with its Monte-Carlo error.

    Every kind of subject is simulated several times side by side, and rounds of that make up the replicates. Raises
    `WrongUsage` for too few replicates, `ScienceFailed` where subjects have no mode.
    """
    spec, names = problem.spec, problem.coordinates.names
    if spec.replicates < _LEAST_REPLICATES:
        raise WrongUsage(f"{spec.replicates} replicates give no Monte-Carlo error", hint="--replicates 1000")
    copies = max(1, min(_SUBJECTS_AT_ONCE // len(design.profiles), spec.replicates // 20))
    candidates = build_candidates(
        problem.study, repeat_profiles(design.profiles, copies), design.times, design.observables
    )
    rounds = -(-spec.replicates // copies)

    def report(done: int, of: int) -> None:
        if done == of or done % max(of // 5, 1) == 0:
            spec.progress(f"simulated {done * copies} of {of * copies} subjects of each kind")

    exact = estimate_exact_information(
        candidates.problem,
        candidates.counts,
        np.asarray(problem.study.problem.initial_unconstrained),
        problem.coordinates,
        lambda m: compute_value(m[None], problem.interest),
        marginal=spec.marginal,
        replicates=rounds,
        seed=spec.seed,
        progress=report,
    )
    return {
        "marginal": exact.marginal,
        "replicates": rounds * copies,
        "value": exact.criterion,
        "value_error": exact.criterion_error,
        "standard_errors": dict(zip(names, exact.se.tolist(), strict=True)),
        "monte_carlo_errors": dict(zip(names, exact.se_error.tolist(), strict=True)),
        "mean_score_z": exact.mean_score_z,
        "lost": exact.without_mode,
    }


@jax.jit
def simulate_problem(problem: Problem, psi: jax.Array, key: jax.Array) -> Problem:
    """The problem with one simulated data set in place of its own, nothing censored."""
    y, _ = draw_replicate(problem, psi, key)
    none = jnp.full_like(y, jnp.inf)
    return replace_observations(problem, y, -none, none)


def estimate_exact_information(
    problem: Problem,
    counts: np.ndarray,
    psi: np.ndarray,
    coordinates: DesignCoordinates,
    compute_criterion: Callable[[np.ndarray], float],
    *,
    marginal: str = "agq",
    replicates: int = 1000,
    seed: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> ExactInformation:
    """`problem` holds each profile once, `counts` (N,) subjects of each; every profile is simulated `replicates` times.

    `compute_criterion` is that of an information matrix (P, P). Raises `WrongUsage` for an unknown `marginal`,
    `ScienceFailed` when more than 1 % of the modes are not found.
    """
    scores, is_good = _simulate_scores(problem, psi, coordinates, marginal, replicates, seed, progress)
    without_mode = int((~is_good).sum())
    if without_mode > _MOST_WITHOUT_MODE * is_good.size:
        raise ScienceFailed(
            f"{without_mode} of {is_good.size} simulated subjects have no mode", hint="another --marginal"
        )
    scores = np.where(is_good[:, None], scores, 0.0)
    batch = np.arange(replicates) % min(_JACKKNIFE_BATCHES, replicates)

    def sum_replicates(kept: np.ndarray) -> np.ndarray:
        size = is_good[kept].sum(axis=0)
        return np.einsum("n,rpn,rqn->pq", counts / size, scores[kept], scores[kept])

    information = sum_replicates(np.ones(replicates, bool))
    without_batch = [sum_replicates(batch != b) for b in range(batch.max() + 1)]

    def with_error(measure: Callable[[np.ndarray], Any]) -> tuple[Any, Any]:
        about = np.array([measure(m) for m in without_batch])
        scale = (len(about) - 1) / len(about)
        return measure(information), np.sqrt(scale * ((about - about.mean(axis=0)) ** 2).sum(axis=0))

    se, se_error = with_error(lambda m: np.sqrt(np.diag(coordinates.compute_covariance(m))))
    criterion, criterion_error = with_error(compute_criterion)
    total = np.einsum("n,rpn->rp", counts, scores)
    z = np.abs(total.mean(axis=0)) / (total.std(axis=0, ddof=1) / np.sqrt(replicates))
    return ExactInformation(
        *(information, float(criterion), float(criterion_error), se, se_error),
        *(float(z.max()), is_good.size, without_mode, marginal),
    )


def _simulate_scores(
    problem: Problem,
    psi: np.ndarray,
    coordinates: DesignCoordinates,
    marginal: str,
    replicates: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (replicates, P, N) in the design's coordinates, and which subjects (replicates, N) have a mode and a gradient."""
    if marginal not in MARGINALS:
        raise WrongUsage(f"no marginal likelihood `{marginal}`", hint=" or ".join(MARGINALS))
    method = get_method(marginal)
    method.prepare(problem)
    q, n = problem.unpack(jnp.asarray(psi))[1].shape[0], problem.subjects
    key = jax.random.key(seed)
    scores, is_good = [], []
    for r in range(replicates):
        simulated = simulate_problem(problem, psi, jax.random.fold_in(key, r))
        evaluation = method.evaluate(simulated, psi, np.zeros((q, n)))
        gradient = np.asarray(evaluation.gradient)
        scores.append(coordinates.psi_per_coordinate.T @ (-0.5 * gradient))
        is_good.append(np.asarray(evaluation.good) & np.isfinite(gradient).all(axis=0))
        progress(r + 1, replicates)
    return np.array(scores), np.array(is_good)
