"""One subject's −2 log-likelihood pieces, written for one and vmapped over all.

Everything is a function of (ψ, η) through the polynomial of a jet, so that it can be differentiated freely. Sources:
Sheiner & Beal 1980; Lindstrom & Beal 1990; the objective's constants as NONMEM drops them (no n·ln 2π).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk.likelihood.endpoints.likelihood import correlation, curvatures, losses, moments, predicted, subject_loss
from pbpk.likelihood.prediction_jets import Jet, polynomial

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.base import Observed, Predicted
    from pbpk.likelihood.problem import Problem, Spec


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Subject:
    """observed, seen, endpoint (T,); covariates (k,); `jet` at the subject's η, `zero` at η = 0 where a method needs it."""

    observed: Observed
    seen: jax.Array
    endpoint: jax.Array
    covariates: jax.Array
    jet: Jet
    zero: Jet | None

    @property
    def y(self) -> jax.Array:
        return self.observed.y


def each_subject(problem: Problem, jet: Jet, zero: Jet | None = None) -> Subject:
    """All subjects, to be vmapped over the last axis."""
    return Subject(
        problem.observed_as(),
        jnp.asarray(problem.seen),
        jnp.asarray(problem.endpoint),
        jnp.asarray(problem.covariates)[0],
        jet,
        zero,
    )


@dataclass(frozen=True)
class Terms:
    """The likelihood of one subject for one structure; `interaction`: the residual variance follows η."""

    spec: Spec
    initial: jax.Array
    interaction: bool

    def prediction(self, psi: jax.Array, eta: jax.Array, s: Subject, jet: Jet) -> jax.Array:
        """What the model reads at the observations (T,), or (2T,) where an endpoint reads a second observable."""
        theta, _, _ = self.spec.layout.unpack(psi, self.initial)
        return polynomial(jet, self.spec.individual.mixed(theta, eta, s.covariates))

    def _parts(self, psi: jax.Array, eta: jax.Array, s: Subject) -> tuple[Predicted, dict]:
        theta, _, sigma = self.spec.layout.unpack(psi, self.initial)
        x = self.prediction(psi, eta, s, s.jet)
        around = x if self.interaction or s.zero is None else self.prediction(psi, 0 * eta, s, s.zero)
        return predicted(self.spec.endpoints, x, around, s.observed), theta | sigma

    def moments(self, psi: jax.Array, eta: jax.Array, s: Subject) -> tuple[jax.Array, jax.Array, jax.Array]:
        """y, its mean and its variance R (T,) on the residual's scale; R at η with interaction, at η = 0 without."""
        p, sigma = self._parts(psi, eta, s)
        return moments(self.spec.endpoints, s.endpoint, s.seen, p, s.observed, sigma)

    def data(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """−2 log p(y | η)."""
        p, sigma = self._parts(psi, eta, s)
        return subject_loss(self.spec.endpoints, s.endpoint, s.seen, p, s.observed, sigma)

    def joint(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """−2 log p(y, η): the data's part + η'Ω⁻¹η + ln|Ω|."""
        _, omega, _ = self.spec.layout.unpack(psi, self.initial)
        return self.data(psi, eta, s) + eta @ jnp.linalg.solve(omega, eta) + jnp.linalg.slogdet(omega)[1]

    def information(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """The half-Hessian of `joint` in η that is expected: Ω⁻¹ + Σ aa'/R (+ ½cc' with interaction), a = ∂f/∂η, c = ∂ln R/∂η.
        Observations that are not normal, censored ones among them, come with their observed curvature in f."""
        _, omega, _ = self.spec.layout.unpack(psi, self.initial)
        p, sigma = self._parts(psi, eta, s)
        t, ends = len(s.seen), self.spec.endpoints
        a = jax.jacfwd(lambda e: self.prediction(psi, e, s, s.jet)[:t])(eta)
        a = jnp.where(s.seen[:, None], a, 0.0)
        w = curvatures(ends, s.endpoint, s.seen, p, s.observed, sigma, self.interaction)
        c = correlation(ends, s.endpoint, s.seen, s.observed, sigma)
        if c is None:
            return jnp.linalg.inv(omega) + a.T @ (a * w[:, None])
        dense = jnp.array([e.continuous for e in ends])[s.endpoint]
        rest = a.T @ (a * jnp.where(dense, 0.0, w)[:, None])
        return jnp.linalg.inv(omega) + rest + self._correlated(psi, eta, s, c)

    def _correlated(self, psi: jax.Array, eta: jax.Array, s: Subject, c: jax.Array) -> jax.Array:
        """A'V⁻¹A (+ ½tr V⁻¹∂V V⁻¹∂V with interaction) with V = DCD: D the standard deviations, C their correlation."""
        _, mean, r = self.moments(psi, eta, s)
        here = s.seen & jnp.isfinite(mean)
        sd = jnp.sqrt(r)
        a = jax.jacfwd(lambda e: self.moments(psi, e, s)[1])(eta)
        a = jnp.where(here[:, None], a, 0.0) / sd[:, None]
        h = a.T @ jnp.linalg.solve(c, a)
        if self.interaction:
            b = jax.jacfwd(lambda e: 0.5 * jnp.log(self.moments(psi, e, s)[2]))(eta)
            b = jnp.where(here[:, None], b, 0.0)
            h = h + b.T @ b + b.T @ ((jnp.linalg.inv(c) * c) @ b)
        return h

    def conditional(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """The first-order conditional objective: `joint` at its minimum plus ln|information|."""
        return self.joint(psi, eta, s) + jnp.linalg.slogdet(self.information(psi, eta, s))[1]

    def laplace(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """Laplace's objective: `joint` at its minimum plus ln|half its Hessian|, exact and not expected."""
        hessian = jax.hessian(self.joint, argnums=1)(psi, eta, s)
        return self.joint(psi, eta, s) + jnp.linalg.slogdet(hessian / 2)[1]

    def first_order(self, psi: jax.Array, s: Subject) -> jax.Array:
        """FO: the model linearised at η = 0, so that y is normal with covariance AΩA' + R; and the Jacobian of its scale."""
        _, omega, sigma = self.spec.layout.unpack(psi, self.initial)
        eta = jnp.zeros(omega.shape[0])
        y, mean, r = self.moments(psi, eta, s)
        a = jax.jacfwd(lambda e: self.moments(psi, e, s)[1])(eta)
        a = jnp.where(s.seen[:, None], a, 0.0)
        residual = jnp.where(s.seen, y - mean, 0.0)
        p, sigma = self._parts(psi, eta, s)
        c = correlation(self.spec.endpoints, s.endpoint, s.seen, s.observed, sigma)
        sd = jnp.sqrt(r)
        v = a @ omega @ a.T + (jnp.diag(r) if c is None else sd[:, None] * c * sd[None, :])
        alone = jnp.where(s.seen, jnp.log(r) + residual**2 / r, 0.0)
        scale = jnp.sum(losses(self.spec.endpoints, s.endpoint, s.seen, p, s.observed, sigma) - alone)
        return jnp.linalg.slogdet(v)[1] + residual @ jnp.linalg.solve(v, residual) + scale
