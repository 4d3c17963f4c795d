"""The submodels of one search by name: each is fitted once, kept, and reported to the caller when its fit ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pbpk.covariate_search.refit import SubmodelFit, compute_hessian, evaluate_on_host, invert_s_matrix, refit_submodel
from pbpk.likelihood.parameter_layout import natural_with_jacobian

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import CandidateRelation, EnlargedStudy
    from pbpk.estimation.quasi_newton import QuasiNewton
    from pbpk.likelihood.evaluation import Evaluation
    from pbpk.likelihood.problem import Problem

BASE_MODEL = "base"


@dataclass
class SearchCallbacks:
    """What the caller of a search is informed of as it runs, and the fits that an interrupted call left.

    `on_fit(key, fit)` is called as each fit ends, where `key` says what is in the submodel and which was its parent;
    `on_step(words, fits)` before each step with its number of fits; `on_reused_fit()` for a fit that was there already.
    `earlier_fits` are those of an interrupted call, by key.
    """

    on_fit: Callable[[str, SubmodelFit], None] = field(default=lambda name, model: None)
    on_step: Callable[[str, int], None] = field(default=lambda words, fits: None)
    on_reused_fit: Callable[[], None] = field(default=lambda: None)
    earlier_fits: Mapping[str, SubmodelFit] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SubmodelFits:
    """Fits the submodels of one enlarged problem by one method; `converged_fits` keeps those that converged, by name."""

    enlarged: EnlargedStudy
    method: QuasiNewton
    problem: Problem
    callbacks: SearchCallbacks
    converged_fits: dict[str, SubmodelFit] = field(default_factory=dict)

    def fit_submodel(
        self,
        chosen: tuple[CandidateRelation, ...],
        parent_candidates: tuple[CandidateRelation, ...],
        parent: SubmodelFit,
        first: Evaluation | None = None,
    ) -> SubmodelFit:
        """Fit the submodel with these candidates from its parent, with all other coefficients at 0.

        A submodel that has converged once is not fitted again, whatever its parent. `first` is the evaluation at the parent.
        """
        name = format_model_name(chosen)
        if name in self.converged_fits:
            self.callbacks.on_reused_fit()
            return self.converged_fits[name]
        free = self.enlarged.mask_estimated(chosen)
        psi = np.where(self._is_candidate_coefficient & ~free, 0.0, parent.psi)
        first_evaluation = first if np.array_equal(psi, parent.psi) else None
        return self.reuse_or_fit(
            name,
            f"{name} from {format_model_name(parent_candidates)}",
            lambda: refit_submodel(self.method, self.problem, free, psi, parent.eta, first_evaluation),
        )

    def reuse_or_fit(self, name: str, key: str, run_fit: Callable[[], SubmodelFit]) -> SubmodelFit:
        """The fit of an earlier call under this `key`, or else that of `run_fit`.

        The parent is part of the key, so that an interrupted search takes the same steps as one that was not interrupted.
        """
        if key in self.callbacks.earlier_fits:
            fitted = self.callbacks.earlier_fits[key]
            self.callbacks.on_reused_fit()
        else:
            fitted = run_fit()
            self.callbacks.on_fit(key, fitted)
        if fitted.converged:
            self.converged_fits[name] = fitted
        return fitted

    @property
    def _is_candidate_coefficient(self) -> np.ndarray:
        """Mark the coordinates of ψ (P,) that are coefficients of candidates."""
        return ~self.enlarged.mask_estimated(())

    def evaluate_at(self, model: SubmodelFit) -> Evaluation:
        """The evaluation at the estimates of a submodel, with the gradient of every candidate's coefficient too."""
        return evaluate_on_host(self.method, self.problem, model.psi, model.eta)

    def list_coefficients(self, candidate: CandidateRelation, model: SubmodelFit) -> dict[str, float]:
        """The coefficients of a candidate by name; they are the same in ψ and in natural units."""
        at = self.enlarged.locate_coefficients((candidate,))
        return dict(zip(candidate.coefficients, (float(x) for x in model.psi[at]), strict=True))

    def compute_coefficient_errors(
        self, candidate: CandidateRelation, chosen: tuple[CandidateRelation, ...], model: SubmodelFit
    ) -> dict[str, float]:
        """Standard errors of a candidate's coefficients from the scores (S), at the cost of one evaluation; NaN where
        S is singular."""
        free = self.enlarged.mask_estimated(chosen)
        inverse = invert_s_matrix(self.evaluate_at(model).gradient, free)
        at = [
            int(np.flatnonzero(np.flatnonzero(free) == k)[0]) for k in self.enlarged.locate_coefficients((candidate,))
        ]
        errors = np.full(len(at), np.nan) if inverse is None else np.sqrt(np.diag(inverse)[at])
        return dict(zip(candidate.coefficients, (float(x) for x in errors), strict=True))

    def compute_covariance(
        self, chosen: tuple[CandidateRelation, ...], model: SubmodelFit, matrix: str
    ) -> np.ndarray | None:
        """Covariance of the natural vector (names, names), coherent units, 0 where fixed, by R, S or the sandwich.

        None where the matrix is singular.
        """
        free, layout = self.enlarged.mask_estimated(chosen), self.problem.structure.layout
        if not free.any():
            return np.zeros((len(layout.names), len(layout.names)))
        scores = invert_s_matrix(self.evaluate_at(model).gradient, free)
        if matrix == "S":
            covariance = scores
        else:
            r = compute_hessian(self.method, self.problem, free, model) / 2
            if not np.isfinite(r).all() or np.linalg.eigvalsh(_convert_to_correlation(r)).min() <= 1e-10:
                return None
            covariance = np.linalg.inv(r)
            if matrix == "sandwich":
                g = self.evaluate_at(model).gradient[free]
                covariance = covariance @ (g @ g.T / 4) @ covariance
        if covariance is None:
            return None
        jacobian = np.asarray(natural_with_jacobian(layout, model.psi, np.asarray(self.problem.initial))[1])[:, free]
        return jacobian @ covariance @ jacobian.T

    def convert_to_natural(self, model: SubmodelFit) -> np.ndarray:
        """The parameters of a submodel on their natural scale (names,), in coherent units."""
        layout = self.problem.structure.layout
        return np.asarray(natural_with_jacobian(layout, model.psi, np.asarray(self.problem.initial))[0])


def format_model_name(chosen: tuple[CandidateRelation, ...]) -> str:
    """Name a submodel by what is in it, in one order whichever way it was reached: `CL-WT power + V-WT power`; `base`
    without any."""
    return " + ".join(sorted(c.name for c in chosen)) or BASE_MODEL


def _convert_to_correlation(matrix: np.ndarray) -> np.ndarray:
    """The correlations of a covariance; 0 where a variance is 0."""
    d = np.sqrt(np.abs(np.diag(matrix)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(matrix / np.outer(d, d), nan=0.0)
