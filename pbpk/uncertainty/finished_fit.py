"""A finished fit as every analysis of its uncertainty starts from it: the problem, its optimum, and the covariance there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.likelihood.parameter_layout import ParameterLayout, natural_with_jacobian
from pbpk.likelihood.problem import Problem

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod
    from pbpk.estimation.state import EstimationState
    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class FinishedFit:
    """P free parameters, N subjects. `names`, `scale`, `units` and `labels` are those of the free parameters, in the order of
    the natural vector; a coherent number divided by its `scale` is in the unit shown. `covariance` (P, P) is that of the
    natural free parameters, coherent; None where the fit has none; `matrix` is its kind. `inverse_hessian` (P, P) is of the
    OFV in ψ."""

    study: Study
    method: EstimationMethod
    problem: Problem
    psi: np.ndarray
    eta: np.ndarray
    ofv: float
    inverse_hessian: np.ndarray
    covariance: np.ndarray | None
    matrix: str
    names: tuple[str, ...]
    scale: np.ndarray
    units: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def layout(self) -> ParameterLayout:
        """The layout of the problem's parameters."""
        return self.problem.structure.layout

    @property
    def estimates(self) -> np.ndarray:
        """The free parameters (P,), in shown units."""
        return self.to_shown_units(self.psi)

    def to_shown_units(self, psi: np.ndarray) -> np.ndarray:
        """The free natural parameters at ψ, in shown units."""
        return self.map_to_natural(psi)[0] / self.scale

    def map_to_natural(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The free natural parameters (P,), coherent, and their Jacobian in ψ (P, P): they are as many as ψ is long."""
        values, jacobian, _ = natural_with_jacobian(self.layout, psi, np.asarray(self.problem.initial))
        return np.asarray(values)[~self.layout.fixed_mask], np.asarray(jacobian)[~self.layout.fixed_mask]

    @property
    def psi_covariance(self) -> np.ndarray | None:
        """`covariance` carried to ψ by the delta method; None where there is none, or where a parameter is on its edge."""
        if self.covariance is None:
            return None
        jacobian = self.map_to_natural(self.psi)[1]
        with np.errstate(all="ignore"):
            try:
                back = np.linalg.inv(jacobian)
            except np.linalg.LinAlgError:
                return None
            covariance = back @ self.covariance @ back.T
        covariance = (covariance + covariance.T) / 2
        is_valid = np.isfinite(covariance).all() and np.linalg.eigvalsh(covariance).min() > 0
        return covariance if is_valid else None


def build_finished_fit(
    study: Study,
    method: EstimationMethod,
    state: EstimationState,
    covariance: np.ndarray | None = None,
    matrix: str = "R",
) -> FinishedFit:
    """A finished fit from the last state of an estimation. `covariance` is of the free natural parameters, coherent; `matrix`
    names it, as a fit's result does.

    Raises `ScienceFailed` where the estimation did not converge.
    """
    problem = method.prepare(study.problem)
    if state.status != "converged":
        raise ScienceFailed(
            f"the fit did not converge ({state.status})",
            where=study.name,
            why="what is asked of its minimum has no meaning at a point that is none",
        )
    layout = problem.structure.layout
    free = [n for n, is_fixed in zip(layout.names, layout.fixed_mask, strict=True) if not is_fixed]
    at = [study.problem.structure.layout.names.index(n) for n in free]
    return FinishedFit(
        study=study,
        method=method,
        problem=problem,
        psi=np.asarray(state.psi),
        eta=np.asarray(state.eta),
        ofv=float(state.ofv),
        inverse_hessian=np.asarray(state.inverse),
        covariance=covariance,
        matrix=matrix,
        names=tuple(free),
        scale=np.asarray(study.scale)[at],
        units=tuple(study.units[i] for i in at),
        labels=tuple(study.labels[i] for i in at),
    )


def require_exact_gradient(fit: FinishedFit) -> None:
    """Raises `WrongUsage` for a fit that cannot be refitted, profiled or weighed: that takes subjects, and an objective with an
    exact gradient."""
    if not fit.method.minimises_objective:
        from pbpk.estimation.methods import list_methods_with

        *others, last = list_methods_with("minimises_objective")
        raise WrongUsage(
            f"a run by {fit.method.name} cannot be evaluated many times",
            why=f"that takes an objective with an exact gradient, which {', '.join(others)} and {last} have",
            hint="fit the study by one of them first",
        )
    if not isinstance(fit.problem, Problem):
        raise WrongUsage(
            "a fit to published aggregates cannot be evaluated many times",
            why="its rows are no subjects, to be drawn or simulated",
        )
