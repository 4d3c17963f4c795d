"""The times themselves: from the best choice on the grid to a local optimum between its points.

The derivative of the criterion in every sample time is exact, through the solver and its jets: an observation depends on its
own time alone, so one more forward direction gives all of them. Windows and spacing are constraints of SLSQP (Kraft 1988).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.optimal_design.criteria import compute_mean_criterion
from pbpk.optimal_design.moments import (
    ObservationMoments,
    compute_information_by_subject,
    compute_moments_and_time_slopes,
    drop_window_plan,
)
from pbpk.optimal_design.records import SubjectProfile, build_candidates

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.optimal_design.linearisation import LinearisationPoints
    from pbpk.optimal_design.sampling_space import SamplingSpace
    from pbpk.study.load import Study

_MOST_ITERATIONS = 100


@partial(jax.jit, static_argnames=("form", "centred", "interest"))
def _differentiate_criterion(
    problem: Problem,
    points: tuple[jax.Array, jax.Array, jax.Array],
    rows: jax.Array,
    sample_of_row: jax.Array,
    counts: jax.Array,
    shift: jax.Array,
    *,
    form: str,
    centred: bool,
    interest: tuple[int, ...],
) -> tuple[jax.Array, jax.Array]:
    """The criterion and its derivative in `shift` (k,), zeros by which the k sample times are moved.

    `points`: psi (D, P), eta (D, S, q), ∂ψ/∂coordinate (D, P, P). `rows` (N, R) are taken; `sample_of_row` (T, N) says which of
    the k samples each row is, −1 for none; `counts` (N,) are subjects of each kind.
    """
    is_sample = sample_of_row >= 0
    psis, etas, psi_per_coordinate = points

    def at_vector(point):
        psi, eta = point

        def at_eta(e):
            wide = jnp.broadcast_to(e[:, None], (*e.shape, problem.subjects))
            return compute_moments_and_time_slopes(problem, psi, wide, form, centred, is_sample)

        return jax.lax.map(at_eta, eta)

    # Only the derivative at a shift of 0 is asked for: moments to first order in time give it, and nothing is solved again.
    moments, slopes = jax.lax.map(at_vector, (psis, etas))

    def criterion(shift):
        shift_of_row = jnp.where(is_sample, shift[sample_of_row], 0.0)

        def move(moment, slope):
            if jnp.ndim(slope) == 0:
                return moment
            return moment + slope * shift_of_row.reshape(shift_of_row.shape[0], *[1] * (slope.ndim - 4), -1)

        moved = ObservationMoments(  # only the first five have a row for each observation
            *(
                move(m, s) if i < 5 and m is not None else m
                for i, (m, s) in enumerate(zip(moments, slopes, strict=True))
            )
        )

        def of_draw(m, psi_per_coordinate):
            by_eta = jax.vmap(lambda s: jnp.einsum("n,npq->pq", counts, compute_information_by_subject(s, rows)))(m)
            return psi_per_coordinate.T @ jnp.mean(by_eta, axis=0) @ psi_per_coordinate

        return compute_mean_criterion(jax.vmap(of_draw)(moved, psi_per_coordinate), interest)

    return jax.value_and_grad(criterion)(shift)


def refine_times(
    study: Study,
    profiles: Sequence[SubjectProfile],
    observables: Sequence[str],
    space: SamplingSpace,
    times: Mapping[str, np.ndarray],
    points: LinearisationPoints,
) -> tuple[float, dict[str, np.ndarray]]:
    """The criterion and the times by arm (h) at a local optimum, searched from `times`; −∞ and `times` where that breaks the
    spacing."""
    from scipy.optimize import minimize

    arms = list(times)
    ends = np.cumsum([0, *(len(times[a]) for a in arms)])
    windows = np.array([w for a in arms for w in space.windows[a]])
    # Early times matter by their ratio, late ones too: half-lives are what a schedule covers.
    offset = 0.0 if windows.min() > 0 else 0.01 * windows.max()

    def unpack(x: np.ndarray) -> dict[str, np.ndarray]:
        t = np.clip(np.exp(x) - offset, windows[:, 0], windows[:, 1])
        return {a: t[ends[i] : ends[i + 1]] for i, a in enumerate(arms)}

    def measure(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compute_criterion_and_slope(study, profiles, observables, unpack(x), points)
        if not np.isfinite(value):
            return 1e10, np.zeros_like(x)
        return -value, -gradient * np.exp(x)

    start = np.concatenate([times[a] for a in arms])
    step = _make_spacing_matrix([times[a] for a in arms]) if space.spacing > 0 else np.zeros((0, len(start)))
    constraints: Any = []
    if space.spacing > 0:
        constraints = [
            {
                "type": "ineq",
                "fun": lambda x: step @ np.exp(x) - space.spacing,
                "jac": lambda x: step * np.exp(x)[None],
            }
        ]
    optimum = minimize(
        measure,
        np.log(start + offset),
        jac=True,
        method="SLSQP",
        bounds=[(float(a), float(b)) for a, b in np.log(windows + offset)],
        constraints=constraints,
        options={"maxiter": _MOST_ITERATIONS, "ftol": 1e-10},
    )
    end = unpack(optimum.x)
    if len(step) and (step @ np.concatenate([end[a] for a in arms])).min() < space.spacing - 1e-6:
        return -np.inf, dict(times)
    return -float(optimum.fun), end


def _make_spacing_matrix(times: Sequence[np.ndarray]) -> np.ndarray:
    """(pairs, k): what times all k sample times, arm after arm, gives the gap of each pair of neighbours within an arm."""
    starts = np.cumsum([0, *map(len, times)])
    order = [starts[i] + np.argsort(t, kind="stable") for i, t in enumerate(times)]
    first, second = (np.concatenate([o[cut] for o in order]) for cut in (slice(0, -1), slice(1, None)))
    step = np.zeros((len(first), starts[-1]))
    step[np.arange(len(first)), second], step[np.arange(len(first)), first] = 1.0, -1.0
    return step


def compute_criterion_and_slope(
    study: Study,
    profiles: Sequence[SubjectProfile],
    observables: Sequence[str],
    times: Mapping[str, np.ndarray],
    points: LinearisationPoints,
) -> tuple[float, np.ndarray]:
    """The criterion at `times` {arm: (k,)} (h) and its derivative in each (1/h), arms one after another."""
    candidates = build_candidates(study, profiles, times, observables)
    t, n = candidates.problem.observed_mask.shape
    sample_of_row, first = np.full((t, n), -1), 0
    widest = max(len(c) for c in times.values()) * len(observables) + candidates.fixed_rows.shape[1]
    rows = np.full((n, widest), -1)
    for arm, arm_times in times.items():
        choice = candidates.select_rows(arm, np.arange(len(arm_times)))
        for lane, chosen in zip(candidates.find_lanes(arm), choice, strict=True):
            rows[lane, : len(chosen)] = chosen
            samples = first + np.arange(len(arm_times))[:, None]
            sample_of_row[candidates.candidate_rows[lane, : len(arm_times)], lane] = samples
        first += len(arm_times)
    value, gradient = _differentiate_criterion(
        drop_window_plan(candidates.problem),
        (points.psi, points.eta, points.psi_per_coordinate),
        rows,
        sample_of_row,
        candidates.counts,
        np.zeros(first),
        form=points.form,
        centred=points.centred,
        interest=points.interest,
    )
    return float(value), np.asarray(gradient)
