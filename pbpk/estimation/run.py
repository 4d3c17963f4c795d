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
from pbpk.estimation.build_fit import collect
from pbpk.estimation.standard_errors import uncertainty
from pbpk.estimation.start import Start, begun_from, warmed
from pbpk.likelihood.endpoints.likelihood import losses, moments, predicted
from pbpk.results import explain

if TYPE_CHECKING:
    from pbpk.estimation.base import Info, Method, State
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study


@dataclass
class Watch:
    """What the caller sees: `iteration(state, info)` after each step, `errors(done, of)` while standard errors come."""

    iteration: Callable[[State, list[Info]], None] = field(default=lambda state, infos: None)
    errors: Callable[[int, int], None] = field(default=lambda done, of: None)


def run_fit(
    study: Study,
    method: Method,
    *,
    resume: tuple[State, list[Info]] | None = None,
    watch: Watch | None = None,
    seed: int = 1,
    start: Start | None = None,
) -> Fit:
    """Fit `study` by `method`, from `start` where given. Raises `ScienceFailed` when the objective is not finite at the start;
    a fit that does not converge is returned, and says so."""
    watch = watch or Watch()
    eta = None
    if start is not None:
        study, eta = begun_from(study, start)
    if study.spec.summary:
        from pbpk.aggregate_data.run import run_summary

        return run_summary(study, method, resume=resume, watch=watch, seed=seed)
    if configured := getattr(method, "configured", None):
        method = configured(study.spec.estimation, seed)
    problem = method.prepare(study.problem)
    clock = time.perf_counter()
    if resume:
        state, infos = resume
    else:
        state, infos = method.init(problem), []
        state = state if eta is None else warmed(method, problem, state, eta)
        _check_start(study, problem, state)
        watch.iteration(state, infos)
    started = time.perf_counter()
    while not state.finished:
        state, info = method.step(problem, state)
        if not state.finished or not infos or method.name == "map":
            infos.append(info)
        watch.iteration(state, infos)
    fitted = time.perf_counter()
    estimated = uncertainty(method, problem, state, watch.errors) if state.psi.size and state.inverse.size else None
    done = time.perf_counter()
    seconds = {"first evaluation": started - clock, "iterations": fitted - started, "standard errors": done - fitted}
    good = np.asarray(method.evaluate(problem, state.psi, state.eta).good)
    lost = [who for who, well in zip(study.subjects, good, strict=True) if not well]
    fit = collect(study, method, problem, state, infos, estimated, lost, seconds, seed)
    finish = getattr(method, "finish", None)
    return finish(study, problem, state, fit) if finish else fit


@jax.jit  # not op by op: jaxlib 0.10.2 crashes on compiling the solver's int32 | weak int64 alone
def _typical(problem: Problem, psi: jax.Array, eta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Predictions, residual variances, what each observation adds to −2LL, and the solver's codes at given η."""
    theta, _, sigma = problem.unpack(psi)
    x, code = problem.stacked(problem.mixed(theta, eta))
    o, which, seen = problem.observed_as(), jnp.asarray(problem.endpoint), jnp.asarray(problem.seen)
    p, ends = predicted(problem.spec.endpoints, x, x, o), problem.spec.endpoints
    r = moments(ends, which, seen, p, o, theta | sigma)[2]
    return p.f, r, losses(ends, which, seen, p, o, theta | sigma), code


def _check_start(study: Study, problem: Problem, state: State) -> None:
    """Refuse to start from an objective that is not finite, naming the subjects and the reason of each."""
    bad = np.flatnonzero(~np.isfinite(state.objective))
    if not len(bad):
        return
    f, r, loss, code = (np.asarray(x) for x in _typical(problem, state.psi, jnp.zeros_like(state.eta)))
    reasons = []
    for i in bad:
        seen = np.asarray(problem.seen)[:, i]
        if code[i]:
            reason = explain(int(code[i]))
        elif (r[seen, i] <= 0).any():
            k = int(np.flatnonzero(seen & (r[:, i] <= 0))[0])
            reason = f"prediction {f[k, i]:g} with zero residual variance at observation {k + 1}"
        elif not np.isfinite(f[seen, i]).all():
            reason = "the prediction is not finite"
        elif not np.isfinite(loss[seen, i]).all():
            k = int(np.flatnonzero(seen & ~np.isfinite(loss[:, i]))[0])
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
