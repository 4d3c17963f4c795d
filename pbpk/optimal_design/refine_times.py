"""The times themselves: from the best choice on the grid to a local optimum between its points.

The derivative of the criterion in every sample time is exact, through the solver and its jets: an observation depends on its
own time alone, so one more forward direction gives all of them. Windows and spacing are constraints of SLSQP (Kraft 1988).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    from pbpk.optimal_design.sampling_space import SamplingSpace
    from pbpk.study.load import Study

_MOST_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class LinearisationPoints:
    """The points that the model is linearised at: psi (D, P), eta (D, S, q) for every subject, and `to` (D, P, P)."""

    psi: np.ndarray
    eta: np.ndarray
    psi_per_coordinate: np.ndarray
    form: str
    centred: bool
    interest: tuple[int, ...]


@partial(jax.jit, static_argnames=("form", "centred", "interest"))
def _differentiate_criterion(problem: Problem, psi, eta, to, rows, look, counts, moved, *, form, centred, interest):
    """The criterion and its derivative in `moved` (k,) sample times; `look` (T, N) says which of them each row follows."""
    follows = look >= 0

    def at(point):
        psi, eta = point

        def one(e):
            wide = jnp.broadcast_to(e[:, None], (*e.shape, problem.subjects))
            return compute_moments_and_time_slopes(problem, psi, wide, form, centred, follows)

        return jax.lax.map(one, eta)

    now, then = jax.lax.map(at, (psi, eta))

    def criterion(shift):
        by_row = jnp.where(follows, shift[look], 0.0)

        def later(a, b):
            return a if jnp.ndim(b) == 0 else a + b * by_row.reshape(by_row.shape[0], *[1] * (b.ndim - 4), -1)

        here = ObservationMoments(
            *(later(a, b) if i < 5 and a is not None else a for i, (a, b) in enumerate(zip(now, then, strict=True)))
        )

        def draw(m, to):
            every = jax.vmap(lambda s: jnp.einsum("n,npq->pq", counts, compute_information_by_subject(s, rows)))(m)
            return to.T @ jnp.mean(every, axis=0) @ to

        return compute_mean_criterion(jax.vmap(draw)(here, to), interest)

    return jax.value_and_grad(criterion)(jnp.zeros_like(moved))


def refine_times(
    study: Study,
    people: Sequence[SubjectProfile],
    observables: Sequence[str],
    space: SamplingSpace,
    times: Mapping[str, np.ndarray],
    around: LinearisationPoints,
) -> tuple[float, dict[str, np.ndarray]]:
    """The criterion and the times by arm, from `times` on."""
    from scipy.optimize import minimize

    arms = list(times)
    ends = np.cumsum([0, *(len(times[a]) for a in arms)])
    windows = np.array([w for a in arms for w in space.windows[a]])
    # Early times matter by their ratio, late ones too: half-lives are what a schedule covers.
    offset = 0.0 if windows.min() > 0 else 0.01 * windows.max()

    def unpack(x):
        t = np.clip(np.exp(x) - offset, windows[:, 0], windows[:, 1])
        return {a: t[ends[i] : ends[i + 1]] for i, a in enumerate(arms)}

    def measure(x):
        value, gradient = compute_criterion_and_slope(study, people, observables, unpack(x), around)
        if not np.isfinite(value):
            return 1e10, np.zeros_like(x)
        return -value, -gradient * np.exp(x)

    begin = np.concatenate([times[a] for a in arms])
    order = [ends[i] + np.argsort(times[a], kind="stable") for i, a in enumerate(arms)]
    rules: Any = []
    if space.spacing > 0:
        first, second = (np.concatenate([o[cut] for o in order]) for cut in (slice(0, -1), slice(1, None)))
        step = np.zeros((len(first), len(begin)))
        step[np.arange(len(first)), second], step[np.arange(len(first)), first] = 1.0, -1.0
        rules = [
            {
                "type": "ineq",
                "fun": lambda x: step @ np.exp(x) - space.spacing,
                "jac": lambda x: step * np.exp(x)[None],
            }
        ]
    found = minimize(
        measure,
        np.log(begin + offset),
        jac=True,
        method="SLSQP",
        bounds=[(float(a), float(b)) for a, b in np.log(windows + offset)],
        constraints=rules,
        options={"maxiter": _MOST_ITERATIONS, "ftol": 1e-10},
    )
    final = unpack(found.x)
    if (
        space.spacing > 0
        and len(step)
        and (step @ np.concatenate([final[a] for a in arms])).min() < space.spacing - 1e-6
    ):
        return -np.inf, dict(times)
    return -float(found.fun), final


def compute_criterion_and_slope(
    study: Study,
    people: Sequence[SubjectProfile],
    observables: Sequence[str],
    times: Mapping[str, np.ndarray],
    around: LinearisationPoints,
) -> tuple[float, np.ndarray]:
    """The criterion at `times` and its derivative in each (1/h), arms one after another."""
    here = build_candidates(study, people, times, observables)
    t, n = here.problem.observed_mask.shape
    look, first = np.full((t, n), -1), 0
    rows = np.full((n, max(len(c) for c in times.values()) * len(observables) + here.fixed_rows.shape[1]), -1)
    for arm, own in times.items():
        choice = here.select_rows(arm, np.arange(len(own)))
        for lane, r in zip(here.find_lanes(arm), choice, strict=True):
            rows[lane, : len(r)] = r
            look[here.candidate_rows[lane, : len(own)], lane] = first + np.arange(len(own))[:, None]
        first += len(own)
    value, gradient = _differentiate_criterion(
        drop_window_plan(here.problem),
        around.psi,
        around.eta,
        around.psi_per_coordinate,
        rows,
        look,
        here.counts,
        np.zeros(first),
        form=around.form,
        centred=around.centred,
        interest=around.interest,
    )
    return float(value), np.asarray(gradient)
