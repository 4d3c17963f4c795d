"""MAP: every subject's most probable parameters with the population's held where they are (NONMEM's MAXEVAL=0 POSTHOC).

The objective is −2 log p(y, η̂), without the determinant that would make it a marginal likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.state import CONVERGED, STALLED, EstimationState, IterationRecord
from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.mixture import combine_classes
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@jax.jit
def evaluate_most_probable(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    """−2 ln p(y, η̂) of every subject at ψ (P,), with gradient 0; `eta` (q, N) is where the modes η̂ are sought from."""
    modes = find_conditional_modes(problem, psi, eta, interaction=True)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)
    subjects = subject_arrays(problem, modes.jet)
    value = jax.vmap(lambda e, s: terms.joint_minus2ll(psi, e, s), in_axes=-1)(modes.eta, subjects)
    return combine_classes(
        problem, psi, Evaluation(value, jnp.zeros((len(psi), problem.columns)), modes.eta, modes.converged)
    )


@dataclass(frozen=True)
class MostProbableEtas(EstimationMethod):
    """Maximum a posteriori of each subject: one search for the modes at the initial values, and nothing to iterate."""

    name: str = "map"
    about: str = "maximum a posteriori estimates of each subject, population parameters held"

    checks_identifiability = False
    uses_starting_etas = True

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """−2 ln p(y, η̂) by subject."""
        return evaluate_most_probable(problem, psi, eta)

    def init(self, problem: Problem) -> EstimationState:
        """The modes at the initial values, sought from η = 0."""
        psi = problem.initial_unconstrained
        eta = np.zeros((len(problem.structure.layout.etas), problem.columns))
        e = Evaluation(*(np.asarray(x) for x in self.evaluate(problem, psi, eta)))
        return EstimationState(psi, float(e.objective.sum()), e.objective, e.gradient, e.eta, np.zeros((0, 0)), 0, 1)

    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """The end: converged where the mode of every subject was found."""
        e = self.evaluate(problem, state.psi, state.eta)
        status = CONVERGED if bool(np.asarray(e.good).all()) else STALLED
        done = replace(state, status=status, iteration=1, evaluations=state.evaluations + 1)
        return done, IterationRecord(1, state.ofv, 0.0, 0.0, 0.0, done.evaluations)


MAP = MostProbableEtas()
