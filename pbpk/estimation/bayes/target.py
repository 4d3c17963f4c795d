"""The density that Bayesian methods work on: ln p(y, ψ, z) up to a constant, in coordinates without bounds.

    ln p = −½ Σ_i data_i(ψ, η) − ½ Σ z² + ln p(natural(ψ)) + ln |∂ natural/∂ψ|,    η = L(ψ) z,   LL' = Ω

z is standard normal beforehand, so that η and Ω do not hold each other in a funnel where the data say little (the non-centred
form; Papaspiliopoulos, Roberts & Sköld 2007). With `centred` z is η itself, which suits many data a subject. A mixture's
subjects have their η in each class, and their likelihood is the mean over classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.mixture import log_class_probabilities
from pbpk.likelihood.priors import total_log_density
from pbpk.solve.choose import restore_reverse_mode

if TYPE_CHECKING:
    from pbpk.estimation.bayes.default_priors import AssumedPrior
    from pbpk.likelihood.problem import Problem


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LogPosterior:
    """The log density of a problem's posterior, as a function of ψ (P,) and z (q, N). `assumed_priors` are added to the study's
    own; `centred`: z is η itself."""

    problem: Problem
    assumed_priors: tuple[AssumedPrior, ...] = field(metadata={"static": True})
    centred: bool = field(default=False, metadata={"static": True})

    def eta(self, psi: jax.Array, z: jax.Array) -> jax.Array:
        """η (q, N) from z (q, N)."""
        return z if self.centred or not z.shape[0] else jnp.linalg.cholesky(self.problem.unpack(psi)[1]) @ z

    def z(self, psi: jax.Array, eta: jax.Array) -> jax.Array:
        """z (q, N) from η (q, N)."""
        if self.centred or not eta.shape[0]:
            return eta
        return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(self.problem.unpack(psi)[1]), eta, lower=True)

    def log_density(self, psi: jax.Array, z: jax.Array) -> jax.Array:
        """ln p(y, ψ, z) up to a constant."""
        return self.log_likelihood(psi, z) + self.log_random_effects(psi, z) + self.log_prior(psi)

    def log_likelihood(self, psi: jax.Array, z: jax.Array) -> jax.Array:
        """ln p(y | ψ, z) of all subjects."""
        problem = self.problem
        log_likelihoods = -0.5 * problem.data_minus2ll(psi, self.eta(psi, z))
        if problem.structure.classes > 1:
            log_p = log_class_probabilities(problem, problem.unpack(psi)[0])
            log_likelihoods = jax.nn.logsumexp(
                log_p[:, None] + log_likelihoods.reshape(problem.structure.classes, -1), axis=0
            )
        return jnp.sum(log_likelihoods)

    def log_random_effects(self, psi: jax.Array, z: jax.Array) -> jax.Array:
        """ln p(z | ψ)."""
        if not self.centred or not z.shape[0]:
            return -0.5 * jnp.sum(z**2)
        omega = self.problem.unpack(psi)[1]
        return -0.5 * (jnp.sum(z * jnp.linalg.solve(omega, z)) + z.shape[1] * jnp.linalg.slogdet(omega)[1])

    def log_prior(self, psi: jax.Array) -> jax.Array:
        """ln p(ψ), the Jacobian of the natural parameters included."""
        layout, initial = self.problem.structure.layout, jnp.asarray(self.problem.initial)
        free = np.flatnonzero(~layout.fixed_mask)

        def natural(x):
            return layout.to_natural(x, initial)

        values, jacobian = natural(psi), jax.jacfwd(natural)(psi)[free]
        stated = total_log_density(self.problem.structure.priors, values)
        return stated + sum((a.log_density(values) for a in self.assumed_priors), 0.0) + jnp.linalg.slogdet(jacobian)[1]


def build_log_posterior(
    problem: Problem, assumed_priors: tuple[AssumedPrior, ...], centred: bool = False
) -> LogPosterior:
    """The posterior with its solver ready for reverse mode: a gradient costs a few solutions, however many coordinates there
    are."""
    structure = replace(problem.structure, solver=restore_reverse_mode(problem.structure.solver))
    return LogPosterior(replace(problem, structure=structure), assumed_priors, centred)
