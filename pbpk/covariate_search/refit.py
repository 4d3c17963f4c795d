"""One submodel of a search: the enlarged problem with some coefficients fixed at 0, minimised by the method's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.estimation.descent_rules import invert_scores
from pbpk.estimation.quasi_newton import QuasiNewton, sum_gradient, sum_objective
from pbpk.estimation.state import CONVERGED, EstimationState
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@dataclass(frozen=True, eq=False)
class RestrictedMethod(QuasiNewton):
    """A likelihood method that moves only the coordinates `free` (P,) of ψ: the gradient of the others counts as 0, and BFGS
    then never leaves them."""

    inner_method: QuasiNewton | None = None
    free: np.ndarray | None = None

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """Evaluate by the inner method, with the gradient of fixed coordinates set to 0."""
        assert self.inner_method is not None and self.free is not None
        return mask_gradient(evaluate_on_host(self.inner_method, problem, psi, eta), self.free)


@dataclass(frozen=True, eq=False)
class SubmodelFit:
    """Where the fit of a submodel ended: ψ (P,), η (q, N), the OFV and its counts. `cause` is `converged`, or why it
    is not."""

    psi: np.ndarray
    eta: np.ndarray
    ofv: float
    cause: str
    iterations: int = 0
    evaluations: int = 0

    @property
    def converged(self) -> bool:
        """Whether the fit ended at a minimum."""
        return self.cause == CONVERGED


def evaluate_on_host(method: QuasiNewton, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
    """Evaluate the objective as NumPy arrays, with the gradient of every coordinate."""
    return Evaluation(*(np.asarray(x) for x in method.evaluate(problem, psi, eta)))


def mask_gradient(e: Evaluation, free: np.ndarray) -> Evaluation:
    """The evaluation with the gradient of all but the `free` coordinates set to 0."""
    return e._replace(gradient=np.where(free[:, None], e.gradient, 0.0))


def refit_submodel(
    method: QuasiNewton,
    problem: Problem,
    free: np.ndarray,
    psi: np.ndarray,
    eta: np.ndarray,
    first: Evaluation | None = None,
) -> SubmodelFit:
    """Minimise over the coordinates `free` (P,) from ψ and η; `first` is the evaluation there, if it is known.

    A fit that fails does not raise: its `cause` says why.
    """
    restricted_method = RestrictedMethod(method.name, method.about, method, free)
    evaluation = mask_gradient(first, free) if first is not None else restricted_method.evaluate(problem, psi, eta)
    ofv = sum_objective(problem, psi, evaluation.objective)
    if not (np.isfinite(ofv) and np.isfinite(evaluation.gradient).all()):
        return SubmodelFit(psi, eta, ofv, "the objective is not finite at the start", 0, 1)
    try:
        inverse = invert_scores(evaluation.gradient)
        start = (psi, ofv, evaluation.objective, evaluation.gradient, evaluation.eta, inverse, 0, 1)
        state = EstimationState(*start, good=evaluation.good)
        while not state.finished:
            state, _ = restricted_method.step(problem, state)
    except np.linalg.LinAlgError as e:
        return SubmodelFit(psi, eta, ofv, f"a matrix could not be inverted ({e})")
    failures = int((~np.asarray(state.good)).sum())
    cause = (
        f"no individual optimum found for {failures} subjects"
        if failures and state.status == CONVERGED
        else state.status
    )
    return SubmodelFit(state.psi, np.asarray(state.eta), float(state.ofv), cause, state.iteration, state.evaluations)


def invert_s_matrix(gradient: np.ndarray, free: np.ndarray) -> np.ndarray | None:
    """Covariance of the free coordinates by the S matrix, (¼ Σ gg')⁻¹ of gradients (P, N); None where it is singular."""
    g = gradient[free]
    s = g @ g.T / 4
    return np.linalg.inv(s) if np.isfinite(s).all() and np.linalg.matrix_rank(s) == len(s) else None


def compute_hessian(method: QuasiNewton, problem: Problem, free: np.ndarray, fitted: SubmodelFit) -> np.ndarray:
    """Hessian of the OFV in the free coordinates, by central differences of its exact gradient as in
    estimation/standard_errors.py."""
    e = evaluate_on_host(method, problem, fitted.psi, fitted.eta)
    inverse = invert_scores(e.gradient[free])
    step = np.clip(0.01 * np.sqrt(np.maximum(2 * np.diag(inverse), 1e-12)), 1e-5, 1e-2)
    rows = []
    for j, h in zip(np.flatnonzero(free), step, strict=True):
        ends = []
        for sign in (1.0, -1.0):
            psi = fitted.psi.copy()
            psi[j] += sign * h
            at = evaluate_on_host(method, problem, psi, fitted.eta)
            ends.append(sum_gradient(problem, psi, at.gradient)[free])
        rows.append((ends[0] - ends[1]) / (2 * h))
    matrix = np.array(rows)
    return (matrix + matrix.T) / 2
