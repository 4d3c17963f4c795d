"""The models of one search by name: fitted once, remembered, and shown to whoever watches as each ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pbpk.covariate_search.refit import Fitted, hessian, measured, refit, scores_inverse
from pbpk.likelihood.parameter_layout import natural_with_jacobian

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import Candidate, Enlarged
    from pbpk.estimation.quasi_newton import QuasiNewton
    from pbpk.likelihood.evaluation import Evaluation
    from pbpk.likelihood.problem import Problem

BASE = "base"


@dataclass
class Watch:
    """What the caller sees, and what it has of an earlier, interrupted call. `fitted(key, model)` comes as each fit ends,
    `key` saying what is in the model and which was its parent; `step(words, fits)` before each step, `seen()` for a fit that
    was there."""

    fitted: Callable[[str, Fitted], None] = field(default=lambda name, model: None)
    step: Callable[[str, int], None] = field(default=lambda words, fits: None)
    seen: Callable[[], None] = field(default=lambda: None)
    done: Mapping[str, Fitted] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Models:
    """Fits of parts of one enlarged problem by one method."""

    enlarged: Enlarged
    method: QuasiNewton
    problem: Problem
    watch: Watch
    known: dict[str, Fitted] = field(default_factory=dict)

    def fit(
        self,
        chosen: tuple[Candidate, ...],
        before: tuple[Candidate, ...],
        parent: Fitted,
        first: Evaluation | None = None,
    ) -> Fitted:
        """The model with these candidates, from its parent with all others at 0. What has converged once is not sought again,
        whichever way a step comes by it."""
        name = model_name(chosen)
        if name in self.known:
            self.watch.seen()
            return self.known[name]
        free = self.enlarged.mask(chosen)
        psi = np.where(self._coefficients & ~free, 0.0, parent.psi)
        known = first if np.array_equal(psi, parent.psi) else None
        return self.sought(
            name,
            f"{name} from {model_name(before)}",
            lambda: refit(self.method, self.problem, free, psi, parent.eta, known),
        )

    def sought(self, name: str, key: str, fit: Callable[[], Fitted]) -> Fitted:
        """By `fit`, unless an earlier call has been there: its parent is part of the key, so that one that was interrupted goes
        the same way as one that was not."""
        if key in self.watch.done:
            found = self.watch.done[key]
            self.watch.seen()
        else:
            found = fit()
            self.watch.fitted(key, found)
        if found.converged:
            self.known[name] = found
        return found

    @property
    def _coefficients(self) -> np.ndarray:
        return ~self.enlarged.mask(())

    def measured(self, model: Fitted) -> Evaluation:
        """At its estimates, with the gradient of every candidate's coefficient too."""
        return measured(self.method, self.problem, model.psi, model.eta)

    def values(self, candidate: Candidate, model: Fitted) -> dict[str, float]:
        """Its coefficients, which are the same in ψ and in natural units."""
        at = self.enlarged.places((candidate,))
        return dict(zip(candidate.coefficients, (float(x) for x in model.psi[at]), strict=True))

    def errors(self, candidate: Candidate, chosen: tuple[Candidate, ...], model: Fitted) -> dict[str, float]:
        """Their standard errors by the scores (S), which cost one evaluation; NaN where S is singular."""
        free = self.enlarged.mask(chosen)
        inverse = scores_inverse(self.measured(model).gradient, free)
        at = [int(np.flatnonzero(np.flatnonzero(free) == k)[0]) for k in self.enlarged.places((candidate,))]
        found = np.full(len(at), np.nan) if inverse is None else np.sqrt(np.diag(inverse)[at])
        return dict(zip(candidate.coefficients, (float(x) for x in found), strict=True))

    def covariance(self, chosen: tuple[Candidate, ...], model: Fitted, matrix: str) -> np.ndarray | None:
        """Of the natural vector (names, names), coherent, 0 where held; by R, S or the sandwich. None where there is none."""
        free, layout = self.enlarged.mask(chosen), self.problem.structure.layout
        if not free.any():
            return np.zeros((len(layout.names), len(layout.names)))
        scores = scores_inverse(self.measured(model).gradient, free)
        if matrix == "S":
            inner = scores
        else:
            r = hessian(self.method, self.problem, free, model) / 2
            if not np.isfinite(r).all() or np.linalg.eigvalsh(_correlation(r)).min() <= 1e-10:
                return None
            inner = np.linalg.inv(r)
            if matrix == "sandwich":
                g = self.measured(model).gradient[free]
                inner = inner @ (g @ g.T / 4) @ inner
        if inner is None:
            return None
        natural = np.asarray(natural_with_jacobian(layout, model.psi, np.asarray(self.problem.initial))[1])[:, free]
        return natural @ inner @ natural.T

    def natural(self, model: Fitted) -> np.ndarray:
        """(names,), coherent."""
        layout = self.problem.structure.layout
        return np.asarray(natural_with_jacobian(layout, model.psi, np.asarray(self.problem.initial))[0])


def model_name(chosen: tuple[Candidate, ...]) -> str:
    """What is in a model, whatever the order: `CL-WT power + V-WT power`; `base` without any."""
    return " + ".join(sorted(c.name for c in chosen)) or BASE


def _correlation(matrix: np.ndarray) -> np.ndarray:
    d = np.sqrt(np.abs(np.diag(matrix)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(matrix / np.outer(d, d), nan=0.0)
