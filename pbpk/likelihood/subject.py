"""One subject's −2 log-likelihood and its approximate marginals, written for one subject and vmapped over all.

Everything is a function of (ψ, η), ψ being the unconstrained vector, through the polynomial of a jet, so that it can be
differentiated freely. Sources: Sheiner & Beal 1980; Lindstrom & Beal 1990; the objective's constants as NONMEM drops them (no
n·ln 2π).
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
    """What the likelihood of one subject is made of, or of all with the subjects along the last axis.

    `observed`, `observed_mask` and `endpoint_index` are (T,), covariates (k,); `jet` is taken at the subject's η, and
    `jet_at_zero` at η = 0 where a method needs it.
    """

    observed: Observed
    observed_mask: jax.Array
    endpoint_index: jax.Array
    covariates: jax.Array
    jet: PredictionJet
    jet_at_zero: PredictionJet | None

    @property
    def y(self) -> jax.Array:
        """The recorded values (T,)."""
        return self.observed.y


def subject_arrays(problem: Problem, jet: PredictionJet, jet_at_zero: PredictionJet | None = None) -> SubjectArrays:
    """All subjects, to be vmapped over the last axis."""
    return SubjectArrays(
        problem.observed_on_device(),
        jnp.asarray(problem.observed_mask),
        jnp.asarray(problem.endpoint_index),
        jnp.asarray(problem.covariates)[0],
        jet,
        jet_at_zero,
    )


@dataclass(frozen=True)
class SubjectLikelihood:
    """The likelihood of one subject for one structure. `initial` is the natural vector that held entries come from;
    `interaction`: the residual variance follows η."""

    structure: ModelStructure
    initial: jax.Array
    interaction: bool

    def prediction(self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays, jet: PredictionJet) -> jax.Array:
        """What the model reads at the observations (T,), or (2T,) where an endpoint reads a second observable."""
        theta, _, _ = self.structure.layout.unpack(unconstrained, self.initial)
        return evaluate_jet(jet, self.structure.individual_model.individual_parameters(theta, eta, s.covariates))

    def _predicted(self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays) -> tuple[Predicted, dict]:
        """Predictions with those that the variance follows, and θ and σ by name."""
        theta, _, sigma = self.structure.layout.unpack(unconstrained, self.initial)
        x = self.prediction(unconstrained, eta, s, s.jet)
        variance_x = x
        if not self.interaction and s.jet_at_zero is not None:
            variance_x = self.prediction(unconstrained, 0 * eta, s, s.jet_at_zero)
        return arrange_predictions(self.structure.endpoints, x, variance_x, s.observed), theta | sigma

    def moments(
        self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """y, its mean and its variance R (T,) on the residual's scale; R at η with interaction, at η = 0 without."""
        p, values = self._predicted(unconstrained, eta, s)
        endpoints = self.structure.endpoints
        return residual_moments(endpoints, s.endpoint_index, s.observed_mask, p, s.observed, values)

    def data_minus2ll(self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """−2 log p(y | η)."""
        p, values = self._predicted(unconstrained, eta, s)
        endpoints = self.structure.endpoints
        return subject_minus2ll(endpoints, s.endpoint_index, s.observed_mask, p, s.observed, values)

    def joint_minus2ll(self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """−2 log p(y, η): the data's part + η'Ω⁻¹η + ln|Ω|."""
        _, omega, _ = self.structure.layout.unpack(unconstrained, self.initial)
        return (
            self.data_minus2ll(unconstrained, eta, s)
            + eta @ jnp.linalg.solve(omega, eta)
            + jnp.linalg.slogdet(omega)[1]
        )

    def information(self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """The expected half-Hessian of `joint_minus2ll` in η (q, q): Ω⁻¹ + Σ aa'/R (+ ½cc' with interaction), a = ∂f/∂η,
        c = ∂ln R/∂η. Observations that are not normal, censored ones among them, come with their observed curvature in f."""
        _, omega, _ = self.structure.layout.unpack(unconstrained, self.initial)
        p, values = self._predicted(unconstrained, eta, s)
        t, endpoints, which, mask = len(s.observed_mask), self.structure.endpoints, s.endpoint_index, s.observed_mask
        a = jax.jacfwd(lambda e: self.prediction(unconstrained, e, s, s.jet)[:t])(eta)
        a = jnp.where(mask[:, None], a, 0.0)
        w = record_curvatures(endpoints, which, mask, p, s.observed, values, self.interaction)
        c = residual_correlation(endpoints, which, mask, s.observed, values)
        if c is None:
            return jnp.linalg.inv(omega) + a.T @ (a * w[:, None])
        continuous = jnp.array([e.is_continuous for e in endpoints])[which]
        others = a.T @ (a * jnp.where(continuous, 0.0, w)[:, None])
        return jnp.linalg.inv(omega) + others + self._correlated_information(unconstrained, eta, s, c)

    def _correlated_information(
        self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays, c: jax.Array
    ) -> jax.Array:
        """A'V⁻¹A (+ ½tr V⁻¹∂V V⁻¹∂V with interaction) with V = DCD: D the standard deviations, C their correlation."""
        _, mean, r = self.moments(unconstrained, eta, s)
        mask = s.observed_mask & jnp.isfinite(mean)
        sd = jnp.sqrt(r)
        a = jax.jacfwd(lambda e: self.moments(unconstrained, e, s)[1])(eta)
        a = jnp.where(mask[:, None], a, 0.0) / sd[:, None]
        h = a.T @ jnp.linalg.solve(c, a)
        if self.interaction:
            b = jax.jacfwd(lambda e: 0.5 * jnp.log(self.moments(unconstrained, e, s)[2]))(eta)
            b = jnp.where(mask[:, None], b, 0.0)
            h = h + b.T @ b + b.T @ ((jnp.linalg.inv(c) * c) @ b)
        return h

    def conditional_objective(self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """The first-order conditional objective: `joint_minus2ll` at its minimum plus ln|information|."""
        information = self.information(unconstrained, eta, s)
        return self.joint_minus2ll(unconstrained, eta, s) + jnp.linalg.slogdet(information)[1]

    def laplace_objective(self, unconstrained: jax.Array, eta: jax.Array, s: SubjectArrays) -> jax.Array:
        """Laplace's objective: `joint_minus2ll` at its minimum plus ln|half its Hessian|, exact and not expected."""
        hessian = jax.hessian(self.joint_minus2ll, argnums=1)(unconstrained, eta, s)
        return self.joint_minus2ll(unconstrained, eta, s) + jnp.linalg.slogdet(hessian / 2)[1]

    def first_order_objective(self, unconstrained: jax.Array, s: SubjectArrays) -> jax.Array:
        """FO: the model linearised at η = 0, so that y is normal with covariance AΩA' + R; and the Jacobian of its scale."""
        _, omega, _ = self.structure.layout.unpack(unconstrained, self.initial)
        eta, mask, which = jnp.zeros(omega.shape[0]), s.observed_mask, s.endpoint_index
        y, mean, r = self.moments(unconstrained, eta, s)
        a = jax.jacfwd(lambda e: self.moments(unconstrained, e, s)[1])(eta)
        a = jnp.where(mask[:, None], a, 0.0)
        residual = jnp.where(mask, y - mean, 0.0)
        p, values = self._predicted(unconstrained, eta, s)
        c = residual_correlation(self.structure.endpoints, which, mask, s.observed, values)
        sd = jnp.sqrt(r)
        v = a @ omega @ a.T + (jnp.diag(r) if c is None else sd[:, None] * c * sd[None, :])
        # What −2 ln p has beside ln R + residual²/R of each record is the Jacobian of the transforms.
        normal = jnp.where(mask, jnp.log(r) + residual**2 / r, 0.0)
        records = record_minus2ll(self.structure.endpoints, which, mask, p, s.observed, values)
        jacobian = jnp.sum(records - normal)
        return jnp.linalg.slogdet(v)[1] + residual @ jnp.linalg.solve(v, residual) + jacobian
