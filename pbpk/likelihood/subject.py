"""One subject's −2 log-likelihood pieces, written for one and vmapped over all.

Everything is a function of (ψ, η) through the polynomial of a jet, so that it can be differentiated freely. Sources:
Sheiner & Beal 1980; Lindstrom & Beal 1990; the objective's constants as NONMEM drops them (no n·ln 2π).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk.likelihood.endpoints.likelihood import (
    arrange_predictions,
    record_curvatures,
    record_minus2ll,
    residual_correlation,
    residual_moments,
    subject_minus2ll,
)
from pbpk.likelihood.prediction_jets import PredictionJet, evaluate_jet

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.base import Observed, Predicted
    from pbpk.likelihood.problem import ModelStructure, Problem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SubjectArrays:
    """observed, seen, endpoint (T,); covariates (k,); `jet` at the subject's η, `zero` at η = 0 where a method needs it."""

    observed: Observed
    observed_mask: jax.Array
    endpoint_index: jax.Array
    covariates: jax.Array
    jet: PredictionJet
    jet_at_zero: PredictionJet | None

    @property
    def y(self) -> jax.Array:
        return self.observed.y


def subject_arrays(problem: Problem, jet: PredictionJet, zero: PredictionJet | None = None) -> SubjectArrays:
    """All subjects, to be vmapped over the last axis."""
    return SubjectArrays(
        problem.observed_on_device(),
        jnp.asarray(problem.observed_mask),
        jnp.asarray(problem.endpoint_index),
        jnp.asarray(problem.covariates)[0],
        jet,
        zero,
    )


@dataclass(frozen=True)
class SubjectLikelihood:
    """The likelihood of one subject for one structure; `interaction`: the residual variance follows η."""

    structure: ModelStructure
    initial: jax.Array
    interaction: bool

    def prediction(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays, jet: PredictionJet) -> jax.Array:
        """What the model reads at the observations (T,), or (2T,) where an endpoint reads a second observable."""
        theta, _, _ = self.structure.layout.unpack(psi, self.initial)
        return evaluate_jet(jet, self.structure.individual_model.individual_parameters(theta, eta, s.covariates))

    def _predicted(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays) -> tuple[Predicted, dict]:
        theta, _, sigma = self.structure.layout.unpack(psi, self.initial)
        x = self.prediction(psi, eta, s, s.jet)
        around = x if self.interaction or s.jet_at_zero is None else self.prediction(psi, 0 * eta, s, s.jet_at_zero)
        return arrange_predictions(self.structure.endpoints, x, around, s.observed), theta | sigma

    def moments(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays) -> tuple[jax.Array, jax.Array, jax.Array]:
        """y, its mean and its variance R (T,) on the residual's scale; R at η with interaction, at η = 0 without."""
        p, sigma = self._predicted(psi, eta, s)
        return residual_moments(self.structure.endpoints, s.endpoint_index, s.observed_mask, p, s.observed, sigma)

    def data_minus2ll(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """−2 log p(y | η)."""
        p, sigma = self._predicted(psi, eta, s)
        return subject_minus2ll(self.structure.endpoints, s.endpoint_index, s.observed_mask, p, s.observed, sigma)

    def joint_minus2ll(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """−2 log p(y, η): the data's part + η'Ω⁻¹η + ln|Ω|."""
        _, omega, _ = self.structure.layout.unpack(psi, self.initial)
        return self.data_minus2ll(psi, eta, s) + eta @ jnp.linalg.solve(omega, eta) + jnp.linalg.slogdet(omega)[1]

    def information(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """The half-Hessian of `joint` in η that is expected: Ω⁻¹ + Σ aa'/R (+ ½cc' with interaction), a = ∂f/∂η, c = ∂ln R/∂η.
        Observations that are not normal, censored ones among them, come with their observed curvature in f."""
        _, omega, _ = self.structure.layout.unpack(psi, self.initial)
        p, sigma = self._predicted(psi, eta, s)
        t, ends = len(s.observed_mask), self.structure.endpoints
        a = jax.jacfwd(lambda e: self.prediction(psi, e, s, s.jet)[:t])(eta)
        a = jnp.where(s.observed_mask[:, None], a, 0.0)
        w = record_curvatures(ends, s.endpoint_index, s.observed_mask, p, s.observed, sigma, self.interaction)
        c = residual_correlation(ends, s.endpoint_index, s.observed_mask, s.observed, sigma)
        if c is None:
            return jnp.linalg.inv(omega) + a.T @ (a * w[:, None])
        dense = jnp.array([e.is_continuous for e in ends])[s.endpoint_index]
        rest = a.T @ (a * jnp.where(dense, 0.0, w)[:, None])
        return jnp.linalg.inv(omega) + rest + self._correlated_information(psi, eta, s, c)

    def _correlated_information(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays, c: jax.Array) -> jax.Array:
        """A'V⁻¹A (+ ½tr V⁻¹∂V V⁻¹∂V with interaction) with V = DCD: D the standard deviations, C their correlation."""
        _, mean, r = self.moments(psi, eta, s)
        here = s.observed_mask & jnp.isfinite(mean)
        sd = jnp.sqrt(r)
        a = jax.jacfwd(lambda e: self.moments(psi, e, s)[1])(eta)
        a = jnp.where(here[:, None], a, 0.0) / sd[:, None]
        h = a.T @ jnp.linalg.solve(c, a)
        if self.interaction:
            b = jax.jacfwd(lambda e: 0.5 * jnp.log(self.moments(psi, e, s)[2]))(eta)
            b = jnp.where(here[:, None], b, 0.0)
            h = h + b.T @ b + b.T @ ((jnp.linalg.inv(c) * c) @ b)
        return h

    def conditional_objective(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """The first-order conditional objective: `joint` at its minimum plus ln|information|."""
        return self.joint_minus2ll(psi, eta, s) + jnp.linalg.slogdet(self.information(psi, eta, s))[1]

    def laplace_objective(self, psi: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """Laplace's objective: `joint` at its minimum plus ln|half its Hessian|, exact and not expected."""
        hessian = jax.hessian(self.joint_minus2ll, argnums=1)(psi, eta, s)
        return self.joint_minus2ll(psi, eta, s) + jnp.linalg.slogdet(hessian / 2)[1]

    def first_order_objective(self, psi: jax.Array, s: SubjectArrays) -> jax.Array:
        """FO: the model linearised at η = 0, so that y is normal with covariance AΩA' + R; and the Jacobian of its scale."""
        _, omega, sigma = self.structure.layout.unpack(psi, self.initial)
        eta = jnp.zeros(omega.shape[0])
        y, mean, r = self.moments(psi, eta, s)
        a = jax.jacfwd(lambda e: self.moments(psi, e, s)[1])(eta)
        a = jnp.where(s.observed_mask[:, None], a, 0.0)
        residual = jnp.where(s.observed_mask, y - mean, 0.0)
        p, sigma = self._predicted(psi, eta, s)
        c = residual_correlation(self.structure.endpoints, s.endpoint_index, s.observed_mask, s.observed, sigma)
        sd = jnp.sqrt(r)
        v = a @ omega @ a.T + (jnp.diag(r) if c is None else sd[:, None] * c * sd[None, :])
        alone = jnp.where(s.observed_mask, jnp.log(r) + residual**2 / r, 0.0)
        scale = jnp.sum(
            record_minus2ll(self.structure.endpoints, s.endpoint_index, s.observed_mask, p, s.observed, sigma) - alone
        )
        return jnp.linalg.slogdet(v)[1] + residual @ jnp.linalg.solve(v, residual) + scale
