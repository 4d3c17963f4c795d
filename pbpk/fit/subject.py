"""One subject's −2 log-likelihood pieces, written for one and vmapped over all.

Everything is a function of (ψ, η) through the polynomial of a jet, so that it can be differentiated freely. Sources:
Sheiner & Beal 1980; Lindstrom & Beal 1990; the objective's constants as NONMEM drops them (no n·ln 2π).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from pbpk.fit.jets import Jet, polynomial
from pbpk.fit.problem import Problem, Spec
from pbpk.fit.residual import variance


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Subject:
    """y, seen, endpoint (T,); covariates (k,); `jet` at the subject's η, `zero` at η = 0 where a method needs it."""

    y: jax.Array
    seen: jax.Array
    endpoint: jax.Array
    covariates: jax.Array
    jet: Jet
    zero: Jet | None


def each_subject(problem: Problem, jet: Jet, zero: Jet | None = None) -> Subject:
    """All subjects, to be vmapped over the last axis."""
    return Subject(
        jnp.asarray(problem.y),
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
        theta, _, _ = self.spec.layout.unpack(psi, self.initial)
        return polynomial(jet, self.spec.individual.mixed(theta, eta, s.covariates))

    def variance(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """R (T,), at η with interaction, at η = 0 without."""
        _, _, sigma = self.spec.layout.unpack(psi, self.initial)
        f = (
            self.prediction(psi, eta, s, s.jet)
            if self.interaction or s.zero is None
            else self.prediction(psi, 0 * eta, s, s.zero)
        )
        return jnp.where(s.seen, variance(self.spec.endpoints, s.endpoint, f, sigma), 1.0)

    def joint(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """−2 log p(y, η): Σ ln R + (y − f)²/R + η'Ω⁻¹η + ln|Ω|."""
        _, omega, _ = self.spec.layout.unpack(psi, self.initial)
        f, r = self.prediction(psi, eta, s, s.jet), self.variance(psi, eta, s)
        data = jnp.sum(jnp.where(s.seen, jnp.log(r) + (s.y - f) ** 2 / r, 0.0))
        return data + eta @ jnp.linalg.solve(omega, eta) + jnp.linalg.slogdet(omega)[1]

    def information(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """The expected half-Hessian of `joint` in η: Ω⁻¹ + Σ aa'/R (+ ½cc' with interaction), a = ∂f/∂η, c = ∂ln R/∂η."""
        _, omega, _ = self.spec.layout.unpack(psi, self.initial)
        a = jax.jacfwd(lambda e: self.prediction(psi, e, s, s.jet))(eta)
        r = self.variance(psi, eta, s)
        a = jnp.where(s.seen[:, None], a, 0.0)
        h = jnp.linalg.inv(omega) + a.T @ (a / r[:, None])
        if self.interaction:
            c = jax.jacfwd(lambda e: jnp.log(self.variance(psi, e, s)))(eta)
            h = h + 0.5 * c.T @ c
        return h

    def conditional(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """The first-order conditional objective: `joint` at its minimum plus ln|information|."""
        return self.joint(psi, eta, s) + jnp.linalg.slogdet(self.information(psi, eta, s))[1]

    def laplace(self, psi: jax.Array, eta: jax.Array, s: Subject) -> jax.Array:
        """Laplace's objective: `joint` at its minimum plus ln|half its Hessian|, exact and not expected."""
        hessian = jax.hessian(self.joint, argnums=1)(psi, eta, s)
        return self.joint(psi, eta, s) + jnp.linalg.slogdet(hessian / 2)[1]

    def first_order(self, psi: jax.Array, s: Subject) -> jax.Array:
        """FO: the model linearised at η = 0, so that y is normal with covariance AΩA' + R."""
        _, omega, _ = self.spec.layout.unpack(psi, self.initial)
        eta = jnp.zeros(omega.shape[0])
        f, r = self.prediction(psi, eta, s, s.jet), self.variance(psi, eta, s)
        a = jax.jacfwd(lambda e: self.prediction(psi, e, s, s.jet))(eta)
        a = jnp.where(s.seen[:, None], a, 0.0)
        residual = jnp.where(s.seen, s.y - f, 0.0)
        v = a @ omega @ a.T + jnp.diag(r)
        return jnp.linalg.slogdet(v)[1] + residual @ jnp.linalg.solve(v, residual)

    def pooled(self, psi: jax.Array, s: Subject) -> jax.Array:
        """No random effects: Σ ln R + (y − f)²/R."""
        eta = jnp.zeros(len(self.spec.layout.etas))
        f, r = self.prediction(psi, eta, s, s.jet), self.variance(psi, eta, s)
        return jnp.sum(jnp.where(s.seen, jnp.log(r) + (s.y - f) ** 2 / r, 0.0))
