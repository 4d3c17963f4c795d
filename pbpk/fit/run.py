"""A fit from a loaded study to its result: iterations with progress, a checkpoint at each, standard errors, tables.

`watch` sees every iteration and may save the state; an exception from it (Ctrl-C among them) leaves the last saved state
to resume from. Nothing here prints or writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk import units as pbpk_units
from pbpk.errors import ScienceFailed
from pbpk.fit.base import CONVERGED, Info, Method, State
from pbpk.fit.diagnostics import diagnose, post_hoc
from pbpk.fit.layout import natural_with_jacobian
from pbpk.fit.problem import Problem
from pbpk.fit.result import Fit, parameter_table
from pbpk.fit.study import Study
from pbpk.fit.uncertainty import Uncertainty, uncertainty
from pbpk.observe import display_factor, observable_unit
from pbpk.solve.base import explain


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
) -> Fit:
    """Fit `study` by `method`. Raises `ScienceFailed` when the objective is not finite at the start; a fit that does not
    converge is returned, and says so."""
    watch = watch or Watch()
    problem = method.prepare(study.problem)
    clock = time.perf_counter()
    if resume:
        state, infos = resume
    else:
        state, infos = method.init(problem), []
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
    return _collect(study, method, problem, state, infos, estimated, seconds, seed)


def _check_start(study: Study, problem: Problem, state: State) -> None:
    """Refuse to start from an objective that is not finite, naming the subjects and the reason of each."""
    bad = np.flatnonzero(~np.isfinite(state.objective))
    if not len(bad):
        return
    theta, _, sigma = problem.unpack(jnp.asarray(state.psi))
    u = problem.mixed(theta, jnp.zeros_like(state.eta))
    f, code = problem.predict(u)
    r = np.asarray(problem.variance(f, sigma))
    f, code = np.asarray(f), np.asarray(code)
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


def _collect(
    study: Study,
    method: Method,
    problem: Problem,
    state: State,
    infos: list[Info],
    estimated: Uncertainty | None,
    seconds: dict[str, float],
    seed: int,
) -> Fit:
    layout = problem.spec.layout
    kept = [study.problem.spec.layout.names.index(n) for n in layout.names]
    scale = study.scale[kept]
    units, labels = (tuple(t[i] for i in kept) for t in (study.units, study.labels))
    natural = np.asarray(natural_with_jacobian(layout, state.psi, problem.initial)[0]) / scale
    estimates = dict(zip(layout.names, (float(x) for x in natural), strict=True))

    eta = np.asarray(post_hoc(problem, state.psi, state.eta)) if method.name == "fo" else state.eta
    found = diagnose(problem, state.psi, eta)
    errors: dict[str, dict[str, float]] = {}
    free = [n for n, held in zip(layout.names, layout.fixed, strict=True) if not held]
    covariance = pd.DataFrame(index=pd.Index(free), columns=pd.Index(free), dtype=float)
    printed = study.spec.estimation.standard_errors
    warnings = [t for t in estimated.trouble if printed != "R" or "S matrix" not in t] if estimated else []
    if estimated:
        at = [layout.names.index(n) for n in free]
        for matrix, cov in estimated.covariance.items():
            shown = (cov / np.outer(scale, scale))[np.ix_(at, at)]
            errors[matrix] = dict(zip(free, (float(x) for x in np.sqrt(np.diag(shown))), strict=True))
            if matrix == printed:
                covariance = pd.DataFrame(shown, index=pd.Index(free), columns=pd.Index(free))
    warnings += _at_edge(layout.names, natural, set(layout.etas))
    shrinkage = dict(zip(layout.etas, (float(x) for x in found.eta_shrinkage), strict=True))
    lognormal = {v.name for v in problem.spec.individual.varying if v.distribution == "lognormal"}
    se = errors.get(printed, {})
    logs = {
        t.name: {"estimate": float(np.log(estimates[t.name])), "se": se.get(t.name, np.nan) / estimates[t.name]}
        for t in layout.thetas
        if t.positive
    }
    successful = state.status == CONVERGED
    return Fit(
        study=study.name,
        model=study.model.name,
        method=method.name,
        ofv=state.ofv,
        subjects=problem.subjects,
        observations=problem.observations,
        estimates=estimates,
        standard_errors=errors,
        printed_matrix=printed,
        covariance=covariance,
        parameters=parameter_table(layout, natural, se, units, labels, shrinkage, lognormal),
        eta_shrinkage=shrinkage,
        epsilon_shrinkage=found.epsilon_shrinkage,
        individual=_individuals(study, problem, found),
        table=_table(study, problem, found),
        iterations=tuple(infos),
        successful=successful,
        cause=state.status,
        warnings=tuple(warnings),
        seconds=seconds,
        solver=problem.spec.solver.name,
        seed=seed,
        condition_number=estimated.condition_number if estimated else float("nan"),
        log_estimates=logs,
        observable_units={
            e.observable: study.spec.data.units.get("DV")
            or observable_unit(problem.spec.system, study.model.parameters, e.observable)
            for e in problem.spec.endpoints
        },
    )


def _at_edge(names: tuple[str, ...], natural: np.ndarray, etas: set[str]) -> list[str]:
    gone = [
        n
        for n, v in zip(names, natural, strict=True)
        if n.removeprefix("OMEGA_") in etas and "OMEGA_" in n and v < 1e-5
    ]
    return [f"{', '.join(gone)} went to zero: leave that random effect out"] if gone else []


def _individuals(study: Study, problem: Problem, found) -> pd.DataFrame:
    """patab: ID, each varying parameter in its own unit, and the η."""
    out = pd.DataFrame({"ID": study.subjects})
    system = problem.spec.system
    for v in problem.spec.individual.varying:
        row = study.model.parameters[v.name]
        out[v.name] = found.parameters[system.parameter_index(v.name)] / replace(row, value=1.0).internal
    for i, name in enumerate(problem.spec.layout.etas):
        out[f"ETA_{name}"] = found.eta[i]
    return out


def _table(study: Study, problem: Problem, found) -> pd.DataFrame:
    """sdtab: one line per observation; TIME, DV and predictions in the units of the data."""
    frame = study.events.frame
    observed = frame[frame["MDV"] == 0]
    order = np.concatenate([np.flatnonzero(problem.seen[:, i]) for i in range(problem.subjects)])
    who = np.repeat(np.arange(problem.subjects), problem.seen.sum(axis=0))
    pick = (order, who)
    given, model = study.spec.data.units, study.model
    dvid = observed["DVID"].to_numpy()
    factor = {
        n: pbpk_units.factor(given["DV"]) if "DV" in given else display_factor(model.system, model.parameters, n)
        for n in set(dvid)
    }
    shown = np.array([factor[n] for n in dvid])
    dv = observed["DV"].to_numpy() / shown
    return pd.DataFrame(
        {
            "ID": observed["ID"].to_numpy(),
            "TIME": observed["TIME"].to_numpy() / pbpk_units.factor(given.get("TIME", "h")),
            "DVID": dvid,
            "DV": dv,
            "PRED": found.pred[pick] / shown,
            "IPRED": found.ipred[pick] / shown,
            "RES": dv - found.pred[pick] / shown,
            "IWRES": found.iwres[pick],
            "CWRES": found.cwres[pick],
        }
    )
