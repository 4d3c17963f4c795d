"""What a fit says of each observation and each subject: PRED, IPRED, residuals, EBEs, shrinkage.

CWRES as Hooker, Staatz & Karlsson 2007: y against the model linearised at η̂, E = f(η̂) − Aη̂, Cov = AΩA' + R(η̂).
Shrinkage as Savic & Karlsson 2009, on standard deviations: 1 − SD(η̂)/ω and 1 − SD(IWRES).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.conditional_modes import conditional_modes
from pbpk.likelihood.endpoints.likelihood import correlation
from pbpk.likelihood.parameter_layout import natural_with_jacobian
from pbpk.likelihood.prediction_jets import first_order
from pbpk.likelihood.subject import Terms, each_subject

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


class Diagnosis(NamedTuple):
    """Observations (T, N), η (q, N), individual parameters (m, N) of the first record. Residuals are those of quantified,
    continuous observations, on the scale of their error model; NaN for the others."""

    pred: np.ndarray
    ipred: np.ndarray
    iwres: np.ndarray
    cwres: np.ndarray
    eta: np.ndarray
    parameters: np.ndarray
    eta_shrinkage: np.ndarray
    epsilon_shrinkage: float


@jax.jit
def _observations(problem: Problem, psi: jax.Array, eta: jax.Array):
    theta, omega, sigma = problem.unpack(psi)
    flat = first_order(problem, problem.mixed(theta, 0 * eta))
    u = problem.mixed(theta, eta)
    jet = first_order(problem, u)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)

    def one(e, s):
        y, mean, r = terms.moments(psi, e, s)
        known = s.seen & jnp.isfinite(mean) & ~s.observed.censored
        a = jax.jacfwd(lambda x: terms.moments(psi, x, s)[1])(e)
        a = jnp.where(known[:, None], a, 0.0)
        sd = jnp.sqrt(r)
        c = correlation(problem.spec.endpoints, s.endpoint, s.seen, s.observed, theta | sigma)
        cov = a @ omega @ a.T + (jnp.diag(r) if c is None else sd[:, None] * c * sd[None, :])
        values, vectors = jnp.linalg.eigh(cov)
        residual = jnp.where(known, y - (mean - a @ e), 0.0)
        cwres = vectors @ ((vectors.T @ residual) / jnp.sqrt(values))
        shown = jnp.where(given[s.endpoint], mean, s.jet.f[: len(mean)])
        return jnp.where(known, (y - mean) / sd, jnp.nan), jnp.where(known, cwres, jnp.nan), shown

    def typical(s):
        return jnp.where(given[s.endpoint], terms.moments(psi, 0 * eta[:, 0], s)[1], s.jet.f[: len(s.seen)])

    given = jnp.array([getattr(e, "given", False) for e in problem.spec.endpoints])
    iwres, cwres, ipred = jax.vmap(one, in_axes=-1, out_axes=-1)(eta, each_subject(problem, jet))
    pred = jax.vmap(typical, in_axes=-1, out_axes=-1)(each_subject(problem, flat))
    p = problem.spec.individual.parameters(
        problem.spec.system,
        u,
        jnp.asarray(problem.constants)[:1],
        jnp.asarray(problem.covariates)[:1],
        jnp.asarray(problem.overrides)[:1],
    )
    return pred, ipred, iwres, cwres, p[0]


@jax.jit
def post_hoc(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """The EBEs at given population parameters, for methods that do not find them on their way."""
    return conditional_modes(problem, psi, eta, interaction=True).eta


def diagnose(problem: Problem, psi: np.ndarray, eta: np.ndarray) -> Diagnosis:
    pred, ipred, iwres, cwres, p = (np.asarray(x) for x in _observations(problem, psi, eta))
    omega = np.asarray(natural_with_jacobian(problem.spec.layout, psi, problem.initial)[2])
    sd = np.sqrt(np.diag(omega))
    spread = eta.std(axis=1, ddof=1) if eta.shape[1] > 1 else np.full(len(eta), np.nan)
    known = iwres[np.asarray(problem.seen) & np.isfinite(iwres)]
    left = float(1 - np.std(known, ddof=1)) if len(known) > 1 else float("nan")
    return Diagnosis(pred, ipred, iwres, cwres, eta, p, 1 - spread / sd, left)
