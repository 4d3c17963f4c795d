"""Many starts of one estimation, because a likelihood may have several minima and a search finds the nearest.

The starting values of a fit.toml come first; the others are a Latin hypercube around them in ψ (McKay, Beckman & Conover 1979).
All searches run side by side in one compiled program (confidence/lanes.py), to convergence; the method itself then finishes
from the lowest. The same seed gives the same starts and the same digits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.estimation import quasi_newton as rules
from pbpk.estimation.base import CONVERGED, Evaluation, Info, State
from pbpk.estimation.quasi_newton import QuasiNewton, total
from pbpk.estimation.run import Watch, run_fit
from pbpk.uncertainty import descent
from pbpk.uncertainty.finished_fit import Finished
from pbpk.uncertainty.parallel_searches import Lanes, Search

if TYPE_CHECKING:
    from pbpk.estimation.base import Method
    from pbpk.estimation.result import Fit
    from pbpk.estimation.start import Start
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

FACTOR, SPREAD_FACTOR = 5.0, 3.0
_SAME = 0.1  # OFV within which two ends are the same minimum, if ψ is too
_LOGIT = 2.0
_ENDS = 16  # lanes at most: beyond, a processor gains nothing


@dataclass(frozen=True, eq=False)
class End:
    """Where one start went. `began` and `psi` are ψ (P,)."""

    number: int
    began: np.ndarray
    psi: np.ndarray
    ofv: float
    cause: str
    iterations: int

    @property
    def converged(self) -> bool:
        return self.cause == CONVERGED and math.isfinite(self.ofv)


Progress = Callable[[list[End], int], None]


def widths(study: Study, problem: Problem) -> np.ndarray:
    """How far starts lie from the initial ψ, at most, either way: (P,)."""
    layout, out = problem.spec.layout, []
    for i, t in enumerate(layout.thetas):
        if t.fixed:
            continue
        low, high = t.ends
        if math.isinf(low) and math.isinf(high):
            out.append(max(abs(float(problem.initial[i])), float(study.scale[i])))
        else:
            out.append(_LOGIT if math.isfinite(low) and math.isfinite(high) else math.log(FACTOR))
    for block in layout.blocks:
        if not block.fixed:
            rows, columns = np.tril_indices(len(block.etas))
            out += [math.log(SPREAD_FACTOR) if r == c else 0.0 for r, c in zip(rows, columns, strict=True)]
    out += [math.log(SPREAD_FACTOR) for s in layout.sigmas if s not in layout.held]
    return np.array(out)


def dispersed(study: Study, problem: Problem, starts: int, seed: int) -> np.ndarray:
    """ψ of each start (starts, P), the study's own first."""
    from scipy.stats import qmc

    psi0 = np.asarray(problem.psi0)
    if starts == 1:
        return psi0[None]
    cube = qmc.LatinHypercube(len(psi0), rng=np.random.default_rng(seed)).random(starts - 1)
    return np.vstack([psi0, psi0 + (2 * cube - 1) * widths(study, problem)])


def run_multistart(
    study: Study,
    method: Method,
    starts: int,
    *,
    seed: int = 1,
    start: Start | None = None,
    ended: list[End] | None = None,
    progress: Progress = lambda ends, of: None,
    watch: Watch | None = None,
) -> Fit:
    """The fit from the lowest of `starts` ends. `ended` are those known from an interrupted run; `progress` sees the list grow.

    Raises `WrongUsage` for a method without an exact gradient, `ScienceFailed` where no start comes to a finite end.
    """
    watch = watch or Watch()
    if not isinstance(method, QuasiNewton) or study.spec.summary is not None:
        raise WrongUsage(
            f"{method.name} does not search from several starts"
            if study.spec.summary is None
            else "aggregates have one start",
            why="that takes a method with an objective and its exact gradient, and individual data",
            hint="focei, foce, fo, laplace, agq, pooled or imp",
        )
    if start is not None:
        from pbpk.estimation.start import begun_from

        study, _ = begun_from(study, start)
    if configured := getattr(method, "configured", None):
        method = configured(study.spec.estimation, seed)
    assert isinstance(method, QuasiNewton)
    problem, clock = method.prepare(study.problem), time.perf_counter()
    ends = sorted(_search(study, method, problem, starts, seed, ended or [], progress), key=lambda e: e.number)
    finite = [e for e in ends if math.isfinite(e.ofv)]
    if not finite:
        raise ScienceFailed(
            f"the objective is not finite at any of {starts} starts",
            where=f"fits/{study.name}",
            hint="start nearer to what the data say:  --set CL=…",
        )
    best = min(finite, key=lambda e: (not e.converged, e.ofv, e.number))
    state, infos = _polished(method, problem, best, watch)
    searched = {"starts": time.perf_counter() - clock}
    fit = run_fit(study, method, resume=(state, infos), watch=replace(watch, iteration=lambda s, i: None), seed=seed)
    return _with_table(study, problem, replace(fit, seconds=searched | fit.seconds), ends)


def _search(
    study: Study, method: QuasiNewton, problem: Problem, starts: int, seed: int, ended: list[End], progress: Progress
) -> list[End]:
    psis, ends = dispersed(study, problem, starts, seed), list(ended)
    p, eta = psis.shape[1], np.zeros((len(problem.spec.layout.etas), problem.columns))
    whole = Finished(study, method, problem, psis[0], eta, math.nan, np.eye(p), None, "", (), np.ones(p), (), ())
    lanes = Lanes(whole, min(_ENDS, starts))  # no `Lanes.of`: there is no optimum yet to check it by
    spreads = tuple(problem.spec.layout.spreads)
    given = descent.Study(np.ones(problem.subjects), problem.observed, np.asarray(problem.psi0), spreads)
    done = {e.number for e in ends}
    wanted = ((k, _from(given, psi, eta)) for k, psi in enumerate(psis, start=1) if k not in done)
    for number, (psi, found) in lanes.pursue(wanted):
        ends.append(End(number, psi, found.psi, found.ofv, found.cause, found.iterations))
        progress(ends, starts)
    return ends


def _from(given: descent.Study, psi: np.ndarray, eta: np.ndarray) -> Search[tuple[np.ndarray, descent.Outcome]]:
    point = yield from given.measure(psi, eta)
    if not point.sound:
        return psi, descent.Outcome(psi, math.nan, "the objective is not finite at the start")
    try:
        found = yield from descent.minimise(given, psi, point.eta, rules._scores(point.each))
    except np.linalg.LinAlgError as e:
        found = descent.Outcome(psi, math.nan, f"a matrix could not be inverted ({e})")
    return psi, found


def _polished(method: QuasiNewton, problem: Problem, best: End, watch: Watch) -> tuple[State, list[Info]]:
    """The method's own iterations from the best end: an iteration or two, whose state says what standard errors need."""
    eta = np.zeros((len(problem.spec.layout.etas), problem.columns))
    e = Evaluation(*(np.asarray(x) for x in method.evaluate(problem, best.psi, eta)))
    state = State(
        *(best.psi, total(problem, best.psi, e.objective), e.objective, e.gradient, e.eta, rules._scores(e.gradient)),
        evaluations=1,
        good=e.good,
    )
    infos: list[Info] = []
    watch.iteration(state, infos)
    while not state.finished:
        state, info = method.step(problem, state)
        if not state.finished or not infos:
            infos.append(info)
        watch.iteration(state, infos)
    return state, infos


def _with_table(study: Study, problem: Problem, fit: Fit, ends: list[End]) -> Fit:
    layout = problem.spec.layout
    initial = jnp.asarray(problem.initial)
    scale = np.asarray(study.scale)[[study.problem.spec.layout.names.index(n) for n in layout.names]]
    rows = []
    for e in ends:
        natural = np.asarray(layout.natural(jnp.asarray(e.psi), initial)) / scale
        began = np.asarray(layout.natural(jnp.asarray(e.began), initial)) / scale
        head = {"start": e.number, "ofv": e.ofv, "converged": e.converged, "cause": e.cause, "iterations": e.iterations}
        first = {f"start_{n}": float(x) for n, x in zip(layout.names, began, strict=True)}
        rows.append(head | {n: float(x) for n, x in zip(layout.names, natural, strict=True)} | first)
    told, notes, warnings = describe(ends, fit.ofv, sum(not t.fixed for t in layout.thetas))
    about = (
        f"Starts: the study's own initial values, and a Latin hypercube around them: θ by factors up to {FACTOR:g} either way,"
        f" standard deviations of random effects and residuals by up to {SPREAD_FACTOR:g}."
    )
    extra: Mapping[str, Any] = {
        "multistart": told | {"spread": {"theta": FACTOR, "standard_deviations": SPREAD_FACTOR}}
    }
    had = list(fit.extra.get("notes", []))
    return replace(
        fit,
        warnings=(*fit.warnings, *warnings),
        extra={**fit.extra, **extra, "notes": [*had, *notes, about]},
        files={**fit.files, "starts.csv": pd.DataFrame(rows)},
    )


def describe(ends: list[End], lowest: float, thetas: int) -> tuple[dict[str, Any], list[str], list[str]]:
    """Counts, a sentence for the reader, and what warns of minima that are not one. The first `thetas` of ψ are θ, which tell
    minima apart: a variance at zero has no one place in ψ."""
    good = sorted((e for e in ends if e.converged), key=lambda e: (e.ofv, e.number))
    near = [e for e in good if e.ofv <= lowest + _SAME]
    others: list[list[End]] = []
    for e in (e for e in good if e.ofv > lowest + _SAME):
        for group in others:
            if abs(group[0].ofv - e.ofv) <= _SAME:
                group.append(e)
                break
        else:
            others.append([e])
    failed = len(ends) - len(good)
    said = [f"{len(near)} of {len(ends)} starts ended within {_SAME} of the lowest OFV, {lowest:.3f}"]
    if others:
        shown = ", ".join(f"{g[0].ofv:.3f}" for g in others[:5]) + (", …" if len(others) > 5 else "")
        said.append(
            f"{sum(map(len, others))} at {len(others)} higher minim{'um' if len(others) == 1 else 'a'} (OFV {shown})"
        )
    if failed:
        said.append(f"{failed} did not converge")
    warnings = []
    apart = max((float(np.abs(e.psi - near[0].psi)[:thetas].max(initial=0.0)) for e in near), default=0.0)
    if apart > _SAME:
        warnings.append("starts that ended at the same OFV have other estimates: the data do not decide (starts.csv)")
    if len(near) == 1 and len(ends) > 1:
        warnings.append(f"only one of {len(ends)} starts reached the lowest OFV: there may be a lower one")
    told = {
        "starts": len(ends),
        "within_0.1": len(near),
        "other_minima": [{"ofv": g[0].ofv, "starts": len(g)} for g in others],
        "not_converged": failed,
    }
    return told, ["; ".join(said) + "."], warnings
