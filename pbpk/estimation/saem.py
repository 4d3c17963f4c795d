"""SAEM: maximum likelihood by draws of the random effects, without linearising anything.

    draw        η from p(η | y; ψ) by Markov chains          (stochastic/chains.py)
    average     moments of the complete data, in steps γ     (stochastic/maximise.py)
    maximise    ψ from the averaged moments                  (the same)

Delyon, Lavielle & Moulines 1999 (Ann Stat 27:94); Kuhn & Lavielle 2005 (Comput Stat Data Anal 49:1020). The phases and their
ends are in stochastic/phases.py. While it runs, the OFV shown is −2 ln p(y, η) over the draws, which is no likelihood; at the
end it is the marginal likelihood by importance sampling (importance.py), whose gradient also says how far below the maximum
ψ still is, and gives the standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.descent_rules import invert_scores
from pbpk.estimation.importance import evaluate_by_sampling, warn_few_samples
from pbpk.estimation.requirements import Requirements
from pbpk.estimation.state import CONVERGED, EstimationState, IterationRecord
from pbpk.estimation.stochastic import phases
from pbpk.estimation.stochastic.chains import initial_step_lengths, tune_step_lengths
from pbpk.estimation.stochastic.iterate import SaemIterate, StretchSchedule, run_stretch
from pbpk.estimation.stochastic.maximise import SaemMoments
from pbpk.estimation.stochastic.roles import find_roles
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.parameter_layout import natural_with_jacobian
from pbpk.likelihood.problem import Problem, penalty_and_gradient

if TYPE_CHECKING:
    from pbpk.study.schema import EstimationPart

_LEAST_CHAINS = 100  # of all subjects together
_CONVERGED_FALL = 0.02  # OFV that the marginal likelihood may still promise: a seventh of a standard error
_SCORING_FALL, _SCORING_STEPS = 1.0, 5  # where one standard error is left, scoring steps may take it
UNSETTLED = "the draws did not settle at a maximum"


class MarginalLikelihood(NamedTuple):
    """The marginal likelihood at ψ (P,): by subject, in all, and its gradient (P,), the last two with priors."""

    psi: np.ndarray
    each: Evaluation
    ofv: float
    gradient: np.ndarray

    @property
    def inverse(self) -> np.ndarray:
        """The inverse Hessian of the OFV as the scores have it (P, P)."""
        return invert_scores(self.each.gradient)

    @property
    def promised(self) -> float:
        """By how much the OFV may yet fall, by the quadratic model; infinite where it has no value."""
        promised = float(self.gradient @ self.inverse @ self.gradient) / 2
        return promised if np.isfinite(promised) and np.isfinite(self.ofv) else np.inf


@jax.jit
def _evaluate_complete(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """−2 ln p(y, η) of each subject (N,)."""
    return problem.joint_minus2ll(psi, eta)


@dataclass(frozen=True)
class Saem(EstimationMethod):
    """SAEM, with `chains` a subject (0: enough for `_LEAST_CHAINS` in all); `samples` are those of the importance sampling at
    the end."""

    name: str = "saem"
    about: str = "maximum likelihood by stochastic approximation of EM"
    seed: int = 1
    chains: int = 0
    samples: int = 1024

    requirements = Requirements(random_effects=True, no_mixture=True)

    def configure(self, estimation: EstimationPart, seed: int) -> Saem:
        """With the study's number of samples and the run's seed."""
        return replace(self, seed=seed, samples=estimation.samples)

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The marginal objective by subject, by importance sampling."""
        return evaluate_by_sampling(problem, psi, eta, self.samples, self.seed).evaluation

    def init(self, problem: Problem) -> EstimationState:
        """All chains at η = 0, and the moments of the prior."""
        psi, q, n = problem.initial_unconstrained, len(problem.structure.layout.etas), problem.subjects
        omega = np.asarray(natural_with_jacobian(problem.structure.layout, psi, problem.initial)[2])
        arrays = {
            "chains": np.zeros((self.chains or -(-_LEAST_CHAINS // n), q, n)),
            "first": np.zeros((q, n)),
            "second": omega,
            "hessian": np.eye(len(find_roles(problem).rest)),
            "mean": np.zeros((q, n)),
            "square": omega[:, :, None] + np.zeros(n),
            "lengths": initial_step_lengths(q, n),
            "path": np.zeros((0, len(psi))),
            "turned": np.array(-1),
        }
        objective = np.asarray(_evaluate_complete(problem, psi, arrays["mean"]))
        nothing = (np.zeros((len(psi), n)), arrays["mean"], np.eye(len(psi)))
        return EstimationState(
            psi, float(objective.sum()), objective, *nothing, good=np.isfinite(objective), more=arrays
        )

    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """One stretch of iterations; now and then with a look at the marginal likelihood, which may end the search."""
        arrays, path, turned = state.more, state.more["path"], int(state.more["turned"])
        if turned < 0 and phases.has_explored(path):
            turned = len(path)
        schedule = StretchSchedule.from_position(len(path), turned)
        current = SaemIterate(
            state.psi,
            arrays["chains"],
            SaemMoments(arrays["first"], arrays["second"], arrays["hessian"]),
            arrays["mean"],
            arrays["square"],
        )
        current, accepted, new, complete, slope = jax.tree.map(
            np.asarray,
            run_stretch(
                problem,
                find_roles(problem),
                current,
                arrays["lengths"],
                problem.initial_unconstrained,
                np.uint32(self.seed),
                schedule,
            ),
        )
        last, path, ofv = state.psi, np.concatenate([path, new]), float(complete.mean())
        new_arrays = {
            "chains": current.eta,
            **current.moments._asdict(),
            "mean": current.mean,
            "square": current.square,
            "lengths": np.asarray(tune_step_lengths(arrays["lengths"], accepted)),
            "path": path,
            "turned": np.array(turned),
        }
        new_state = replace(state, psi=current.psi, ofv=ofv, eta=current.mean, iteration=len(path), more=new_arrays)
        new_state = replace(new_state, evaluations=len(path))
        moved = float(np.abs(np.diff(np.vstack([last, new]), axis=0)).max())
        record = IterationRecord(len(path), ofv, ofv - state.ofv, float(np.abs(slope).max()), moved, len(path))
        return (
            self._end_or_continue(problem, new_state, record)
            if turned >= 0 and phases.is_check_due(len(path) - turned)
            else (new_state, record)
        )

    def _end_or_continue(
        self, problem: Problem, state: EstimationState, record: IterationRecord
    ) -> tuple[EstimationState, IterationRecord]:
        """The averaged ψ if the marginal likelihood has its maximum there; else on, unless no iterations are left.

        Where data are sparse, EM takes hundreds of iterations over the last fraction of a standard error. Once that little is
        left, scoring steps on the marginal likelihood take it.
        """
        path, turned = state.more["path"], int(state.more["turned"])
        marginal = self._evaluate_marginal(problem, phases.average_path(path, turned), state.eta)
        for _ in range(_SCORING_STEPS):
            if not _CONVERGED_FALL < marginal.promised < _SCORING_FALL:
                break
            nearer = self._evaluate_marginal(
                problem, marginal.psi - marginal.inverse @ marginal.gradient, marginal.each.eta
            )
            if not nearer.ofv < marginal.ofv:
                break
            marginal = nearer
        near = marginal.promised < _CONVERGED_FALL and bool(marginal.each.good.all())
        if not near and not phases.is_out_of_iterations(len(path) - turned):
            return state, record
        e, status = marginal.each, CONVERGED if near else UNSETTLED
        final = replace(
            state, psi=marginal.psi, ofv=marginal.ofv, objective=e.objective, gradient=e.gradient, eta=e.eta
        )
        final = replace(final, inverse=marginal.inverse, good=e.good, status=status)
        return final, record._replace(ofv=marginal.ofv, gradient=float(np.abs(marginal.gradient).max()))

    def _evaluate_marginal(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> MarginalLikelihood:
        each = Evaluation(*(np.asarray(a) for a in self.evaluate(problem, psi, eta)))
        penalty, slope = (np.asarray(a) for a in penalty_and_gradient(problem, psi))
        return MarginalLikelihood(psi, each, float(each.objective.sum() + penalty), each.gradient.sum(axis=1) + slope)

    def list_warnings(self, problem: Problem, state: EstimationState, subjects: Sequence[str]) -> list[str]:
        """The subjects whose likelihood rests on few effective samples."""
        return warn_few_samples(
            evaluate_by_sampling(problem, state.psi, state.eta, self.samples, self.seed), self.samples, subjects
        )


SAEM = Saem()
