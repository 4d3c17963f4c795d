"""Standard errors for every parameter, Ω included: R (Hessian), S (scores) and the sandwich R⁻¹SR⁻¹.

R is half the Hessian of the OFV in ψ, by central differences of its exact gradient; S is Σ gg'/4 over subjects. Both are
carried to the natural parameters by the delta method. NONMEM's $COVARIANCE prints the sandwich unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.estimation.quasi_newton import sum_gradient
from pbpk.likelihood.parameter_layout import natural_with_jacobian

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod
    from pbpk.estimation.state import EstimationState
    from pbpk.likelihood.problem import Problem


@dataclass(frozen=True)
class StandardErrors:
    """`covariance[matrix]` is (names, names) in natural coherent units, 0 for fixed parameters; `condition_number` is that of R
    as a correlation; `problems` says in sentences which matrix failed and why."""

    covariance: dict[str, np.ndarray]
    condition_number: float
    problems: tuple[str, ...]


def compute_standard_errors(
    method: EstimationMethod,
    problem: Problem,
    state: EstimationState,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> StandardErrors:
    """All three matrices at the estimates. `progress(done, of)` is called as the gradients come in (2 per parameter)."""
    hessian = compute_hessian(method, problem, state, progress)
    r, s = hessian / 2, state.gradient @ state.gradient.T / 4
    problems = []
    covariance: dict[str, np.ndarray] = {}
    to_natural = np.asarray(natural_with_jacobian(problem.structure.layout, state.psi, problem.initial)[1])
    values = np.linalg.eigvalsh(_correlation(r))
    if not np.isfinite(r).all() or values.min() <= 1e-10:
        problems.append("the R matrix is not positive definite: some parameters are not determined by these data")
    else:
        inverse = np.linalg.inv(r)
        covariance["R"] = to_natural @ inverse @ to_natural.T
        covariance["sandwich"] = to_natural @ inverse @ s @ inverse @ to_natural.T
    if np.linalg.matrix_rank(s) < len(s):
        problems.append(f"the S matrix is singular: {problem.subjects} subjects cannot support {len(s)} parameters")
    else:
        covariance["S"] = to_natural @ np.linalg.inv(s) @ to_natural.T
    condition = float(values.max() / values.min()) if values.min() > 0 else float("inf")
    return StandardErrors(covariance, condition, tuple(problems))


def compute_hessian(
    method: EstimationMethod, problem: Problem, state: EstimationState, progress=lambda done, of: None
) -> np.ndarray:
    """Hessian of the OFV in ψ: steps of a hundredth of each parameter's own standard error, symmetrised."""
    size = np.sqrt(np.maximum(2 * np.diag(state.inverse), 1e-12))
    step = np.clip(0.01 * size, 1e-5, 1e-2)
    rows = []
    for j, h in enumerate(step):
        ends = []
        for sign in (1.0, -1.0):
            psi = state.psi.copy()
            psi[j] += sign * h
            ends.append(sum_gradient(problem, psi, method.evaluate(problem, psi, state.eta).gradient))
            progress(2 * j + (sign < 0) + 1, 2 * len(step))
        rows.append((ends[0] - ends[1]) / (2 * h))
    h = np.array(rows)
    return (h + h.T) / 2


def _correlation(matrix: np.ndarray) -> np.ndarray:
    """The matrix in units of its diagonal, so that eigenvalues do not depend on the units of parameters; 0 where that is 0."""
    d = np.sqrt(np.abs(np.diag(matrix)))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = matrix / np.outer(d, d)
    return np.nan_to_num(scaled, nan=0.0)
