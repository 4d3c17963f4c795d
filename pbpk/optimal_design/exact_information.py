"""The information without linearising the model: E[ss'] over simulated subjects, s the score of the marginal likelihood.

The score is a quarter of what the fit's own methods give (−2 times it): by adaptive Gauss–Hermite quadrature it is exact
to the quadrature's error (Nguyen & Mentré 2014, Comput Stat Data Anal 80:57), by Laplace's approximation as good as that is.
Monte-Carlo error comes from batches of replicates, by the jackknife; and as the mean score is zero, how far it is from it
is a check of the score itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.likelihood.replicates import draw_replicate, replace_observations

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.optimal_design.coordinates import DesignCoordinates

MARGINALS = ("agq", "laplace", "focei")
_JACKKNIFE_BATCHES = 20
_MOST_WITHOUT_MODE = 0.01


@dataclass(frozen=True, eq=False)
class ExactInformation:
    """`information` (P, P) of the whole design; `se` and their Monte-Carlo errors as shown; `z` the largest mean score in its
    own errors; `lost` subjects had no mode."""

    information: np.ndarray
    criterion: float
    criterion_error: float
    se: np.ndarray
    se_error: np.ndarray
    mean_score_z: float
    simulated: int
    without_mode: int
    marginal: str


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
    value: Callable[[np.ndarray], float],
    *,
    marginal: str = "agq",
    replicates: int = 1000,
    seed: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> ExactInformation:
    """`problem` holds each profile once, `counts` (N,) subjects of each; every profile is simulated `replicates` times.

    `value` is the criterion of an information matrix. Raises `ScienceFailed` when more than 1 % of the modes are lost.
    """
    if marginal not in MARGINALS:
        raise WrongUsage(f"no marginal likelihood `{marginal}`", hint=" or ".join(MARGINALS))
    method = get_method(marginal)
    method.prepare(problem)
    q, n = problem.unpack(jnp.asarray(psi))[1].shape[0], problem.subjects
    key = jax.random.key(seed)
    scores, good = [], []
    for r in range(replicates):
        found = method.evaluate(simulate_problem(problem, psi, jax.random.fold_in(key, r)), psi, np.zeros((q, n)))
        gradient = np.asarray(found.gradient)
        scores.append(coordinates.psi_per_coordinate.T @ (-0.5 * gradient))
        good.append(np.asarray(found.good) & np.isfinite(gradient).all(axis=0))
        progress(r + 1, replicates)
    s, there = np.array(scores), np.array(good)  # (replicates, P, N), (replicates, N)
    lost = int((~there).sum())
    if lost > _MOST_WITHOUT_MODE * there.size:
        raise ScienceFailed(f"{lost} of {there.size} simulated subjects have no mode", hint="another --marginal")
    s = np.where(there[:, None], s, 0.0)
    batch = np.arange(replicates) % min(_JACKKNIFE_BATCHES, replicates)

    def of(keep):
        size = there[keep].sum(axis=0)
        return np.einsum("n,rpn,rqn->pq", counts / size, s[keep], s[keep])

    whole = of(np.ones(replicates, bool))
    rest = [of(batch != b) for b in range(batch.max() + 1)]

    def with_error(measure):
        about = np.array([measure(m) for m in rest])
        scale = (len(about) - 1) / len(about)
        return measure(whole), np.sqrt(scale * ((about - about.mean(axis=0)) ** 2).sum(axis=0))

    se, se_error = with_error(lambda m: np.sqrt(np.diag(coordinates.compute_covariance(m))))
    criterion, criterion_error = with_error(value)
    total = np.einsum("n,rpn->rp", counts, s)
    z = np.abs(total.mean(axis=0)) / (total.std(axis=0, ddof=1) / np.sqrt(replicates))
    return ExactInformation(
        whole, float(criterion), float(criterion_error), se, se_error, float(z.max()), there.size, lost, marginal
    )
