"""What a fit says of each observation and each subject: PRED, IPRED, residuals, EBEs, shrinkage.

CWRES as Hooker, Staatz & Karlsson 2007: y against the model linearised at η̂, E = f(η̂) − Aη̂, Cov = AΩA' + R(η̂).
Shrinkage as Savic & Karlsson 2009, on standard deviations: 1 − SD(η̂)/ω and 1 − SD(IWRES).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.endpoints.likelihood import residual_correlation
from pbpk.likelihood.parameter_layout import natural_with_jacobian
from pbpk.likelihood.prediction_jets import first_order_jet
from pbpk.likelihood.subject import SubjectArrays, SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


class FitDiagnosis(NamedTuple):
    """What tables and figures need of a fit: predictions and residuals of the observations (T, N), η (q, N), the individual
    parameters (m, N) of the first record, and shrinkage, by η (q,) and of ε. Residuals are those of quantified, continuous
    observations, on the scale of their error model; NaN for the others."""

    pred: np.ndarray
    ipred: np.ndarray
    iwres: np.ndarray
    cwres: np.ndarray
    eta: np.ndarray
    parameters: np.ndarray
    eta_shrinkage: np.ndarray
    epsilon_shrinkage: float


@jax.jit
def _compute_residuals(problem: Problem, psi: jax.Array, eta: jax.Array):
    """PRED, IPRED, IWRES and CWRES (T, N), and the individual parameters (m, N)."""
    theta, omega, sigma = problem.unpack(psi)
    flat = first_order_jet(problem, problem.individual_parameters(theta, 0 * eta))
    u = problem.individual_parameters(theta, eta)
    jet = first_order_jet(problem, u)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)

    def one(e: jax.Array, s: SubjectArrays):
        y, mean, r = terms.moments(psi, e, s)
        is_quantified = s.observed_mask & jnp.isfinite(mean) & ~s.observed.is_censored
        a = jax.jacfwd(lambda x: terms.moments(psi, x, s)[1])(e)
        a = jnp.where(is_quantified[:, None], a, 0.0)
        sd = jnp.sqrt(r)
        c = residual_correlation(
            problem.structure.endpoints, s.endpoint_index, s.observed_mask, s.observed, theta | sigma
        )
        cov = a @ omega @ a.T + (jnp.diag(r) if c is None else sd[:, None] * c * sd[None, :])
        values, vectors = jnp.linalg.eigh(cov)
        residual = jnp.where(is_quantified, y - (mean - a @ e), 0.0)
        cwres = vectors @ ((vectors.T @ residual) / jnp.sqrt(values))
        prediction = jnp.where(reads_mean[s.endpoint_index], mean, s.jet.f[: len(mean)])
        return jnp.where(is_quantified, (y - mean) / sd, jnp.nan), jnp.where(is_quantified, cwres, jnp.nan), prediction

    def typical(s: SubjectArrays):
        return jnp.where(
            reads_mean[s.endpoint_index], terms.moments(psi, 0 * eta[:, 0], s)[1], s.jet.f[: len(s.observed_mask)]
        )

    reads_mean = jnp.array([getattr(e, "already_transformed", False) for e in problem.structure.endpoints])
    iwres, cwres, ipred = jax.vmap(one, in_axes=-1, out_axes=-1)(eta, subject_arrays(problem, jet))
    pred = jax.vmap(typical, in_axes=-1, out_axes=-1)(subject_arrays(problem, flat))
    p = problem.structure.individual_model.system_parameters(
        problem.structure.system,
        u,
        jnp.asarray(problem.constants)[:1],
        jnp.asarray(problem.covariates)[:1],
        jnp.asarray(problem.overrides)[:1],
    )
    return pred, ipred, iwres, cwres, p[0]


@jax.jit
def find_post_hoc_etas(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """The EBEs (q, N) at ψ, for methods that do not find them on their way; `eta` is where they are sought from."""
    return find_conditional_modes(problem, psi, eta, interaction=True).eta


def diagnose_fit(problem: Problem, psi: np.ndarray, eta: np.ndarray) -> FitDiagnosis:
    """The diagnosis at the estimates ψ (P,) and the random effects `eta` (q, N), each subject once."""
    pred, ipred, iwres, cwres, p = (np.asarray(x) for x in _compute_residuals(problem, psi, eta))
    omega = np.asarray(natural_with_jacobian(problem.structure.layout, psi, problem.initial)[2])
    sd = np.sqrt(np.diag(omega))
    spread = eta.std(axis=1, ddof=1) if eta.shape[1] > 1 else np.full(len(eta), np.nan)
    residuals = iwres[np.asarray(problem.observed_mask) & np.isfinite(iwres)]
    epsilon_shrinkage = float(1 - np.std(residuals, ddof=1)) if len(residuals) > 1 else float("nan")
    return FitDiagnosis(pred, ipred, iwres, cwres, eta, p, 1 - spread / sd, epsilon_shrinkage)
