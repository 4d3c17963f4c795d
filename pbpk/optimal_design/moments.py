"""The first two moments of each possible observation and their derivatives: what the information of a design is made of.

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
    """The moments of T rows of N subjects: `mean_slope` ∂E/∂ψ (T, P, N), `a` A = ∂E/∂η (T, q, N), `a_slope` ∂A/∂ψ
    (T, q, P, N) or None, `r` R (T, N), `r_slope` ∂R/∂ψ (T, P, N); of all subjects `omega` (q, q) and `omega_slope` ∂Ω/∂ψ
    (q, q, P); `codes`, the solver's, (N,). The first five have a row for each observation: refine_times.py relies on it."""

    mean_slope: Any
    a: Any
    a_slope: Any
    r: Any
    r_slope: Any
    omega: Any
    omega_slope: Any
    codes: Any


def compute_moments(problem: Problem, psi: jax.Array, eta: jax.Array, form: str, centred: bool) -> ObservationMoments:
    """The moments at ψ (P,), linearised around η (q, N). `centred`: η is 0, which saves the reduced form the second
    derivatives."""
    theta, omega, _ = problem.unpack(psi)
    needs_first_order = form == "reduced" and centred
    jet = (first_order_jet if needs_first_order else second_order_jet)(
        problem, problem.individual_parameters(theta, eta)
    )
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)

    def of_subject(e, s):
        def at_psi(x):
            _, f, r = terms.moments(x, e, s)
            a = jax.jacfwd(lambda near: terms.moments(x, near, s)[1])(e)
            f, a = jnp.where(s.observed_mask, f, 0.0), jnp.where(s.observed_mask[:, None], a, 0.0)
            return f if centred else f - a @ e, a, r

        _, a, r = at_psi(psi)
        mean_slope, a_slope, r_slope = jax.jacfwd(at_psi)(psi)
        return mean_slope, a, a_slope, r, r_slope

    mean_slope, a, a_slope, r, r_slope = jax.vmap(of_subject, in_axes=-1, out_axes=-1)(
        eta, subject_arrays(problem, jet)
    )
    omega_slope = jax.jacfwd(lambda x: problem.unpack(x)[1])(psi)
    if form == "reduced":
        structural = _mark_structural(problem.structure)
        of_theta = jnp.zeros(psi.shape[0], bool).at[: len(structural)].set(structural)
        a_slope, r_slope = None, jnp.where(of_theta[None, :, None], 0.0, r_slope)
    return ObservationMoments(mean_slope, a, a_slope, r, r_slope, omega, omega_slope, jet.result)


def _mark_structural(structure: ModelStructure) -> np.ndarray:
    """Which entries of ψ are θ of the model itself and not of its residual error."""
    residual = {name for e in structure.endpoints for _, name in e.parameter_names}
    return np.array([t.name not in residual for t in structure.layout.thetas if not t.fixed])


def drop_window_plan(problem: Problem) -> Problem:
    """The problem without its plan of windows, so that times may move: a plan is made for given times and is part of the
    program. Without one the same program runs for all times."""
    return replace(problem, timeline=replace(problem.timeline, windows=None, unbounded_windows=None))


def compute_moments_and_time_slopes(
    problem: Problem, psi: jax.Array, eta: jax.Array, form: str, centred: bool, movable: jax.Array
) -> tuple[ObservationMoments, ObservationMoments]:
    """Moments and their derivatives in time (1/h), each row's in its own. `movable` (T, N): the rows whose times may move.

    An observation depends on its own time alone, so one forward direction, all movable times at once, gives every slope. The
    timeline must be without windows (`drop_window_plan`).
    """
    timeline = problem.timeline
    events, n = timeline.time.shape[0], movable.shape[1]
    at = jnp.broadcast_to(jnp.asarray(timeline.output_index), movable.shape)
    shift = jnp.zeros((events, n)).at[at, jnp.arange(n)].max(1.0 * movable)

    def at_shift(t):
        since = None if timeline.since is None else jnp.asarray(timeline.since) + t * shift
        later = replace(timeline, time=jnp.asarray(timeline.time) + t * shift, since=since)
        moments = compute_moments(replace(problem, timeline=later), psi, eta, form, centred)
        return moments._replace(codes=None), moments.codes

    value, slope, _ = jax.jvp(at_shift, (0.0,), (1.0,), has_aux=True)
    return value, slope


def compute_subject_information(m: ObservationMoments, rows: jax.Array) -> jax.Array:
    """(P, P) in ψ of one subject (moments without their last axis) at `rows` (R,); −1 stands for no row.

    A row that is not there has no mean and the variance 1, so it adds nothing, and every choice has the same shapes.
    """
    is_row = rows >= 0

    def take(x):
        return jnp.where(is_row.reshape(-1, *[1] * (x.ndim - 1)), x[rows], 0.0)

    a = take(m.a)
    root = jnp.linalg.cholesky(a @ m.omega @ a.T + jnp.diag(jnp.where(is_row, m.r[rows], 1.0)))
    inverse = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(rows)), lower=True)
    g, b = inverse @ take(m.mean_slope), inverse @ a
    change = jnp.einsum("rt,tp,st->prs", inverse, take(m.r_slope), inverse)
    change = change + jnp.einsum("ri,ijp,sj->prs", b, m.omega_slope, b)
    if m.a_slope is not None:
        one_side = jnp.einsum("rt,tip,ij,sj->prs", inverse, take(m.a_slope), m.omega, b)
        change = change + one_side + jnp.swapaxes(one_side, 1, 2)
    flat = change.reshape(change.shape[0], -1)
    return g.T @ g + 0.5 * flat @ flat.T


def compute_information_by_subject(m: ObservationMoments, rows: jax.Array) -> jax.Array:
    """(N, P, P): the information of every subject at its own `rows` (N, R)."""
    subject_axes = ObservationMoments(-1, -1, None if m.a_slope is None else -1, -1, -1, None, None, -1)
    return jax.vmap(compute_subject_information, in_axes=(subject_axes, 0))(m, rows)
