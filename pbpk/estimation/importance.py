"""IMP: the marginal likelihood itself, by importance sampling around each subject's mode.

    exp(−OFV_i/2) = (2π)^(−q/2) ∫ exp(−joint_i/2) dη ≈ (2π)^(−q/2) mean_k exp(−joint_i(η_k)/2) / t(η_k),   η_k = η̂ + C z_k

with CC' the inverse of the expected information at the mode, somewhat widened, and z_k even samples of a t distribution
(stochastic/sobol_points.py). The samples move smoothly with ψ, so the sum is a smooth function of it: its gradient is exact,
that of Fisher's identity together with what the moving of the samples adds, and the maximum is found as for any other
likelihood. The same seed gives the same digits. Geweke 1989 (Econometrica 57:1317); among population methods, Bauer, Guzy & Ng
2007 (AAPS J 9:E60).

The effective number of samples, 1/Σ w², says how well the proposal fits; Kong 1992 (Chicago, Statistics TR 348).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.requirements import Requirements
from pbpk.estimation.state import EstimationState
from pbpk.estimation.stochastic.complete_data import differentiate_data, differentiate_omega_terms, quadratic_form
from pbpk.estimation.stochastic.sobol_points import SobolNodes, make_nodes
from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.mixture import combine_classes
from pbpk.likelihood.problem import Problem, penalty_and_gradient
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.study.schema import EstimationPart

_PROPOSAL_WIDTH = 1.2  # standard deviations of the proposal over those of the information: tails must not be missed
_SAMPLES_AT_ONCE = 64  # evaluated side by side, which bounds the memory
_FEW_EFFECTIVE = 0.05  # share of the samples that is effective, below which a subject is named


class SampledEvaluation(NamedTuple):
    """An evaluation by subject, and how far to trust it: `effective`, the effective number of samples of each column (a
    subject, in a mixture once for each class)."""

    evaluation: Evaluation
    effective: Numbers


class SampledLikelihood(NamedTuple):
    """The marginal likelihood at one ψ. `ofv` is on NONMEM's scale and `minus2ll` has the constant; `error` is the standard
    error of `ofv` if the samples were random (even ones do better); `effective` (columns,) how many samples count;
    `objective` (N,) −2 ln likelihood by subject."""

    ofv: float
    minus2ll: float
    error: float
    effective: np.ndarray
    objective: np.ndarray


@jax.jit
def _evaluate(problem: Problem, psi: jax.Array, eta: jax.Array, nodes_of_subjects: SobolNodes) -> SampledEvaluation:
    """The objective by importance sampling and its gradient, which has four parts: `direct` at fixed samples (Fisher's
    identity), and what the samples' `moving` with the mode, `turning` with C and `widening` with |C| add."""
    q = eta.shape[0]
    modes = find_conditional_modes(problem, psi, eta, interaction=True)
    omega = problem.unpack(psi)[1]
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)

    def root_of(psi, e, s):
        return _PROPOSAL_WIDTH * jnp.linalg.cholesky(jnp.linalg.inv(terms.information(psi, e, s)))

    def proposal(e, s):
        """C (q, q), and how the mode (P, q) and C (P, q, q) move with ψ."""
        hessian = jax.hessian(terms.joint_minus2ll, argnums=1)(psi, e, s)
        cross = jax.jacfwd(jax.grad(terms.joint_minus2ll, argnums=1), argnums=0)(psi, e, s)
        moved = -jnp.linalg.solve(hessian, cross).T

        def along(direction, by):
            return jax.jvp(lambda p, x: root_of(p, x, s), (psi, e), (direction, by))[1]

        return root_of(psi, e, s), moved, jax.vmap(along)(jnp.eye(len(psi)), moved)

    root, mode_slope, root_slope = jax.vmap(proposal, in_axes=-1, out_axes=-1)(
        modes.eta, subject_arrays(problem, modes.jet)
    )

    def evaluate_sample(z):
        point = modes.eta + jnp.einsum("ijn,jn->in", root, z)
        return point, *differentiate_data(problem, psi, point)

    z = nodes_of_subjects.z
    points, data, by_psi, by_eta = jax.lax.map(evaluate_sample, z, batch_size=min(_SAMPLES_AT_ONCE, len(z)))
    precision = jnp.linalg.inv(omega)
    by_eta = by_eta + 2 * jnp.einsum("ij,kjn->kin", precision, points)
    joint = data + quadratic_form(precision, points) + jnp.linalg.slogdet(omega)[1]
    logs = jnp.where(jnp.isfinite(joint), -joint / 2 - nodes_of_subjects.log_density, -jnp.inf)
    share = jax.nn.softmax(logs, axis=0)
    log_root = jnp.sum(jnp.log(jnp.einsum("iin->in", root)), axis=0)
    mean = jax.nn.logsumexp(logs, axis=0) - jnp.log(len(z))
    value = q * jnp.log(2 * jnp.pi) - 2 * log_root - 2 * mean

    weighted = jnp.where(share[:, None] > 0, share[:, None] * by_eta, 0.0)
    direct = jnp.sum(jnp.where(share[:, None] > 0, share[:, None] * by_psi, 0.0), axis=0)
    direct = direct + differentiate_omega_terms(problem, psi, jnp.einsum("kn,kin,kjn->ijn", share, points, points))
    moving = jnp.einsum("in,pin->pn", weighted.sum(axis=0), mode_slope)
    turning = jnp.einsum("kin,kjn,pijn->pn", weighted, z, root_slope)
    widening = -2 * jnp.sum(jnp.einsum("piin->pin", root_slope) / jnp.einsum("iin->in", root), axis=1)
    gradient = direct + moving + turning + widening
    good = modes.converged & jnp.isfinite(value)
    effective = 1 / jnp.sum(share**2, axis=0)
    return SampledEvaluation(combine_classes(problem, psi, Evaluation(value, gradient, modes.eta, good)), effective)


def evaluate_by_sampling(problem: Problem, psi: np.ndarray, eta: Numbers, samples: int, seed: int) -> SampledEvaluation:
    """The marginal likelihood from `samples` of each subject's η; `eta` is where modes are looked for."""
    return _evaluate(problem, psi, eta, make_nodes(samples, eta.shape[0], eta.shape[1], seed))


def minus2ll_by_sampling(
    problem: Problem, psi: np.ndarray, eta: Numbers | None = None, samples: int = 4096, seed: int = 1
) -> SampledLikelihood:
    """The marginal likelihood at ψ, whichever method found it. `eta` (q, N): the EBEs, where they are known."""
    q = len(problem.structure.layout.etas)
    start = np.zeros((q, problem.columns)) if eta is None else eta
    samples_of_eta = evaluate_by_sampling(problem, psi, start, samples, seed)
    objective, effective = np.asarray(samples_of_eta.evaluation.objective), np.asarray(samples_of_eta.effective)
    spread = np.maximum(1 / effective - 1 / samples, 0.0)
    ofv = float(objective.sum() + penalty_and_gradient(problem, psi)[0])
    constant = problem.quantified * float(np.log(2 * np.pi))
    return SampledLikelihood(ofv, ofv + constant, 2 * float(np.sqrt(spread.sum())), effective, objective)


def warn_few_samples(sampled: SampledEvaluation, samples: int, subjects: Sequence[str]) -> list[str]:
    """A warning that names the subjects whose likelihood rests on few effective samples."""
    effective = np.asarray(sampled.effective)
    few = np.flatnonzero(effective < _FEW_EFFECTIVE * samples)
    if not len(few):
        return []
    who = ", ".join(f"ID {subjects[i % len(subjects)]}" for i in few[np.argsort(effective[few])][:5])
    worst = f"{effective.min():.0f} of {samples}"
    return [
        f"importance sampling rests on few effective samples for {who} (at least {worst}): take more, estimation.samples"
    ]


@dataclass(frozen=True)
class ImportanceSampling(QuasiNewton):
    """The marginal likelihood from `samples` even points of each subject's η, turned by `seed`."""

    samples: int = 1024
    seed: int = 1

    requirements = Requirements(random_effects=True)

    def configure(self, estimation: EstimationPart, seed: int) -> ImportanceSampling:
        """With the study's number of samples and the run's seed."""
        return replace(self, seed=seed, samples=estimation.samples)

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The marginal objective by subject."""
        return evaluate_by_sampling(problem, psi, eta, self.samples, self.seed).evaluation

    def list_warnings(self, problem: Problem, state: EstimationState, subjects: Sequence[str]) -> list[str]:
        """The subjects whose likelihood rests on few effective samples."""
        return warn_few_samples(
            evaluate_by_sampling(problem, state.psi, state.eta, self.samples, self.seed), self.samples, subjects
        )


IMP = ImportanceSampling("imp", "the marginal likelihood by importance sampling around each subject's mode")
