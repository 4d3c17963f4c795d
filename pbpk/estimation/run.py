"""A fit from a loaded study to its result: iterations with progress, a checkpoint at each, standard errors, tables.

`watch` sees every iteration and may save the state; an exception from it (Ctrl-C among them) leaves the last saved state
to resume from. Nothing here prints or writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import ScienceFailed
from pbpk.estimation.build_fit import build_fit
from pbpk.estimation.standard_errors import compute_standard_errors
from pbpk.estimation.start import StartingValues, apply_starting_values, choose_better_modes
from pbpk.likelihood.endpoints.likelihood import arrange_predictions, record_minus2ll, residual_moments
from pbpk.results import explain

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod, EstimationState, IterationRecord
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study


@dataclass
class Callbacks:
    """What the caller sees: `iteration(state, info)` after each step, `errors(done, of)` while standard errors come."""

    on_iteration: Callable[[EstimationState, list[IterationRecord]], None] = field(default=lambda state, infos: None)
    on_standard_errors: Callable[[int, int], None] = field(default=lambda done, of: None)


def run_fit(
    study: Study,
    method: EstimationMethod,
    *,
    resume: tuple[EstimationState, list[IterationRecord]] | None = None,
    callbacks: Callbacks | None = None,
    seed: int = 1,
    start: StartingValues | None = None,
) -> Fit:
    """Fit `study` by `method`, from `start` where given. Raises `ScienceFailed` when the objective is not finite at the start;
    a fit that does not converge is returned, and says so."""
    callbacks = callbacks or Callbacks()
    eta = None
    if start is not None:
        study, eta = apply_starting_values(study, start)
    if study.spec.summary:
        from pbpk.aggregate_data.run import run_summary

        return run_summary(study, method, resume=resume, watch=callbacks, seed=seed)
    if configured := getattr(method, "configured", None):
        method = configured(study.spec.estimation, seed)
    problem = method.prepare(study.problem)
    clock = time.perf_counter()
    if resume:
        state, infos = resume
    else:
        state, infos = method.init(problem), []
        state = state if eta is None else choose_better_modes(method, problem, state, eta)
        check_start(study, problem, state)
        callbacks.on_iteration(state, infos)
    started = time.perf_counter()
    while not state.finished:
        state, info = method.step(problem, state)
        if not state.finished or not infos or method.name == "map":
            infos.append(info)
        callbacks.on_iteration(state, infos)
    fitted = time.perf_counter()
    estimated = (
        compute_standard_errors(method, problem, state, callbacks.on_standard_errors)
        if state.psi.size and state.inverse.size
        else None
    )
    done = time.perf_counter()
    seconds = {"first evaluation": started - clock, "iterations": fitted - started, "standard errors": done - fitted}
    good = np.asarray(method.evaluate(problem, state.psi, state.eta).good)
    lost = [who for who, well in zip(study.subjects, good, strict=True) if not well]
    fit = build_fit(study, method, problem, state, infos, estimated, lost, seconds, seed)
    finish = getattr(method, "finish", None)
    return finish(study, problem, state, fit) if finish else fit


@jax.jit  # not op by op: jaxlib 0.10.2 crashes on compiling the solver's int32 | weak int64 alone
def _evaluate_typical(
    problem: Problem, psi: jax.Array, eta: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Predictions, residual variances, what each observation adds to −2LL, and the solver's codes at given η."""
    theta, _, sigma = problem.unpack(psi)
    x, code = problem.predict_all(problem.individual_parameters(theta, eta))
    o, which, is_observed = (
        problem.observed_on_device(),
        jnp.asarray(problem.endpoint_index),
        jnp.asarray(problem.observed_mask),
    )
    p, ends = arrange_predictions(problem.structure.endpoints, x, x, o), problem.structure.endpoints
    r = residual_moments(ends, which, is_observed, p, o, theta | sigma)[2]
    return p.f, r, record_minus2ll(ends, which, is_observed, p, o, theta | sigma), code


def check_start(study: Study, problem: Problem, state: EstimationState) -> None:
    """Refuse to start from an objective that is not finite, naming the subjects and the reason of each."""
    bad = np.flatnonzero(~np.isfinite(state.objective))
    if not len(bad):
        return
    f, r, loss, code = (np.asarray(x) for x in _evaluate_typical(problem, state.psi, jnp.zeros_like(state.eta)))
    reasons = []
    for i in bad:
        is_observed = np.asarray(problem.observed_mask)[:, i]
        if code[i]:
            reason = explain(int(code[i]))
        elif (r[is_observed, i] <= 0).any():
            k = int(np.flatnonzero(is_observed & (r[:, i] <= 0))[0])
            reason = f"prediction {f[k, i]:g} with zero residual variance at observation {k + 1}"
        elif not np.isfinite(f[is_observed, i]).all():
            reason = "the prediction is not finite"
        elif not np.isfinite(loss[is_observed, i]).all():
            k = int(np.flatnonzero(is_observed & ~np.isfinite(loss[:, i]))[0])
            reason = f"observation {k + 1} is impossible under the prediction {f[k, i]:g}"
        else:
            reason = "the likelihood overflows: predictions are far from the data"
        reasons.append((study.subjects[i], reason))
    listed = ", ".join(f"ID {who} ({why})" for who, why in reasons[:5])
    more = f" and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    zero = any("zero residual variance" in why for _, why in reasons)
    raise ScienceFailed(
        f"the objective is not finite at the starting values (OFV = {state.ofv:g})",
        where=f"fits/{study.name}",
        why=f"{len(bad)} of {problem.subjects} subjects failed: {listed}{more}",
        hint='a prediction of zero has no proportional error: use model = "combined2", or leave those rows out with MDV = 1'
        if zero
        else "try other initial values:  --set CL=…",
    )
