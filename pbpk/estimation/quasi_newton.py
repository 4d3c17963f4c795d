"""BFGS on exact gradients, one iteration a step, started from the scores' own curvature.

The first inverse Hessian comes from the subjects' gradients: for −2 log-likelihoods, Σ gg'/2 estimates the Hessian
(Berndt, Hall, Hall & Hausman 1974), so the first step already has the right scale. A failed line search restarts from
it once. Nocedal & Wright 2006, chapters 3 and 6. A random effect that vanished on the way is tried again at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.descent_rules import (
    LONGEST_STEP,
    MOST_ITERATIONS,
    RESTORED,
    SMALLEST_FALL,
    VANISHED,
    invert_scores,
    shorten_step,
    update_inverse,
)
from pbpk.estimation.lost_modes import retry_lost_modes
from pbpk.estimation.state import CONVERGED, ITERATION_LIMIT, STALLED, EstimationState, IterationRecord
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.problem import Problem, penalty_and_gradient


@dataclass(frozen=True)
class QuasiNewton(EstimationMethod):
    """A method that minimises the objective of its `evaluate`, which is all that a subclass must write."""

    name: str = ""
    about: str = ""

    minimises_objective = True
    uses_starting_etas = True

    def init(self, problem: Problem) -> EstimationState:
        """The objective at the initial values, with the scores' inverse Hessian."""
        psi = problem.initial_unconstrained
        eta = np.zeros((len(problem.structure.layout.etas), problem.columns))
        first, _ = retry_lost_modes(self, problem, psi, _to_host(self.evaluate(problem, psi, eta)))
        return EstimationState(
            *(psi, sum_objective(problem, psi, first.objective), first.objective, first.gradient, first.eta),
            *(invert_scores(first.gradient), 0, 1),
            good=first.good,
        )

    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """One BFGS iteration: a line search along the quasi-Newton direction, or the end where it promises nothing."""
        gradient = sum_gradient(problem, state.psi, state.gradient)
        direction = -state.inverse @ gradient
        slope = float(gradient @ direction)
        if -slope / 2 < SMALLEST_FALL:
            return self._converge_or_restore(problem, state)
        if state.iteration >= MOST_ITERATIONS:
            return self._stop(state, ITERATION_LIMIT)
        length = min(1.0, LONGEST_STEP / float(np.abs(direction).max()))
        tried, new = 0, None
        for _ in range(30):
            tried += 1
            psi = state.psi + length * direction
            trial = _to_host(self.evaluate(problem, psi, state.eta))
            ofv = sum_objective(problem, psi, trial.objective)
            if not np.all(state.good) and not trial.good.all():
                trial, found_again = retry_lost_modes(self, problem, psi, trial, retries=2)
                ofv = sum_objective(problem, psi, trial.objective) if found_again else ofv
            falls = ofv < state.ofv  # without which the next condition, at rounding, takes a step of nothing
            falls = falls and ofv <= state.ofv + 1e-4 * length * slope
            # A subject whose mode was lost has no likelihood there, and what stands for it may be lower than any.
            keeps_modes = (trial.good | ~np.asarray(state.good)).all()
            if np.isfinite(ofv) and falls and keeps_modes and np.isfinite(trial.gradient).all():
                new = EstimationState(
                    psi, ofv, trial.objective, trial.gradient, trial.eta, state.inverse, good=trial.good
                )
                break
            length *= shorten_step(state.ofv, ofv, slope, length)
        if new is None:
            return self._restart_or_stall(problem, state, -slope / 2, tried)
        change = sum_gradient(problem, new.psi, new.gradient) - gradient
        inverse = update_inverse(state.inverse, new.psi - state.psi, change)
        new = replace(new, inverse=inverse, iteration=state.iteration + 1, evaluations=state.evaluations + tried)
        return new, _record_iteration(new, new.ofv - state.ofv, length * float(np.abs(direction).max()))

    def _restart_or_stall(
        self, problem: Problem, state: EstimationState, promised: float, tried: int
    ) -> tuple[EstimationState, IterationRecord]:
        """After a line search without success: a restart from the scores' curvature, or the end where that has been tried or
        `promised`, the fall that the quadratic model still predicts, is nothing."""
        fresh = invert_scores(state.gradient)
        if promised < 1e-4:  # what is left to gain is below what the objective can resolve: this is the minimum
            return self._converge_or_restore(problem, state)
        if np.allclose(fresh, state.inverse):
            return self._stop(state, STALLED)
        again = replace(state, inverse=fresh, iteration=state.iteration + 1, evaluations=state.evaluations + tried)
        return again, _record_iteration(again, 0.0, 0.0)

    def _converge_or_restore(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """The end, unless a random effect that vanished does better restored.

        ψ holds the logarithm of its standard deviation, so the slope vanishes there, be it a minimum or a maximum.
        """
        start, best, tried = problem.initial_unconstrained, state, 0
        for k in problem.structure.layout.log_sd_positions:
            if state.psi[k] > start[k] - VANISHED:
                continue
            psi = best.psi.copy()
            psi[k] = start[k] - RESTORED
            trial, tried = _to_host(self.evaluate(problem, psi, best.eta)), tried + 1
            ofv = sum_objective(problem, psi, trial.objective)
            keeps_modes = (trial.good | ~np.asarray(best.good)).all()
            if ofv < best.ofv - 1e-3 and keeps_modes and np.isfinite(trial.gradient).all():
                scores = invert_scores(trial.gradient)
                best = EstimationState(psi, ofv, trial.objective, trial.gradient, trial.eta, scores, good=trial.good)
        if best is state:
            return self._stop(state, CONVERGED)
        best = replace(best, iteration=state.iteration + 1, evaluations=state.evaluations + tried)
        return best, _record_iteration(best, best.ofv - state.ofv, float(np.abs(best.psi - state.psi).max()))

    @staticmethod
    def _stop(state: EstimationState, status: str) -> tuple[EstimationState, IterationRecord]:
        done = replace(state, status=status)
        return done, _record_iteration(done, 0.0, 0.0)


def sum_objective(problem: Problem, psi: np.ndarray, objective: Numbers) -> float:
    """The OFV: the subjects' objectives, and the penalty where there are priors."""
    objective_sum = float(np.asarray(objective).sum())
    return objective_sum + float(penalty_and_gradient(problem, psi)[0]) if problem.structure.priors else objective_sum


def sum_gradient(problem: Problem, psi: np.ndarray, gradient: Numbers) -> np.ndarray:
    """The gradient of the OFV in ψ (P,), from that of the subjects (P, N)."""
    gradient_sum = np.asarray(gradient).sum(axis=1)
    if not problem.structure.priors:
        return gradient_sum
    return gradient_sum + np.asarray(penalty_and_gradient(problem, psi)[1])


def differentiate_subjects(objective, psi: jax.Array, eta: jax.Array, subjects) -> tuple[jax.Array, jax.Array]:
    """Values (N,) and gradients in ψ (P, N) of `objective(psi, eta, subject)` over all subjects."""
    return jax.vmap(jax.value_and_grad(objective), in_axes=(None, -1, -1), out_axes=(0, -1))(psi, eta, subjects)


def _to_host(e: Evaluation) -> Evaluation:
    """The evaluation as NumPy arrays, computed to the end: what a state and a checkpoint hold."""
    return Evaluation(*(np.asarray(x) for x in jax.block_until_ready(e)))


def _record_iteration(state: EstimationState, change: float, step: float) -> IterationRecord:
    """The line of a state; the gradient shown is the largest of the subjects' sum, without priors."""
    norm = float(jnp.abs(state.gradient.sum(axis=1)).max()) if state.gradient.size else 0.0
    return IterationRecord(state.iteration, state.ofv, change, norm, step, state.evaluations)
