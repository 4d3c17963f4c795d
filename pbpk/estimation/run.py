"""A fit from a loaded study to its result: iterations with progress, a checkpoint at each, standard errors, tables.

`Callbacks.on_iteration` sees every iteration and may save the state; an exception from it (Ctrl-C among them) leaves the last
saved state to resume from. Nothing here prints or writes.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.estimation.build_fit import EstimationOutcome, build_fit
from pbpk.estimation.lost_modes import retry_lost_modes
from pbpk.estimation.quasi_newton import sum_objective
from pbpk.estimation.standard_errors import StandardErrors, compute_standard_errors
from pbpk.estimation.start import StartingValues, apply_starting_values, choose_better_modes
from pbpk.estimation.state import EVALUATED, EstimationState, IterationRecord
from pbpk.likelihood.endpoints.likelihood import arrange_predictions, record_minus2ll, residual_moments
from pbpk.likelihood.evaluation import Evaluation
from pbpk.results import explain
from pbpk.study.kinds import find_study_kind

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod
    from pbpk.estimation.result import Fit
    from pbpk.estimation.state import EstimationState, IterationRecord
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

# Kind of study (study/kinds.py) -> (module, function) that runs its fit; the function takes what `run_fit` takes but `start`.
# A study of individual data is run here; the modules of other kinds are in a higher layer and load on first use.
FIT_RUNNERS = {"summary": ("pbpk.aggregate_data.run", "run_summary")}


@dataclass
class Callbacks:
    """What the caller sees: `on_iteration(state, iterations)` at the start and after each step, `on_standard_errors(done, of)`
    as gradients for the standard errors come."""

    on_iteration: Callable[[EstimationState, list[IterationRecord]], None] = field(default=lambda state, records: None)
    on_standard_errors: Callable[[int, int], None] = field(default=lambda done, of: None)


class Stopwatch:
    """Wall-clock seconds of the parts of a fit, by name, each from the end of the part before."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def finish(self, part: str) -> None:
        """End the part called `part`."""
        now = time.perf_counter()
        self.seconds[part], self._last = now - self._last, now


def run_fit(
    study: Study,
    method: EstimationMethod,
    *,
    resume: tuple[EstimationState, list[IterationRecord]] | None = None,
    callbacks: Callbacks | None = None,
    seed: int = 1,
    start: StartingValues | None = None,
    evaluate: bool = False,
) -> Fit:
    """Fit `study` by `method`, from `start` where given; with `evaluate`, the objective at the initial values alone.

    Raises `ScienceFailed` when the objective is not finite at the start; a fit that does not converge is returned, and says
    so.
    """
    callbacks = callbacks or Callbacks()
    study, eta = apply_starting_values(study, start) if start is not None else (study, None)
    if runner := _find_runner(study):
        if evaluate:
            raise WrongUsage("published aggregates are fitted, and not evaluated alone", hint="leave evaluate out")
        return runner(study, method, resume=resume, callbacks=callbacks, seed=seed)
    method = method.configure(study.spec.estimation, seed)
    problem = method.prepare(study.problem)
    if evaluate:
        return _evaluate_only(study, method, problem, eta, callbacks, seed)
    stopwatch = Stopwatch()
    state, iterations = resume or _begin(study, method, problem, eta, callbacks)
    stopwatch.finish("first evaluation")
    state = run_iterations(method, problem, state, iterations, callbacks)
    stopwatch.finish("iterations")
    standard_errors = find_standard_errors(method, problem, state, callbacks)
    stopwatch.finish("standard errors")
    failed_ids = _find_failed_ids(study, method, problem, state)
    outcome = EstimationOutcome(
        *(method, problem, state, iterations, standard_errors, failed_ids, stopwatch.seconds, seed)
    )
    return method.finish_fit(study, problem, state, build_fit(study, outcome))


def _evaluate_only(
    study: Study, method: EstimationMethod, problem: Problem, eta: np.ndarray | None, callbacks: Callbacks, seed: int
) -> Fit:
    """The result at the initial values: NONMEM's MAXEVAL = 0. No standard errors, since nothing is at a minimum."""
    stopwatch, psi = Stopwatch(), problem.initial_unconstrained
    zero = np.zeros((len(problem.structure.layout.etas), problem.columns))
    first = Evaluation(*(np.asarray(x) for x in method.evaluate(problem, psi, zero)))
    first, _ = retry_lost_modes(method, problem, psi, first)
    fields = (psi, sum_objective(problem, psi, first.objective), first.objective, first.gradient, first.eta)
    state = EstimationState(*fields, np.zeros((0, 0)), 0, 1, EVALUATED, first.good)
    if eta is not None:
        state = choose_better_modes(method, problem, state, eta)
    check_start(study, problem, state)
    iterations = [IterationRecord(0, state.ofv, 0.0, 0.0, 0.0, 1)]
    callbacks.on_iteration(state, iterations)
    stopwatch.finish("evaluation")
    failed_ids = [who for who, good in zip(study.subjects, np.atleast_1d(state.good), strict=False) if not good]
    outcome = EstimationOutcome(method, problem, state, iterations, None, failed_ids, stopwatch.seconds, seed)
    return build_fit(study, outcome)


def _find_runner(study: Study) -> Callable[..., Fit] | None:
    """The function that runs a study of another kind than individual data; None for individual data alone."""
    kind = find_study_kind(study.spec)
    if kind is None:
        return None
    module, function = FIT_RUNNERS[kind]
    return getattr(importlib.import_module(module), function)


def _begin(
    study: Study, method: EstimationMethod, problem: Problem, eta: np.ndarray | None, callbacks: Callbacks
) -> tuple[EstimationState, list[IterationRecord]]:
    """The first state, with another fit's `eta` (q, N) tried as modes where it is given, and no iterations yet."""
    state = method.init(problem)
    if eta is not None:
        state = choose_better_modes(method, problem, state, eta)
    check_start(study, problem, state)
    callbacks.on_iteration(state, iterations := [])
    return state, iterations


def run_iterations(
    method: EstimationMethod,
    problem: Problem,
    state: EstimationState,
    iterations: list[IterationRecord],
    callbacks: Callbacks,
) -> EstimationState:
    """The last state. `iterations` grows on the way; the step that only says that the search is over leaves no line, unless
    there is no other."""
    while not state.finished:
        state, record = method.step(problem, state)
        if not state.finished or not iterations:
            iterations.append(record)
        callbacks.on_iteration(state, iterations)
    return state


def find_standard_errors(
    method: EstimationMethod, problem: Problem, state: EstimationState, callbacks: Callbacks
) -> StandardErrors | None:
    """Those at the last state; None where nothing is estimated or the method gives no Hessian."""
    if not (state.psi.size and state.inverse.size):
        return None
    return compute_standard_errors(method, problem, state, callbacks.on_standard_errors)


def _find_failed_ids(study: Study, method: EstimationMethod, problem: Problem, state: EstimationState) -> list[str]:
    """The subjects whose individual optimum or trajectory is not found at the estimates."""
    good = np.asarray(method.evaluate(problem, state.psi, state.eta).good)
    return [subject for subject, is_good in zip(study.subjects, good, strict=True) if not is_good]


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
