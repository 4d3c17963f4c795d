"""What a fit says of each observation and each subject: PRED, IPRED, residuals, EBEs, shrinkage.

CWRES as Hooker, Staatz & Karlsson 2007: y against the model linearised at η̂, E = f(η̂) − Aη̂, Cov = AΩA' + R(η̂).
Shrinkage as Savic & Karlsson 2009, on standard deviations: 1 − SD(η̂)/ω and 1 − SD(IWRES).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.fit.jets import first_order
from pbpk.fit.layout import natural_with_jacobian
from pbpk.fit.modes import conditional_modes
from pbpk.fit.problem import Problem
from pbpk.fit.subject import Terms, each_subject


class Diagnosis(NamedTuple):
    """Observations (T, N), η (q, N), u (slots, N), individual parameters (m, N) of the first record."""

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
    theta, omega, _ = problem.unpack(psi)
    pred, _ = problem.predict(problem.mixed(theta, 0 * eta))
    u = problem.mixed(theta, eta)
    jet = first_order(problem, u)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)

    def one(e, s):
        r = terms.variance(psi, e, s)
        a = jax.jacfwd(lambda x: terms.prediction(psi, x, s, s.jet))(e)
        a = jnp.where(s.seen[:, None], a, 0.0)
        expected = s.jet.f - a @ e
        cov = a @ omega @ a.T + jnp.diag(r)
        values, vectors = jnp.linalg.eigh(cov)
        residual = jnp.where(s.seen, s.y - expected, 0.0)
        cwres = vectors @ ((vectors.T @ residual) / jnp.sqrt(values))
        return (s.y - s.jet.f) / jnp.sqrt(r), cwres

    iwres, cwres = jax.vmap(one, in_axes=-1, out_axes=-1)(eta, each_subject(problem, jet))
    p = problem.spec.individual.parameters(
        problem.spec.system,
        u,
        jnp.asarray(problem.constants)[:1],
        jnp.asarray(problem.covariates)[:1],
        jnp.asarray(problem.overrides)[:1],
    )
    return pred, jet.f, iwres, cwres, p[0]


@jax.jit
def post_hoc(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """The EBEs at given population parameters, for methods that do not find them on their way."""
    return conditional_modes(problem, psi, eta, interaction=True).eta


def diagnose(problem: Problem, psi: np.ndarray, eta: np.ndarray) -> Diagnosis:
    pred, ipred, iwres, cwres, p = (np.asarray(x) for x in _observations(problem, psi, eta))
    omega = np.asarray(natural_with_jacobian(problem.spec.layout, psi, problem.initial)[2])
    sd = np.sqrt(np.diag(omega))
    spread = eta.std(axis=1, ddof=1) if eta.shape[1] > 1 else np.full(len(eta), np.nan)
    seen = np.asarray(problem.seen)
    return Diagnosis(pred, ipred, iwres, cwres, eta, p, 1 - spread / sd, float(1 - np.std(iwres[seen], ddof=1)))
