"""What a design is judged by: the first two moments of each possible observation, and their derivatives.

The model is linearised in η around a point: y is then normal with mean E and covariance V = AΩA' + R, and the information
of one subject on ψ is

    ∂E'V⁻¹∂E + ½ tr(V⁻¹∂V V⁻¹∂V)

(Mentré, Mallet & Baccar 1997, Biometrika 84:429; Retout & Mentré 2003, J Biopharm Stat 13:209). Around η = 0 it is FO's;
averaged over simulated η, FOCE's. The reduced form takes V not to depend on θ (NONMEM's FIMDIAG = 1, PopED's and PFIM's
block-diagonal form, which simulations favour: Nyberg et al. 2015, Br J Clin Pharmacol 79:6); the full form keeps that
dependence. Derivatives are exact: jets through the solver. Moments come once for all candidate rows, and a design is a choice
of rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.prediction_jets import first_order_jet, second_order_jet
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import ModelStructure, Problem

FORMS = ("reduced", "full")


class ObservationMoments(NamedTuple):
    """For T rows of N subjects: ∂E/∂ψ (T, P, N), A (T, q, N), ∂A/∂ψ (T, q, P, N) or None, R (T, N), ∂R/∂ψ (T, P, N); of all
    subjects Ω (q, q) and ∂Ω/∂ψ (q, q, P); the solver's codes (N,)."""

    mean_slope: Any
    a: Any
    a_slope: Any
    r: Any
    r_slope: Any
    omega: Any
    omega_slope: Any
    codes: Any


def compute_moments(problem: Problem, psi: jax.Array, eta: jax.Array, form: str, centred: bool) -> ObservationMoments:
    """At ψ, linearised around η (q, N); `centred`: that is η = 0, which saves the second derivatives of the reduced form."""
    theta, omega, _ = problem.unpack(psi)
    cheap = form == "reduced" and centred
    jet = (first_order_jet if cheap else second_order_jet)(problem, problem.individual_parameters(theta, eta))
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)

    def one(e, s):
        def parts(x):
            _, f, r = terms.moments(x, e, s)
            a = jax.jacfwd(lambda near: terms.moments(x, near, s)[1])(e)
            f, a = jnp.where(s.seen, f, 0.0), jnp.where(s.seen[:, None], a, 0.0)
            return f if centred else f - a @ e, a, r

        _, a, r = parts(psi)
        mean, cross, spread = jax.jacfwd(parts)(psi)
        return mean, a, cross, r, spread

    mean, a, cross, r, spread = jax.vmap(one, in_axes=-1, out_axes=-1)(eta, subject_arrays(problem, jet))
    omega_slope = jax.jacfwd(lambda x: problem.unpack(x)[1])(psi)
    if form == "reduced":
        structural = _mark_structural(problem.structure)
        of_theta = jnp.zeros(psi.shape[0], bool).at[: len(structural)].set(structural)
        cross, spread = None, jnp.where(of_theta[None, :, None], 0.0, spread)
    return ObservationMoments(mean, a, cross, r, spread, omega, omega_slope, jet.result)


def _mark_structural(spec: ModelStructure) -> np.ndarray:
    """Which entries of ψ are θ of the model itself and not of its residual error."""
    residual = {name for e in spec.endpoints for _, name in e.parameter_names}
    return np.array([t.name not in residual for t in spec.layout.thetas if not t.fixed])


def drop_window_plan(problem: Problem) -> Problem:
    """Windows are planned for given times, and a plan is part of the program: without one, other times run the same."""
    return replace(problem, timeline=replace(problem.timeline, windows=None, unbounded_windows=None))


def compute_moments_and_time_slopes(
    problem: Problem, psi: jax.Array, eta: jax.Array, form: str, centred: bool, movable: jax.Array
) -> tuple[ObservationMoments, ObservationMoments]:
    """Moments and their derivatives in time: each row's in its own. `chosen` (T, N): the rows whose times may move.

    The timeline must be without windows (see `unplanned`)."""
    timeline = problem.timeline
    events, n = timeline.time.shape[0], movable.shape[1]
    at = jnp.broadcast_to(jnp.asarray(timeline.output_index), movable.shape)
    shift = jnp.zeros((events, n)).at[at, jnp.arange(n)].max(1.0 * movable)

    def now(t):
        since = None if timeline.since is None else jnp.asarray(timeline.since) + t * shift
        later = replace(timeline, time=jnp.asarray(timeline.time) + t * shift, since=since)
        found = compute_moments(replace(problem, timeline=later), psi, eta, form, centred)
        return found._replace(result=None), found.codes

    value, slope, _ = jax.jvp(now, (0.0,), (1.0,), has_aux=True)
    return value, slope


def compute_subject_information(m: ObservationMoments, rows: jax.Array) -> jax.Array:
    """(P, P) in ψ of one subject (moments without their last axis) at `rows` (R,); −1 stands for no row."""
    there = rows >= 0

    def take(x):
        return jnp.where(there.reshape(-1, *[1] * (x.ndim - 1)), x[rows], 0.0)

    a = take(m.a)
    root = jnp.linalg.cholesky(a @ m.omega @ a.T + jnp.diag(jnp.where(there, m.r[rows], 1.0)))
    inverse = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(rows)), lower=True)
    g, b = inverse @ take(m.mean_slope), inverse @ a
    change = jnp.einsum("rt,tp,st->prs", inverse, take(m.r_slope), inverse)
    change = change + jnp.einsum("ri,ijp,sj->prs", b, m.omega_slope, b)
    if m.a_slope is not None:
        one = jnp.einsum("rt,tip,ij,sj->prs", inverse, take(m.a_slope), m.omega, b)
        change = change + one + jnp.swapaxes(one, 1, 2)
    flat = change.reshape(change.shape[0], -1)
    return g.T @ g + 0.5 * flat @ flat.T


def compute_information_by_subject(m: ObservationMoments, rows: jax.Array) -> jax.Array:
    """(N, P, P): `information` of every subject at its own `rows` (N, R)."""
    own = ObservationMoments(-1, -1, None if m.a_slope is None else -1, -1, -1, None, None, -1)
    return jax.vmap(compute_subject_information, in_axes=(own, 0))(m, rows)
