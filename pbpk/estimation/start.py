"""One estimation's result as another's start: population parameters, Ω, standard deviations and η, where the names match.

What the new study does not share with the old one, and what it holds, stays as its own fit.toml has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput, WrongUsage
from pbpk.estimation.base import Evaluation, Method, State
from pbpk.estimation.map import Posterior
from pbpk.estimation.quasi_newton import QuasiNewton, total

if TYPE_CHECKING:
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.parameter_layout import Layout
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

_LEAST = 1e-3  # of the study's own initial variance: one that went to zero has no logarithm to start from


@dataclass(frozen=True)
class Start:
    """`values` in the units of `units`, by name; `eta` by subject's ID, then by name; `origin` says where they are from."""

    origin: str
    values: Mapping[str, float]
    units: Mapping[str, str]
    eta: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        return {"origin": self.origin, "values": dict(self.values), "units": dict(self.units), "eta": dict(self.eta)}


def start_of(fit: Fit) -> Start:
    given = dict(zip(fit.parameters["name"], fit.parameters["unit"], strict=True))
    return Start(f"{fit.study} by {fit.method}", fit.estimates, given, _etas(fit.individual))


def read_start(where: str | Path) -> Start:
    """From a finished run's folder, or the start.json that a run keeps. Raises `BadInput` for what is neither."""
    path = Path(where)
    kept = path if path.is_file() else path / "start.json"
    if not (path / "results.json").exists():
        if not kept.exists():
            hint = "give the folder that a fit wrote"
            raise BadInput("holds no results.json, so it is no finished run", where=str(where), hint=hint)
        return Start(**_read(kept))
    found = _read(path / "results.json")
    values = {n: float(x) for n, x in found.get("parameter_estimates", {}).items() if x is not None}
    if not values:
        raise BadInput("has no estimates to start from", where=str(path / "results.json"))
    table = path / "patab.csv"
    eta = _etas(pd.read_csv(table, dtype={"ID": str})) if table.exists() else {}
    return Start(f"{found['study']} by {found['method']} ({path})", values, found.get("parameter_units", {}), eta)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise BadInput("is not JSON", where=str(path)) from e
    if not isinstance(found, dict):
        raise BadInput("holds no result", where=str(path))
    return found


def _etas(individual: pd.DataFrame) -> dict[str, dict[str, float]]:
    named = [c for c in individual.columns if str(c).startswith("ETA_")]
    if "ID" not in individual or not named:
        return {}
    rows = individual.set_index(individual["ID"].astype(str))[named]
    return {str(who): {n.removeprefix("ETA_"): float(row[n]) for n in named} for who, row in rows.iterrows()}


def begun_from(study: Study, start: Start) -> tuple[Study, np.ndarray]:
    """The study with those initial values, and the first η (q, N). Raises `WrongUsage` when no name matches."""
    if study.spec.summary is not None:
        raise WrongUsage("a fit to published aggregates takes its start from fit.toml alone", hint="--set NAME=VALUE")
    layout, own = study.problem.spec.layout, np.array(study.problem.initial, dtype=float)
    new, shared = own.copy(), []
    for i, (name, held) in enumerate(zip(layout.names, layout.fixed, strict=True)):
        if held or name not in start.values:
            continue
        value = float(start.values[name])
        given, unit = start.units.get(name, study.units[i]), study.units[i]
        factor = study.scale[i] if given == unit else units.require(given, unit, name, where=start.origin)
        if np.isfinite(value):
            new[i] = value * factor
            shared.append(name)
    if not shared:
        hint = f"this study estimates {', '.join(layout.names)}"
        raise WrongUsage(f"{start.origin} estimates nothing that {study.name} does", hint=hint)
    new = _allowed(layout, new, own)
    problem = replace(study.problem, initial=new)
    eta = np.zeros((len(layout.etas), problem.columns))
    for i, who in enumerate(study.subjects * problem.spec.classes):
        known = start.eta.get(str(who), {})
        eta[:, i] = [known.get(n, 0.0) for n in layout.etas]
    return replace(study, problem=problem), np.where(np.isfinite(eta), eta, 0.0)


def _allowed(layout: Layout, new: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The same inside every bound, with an Ω and standard deviations that have logarithms."""
    for i, theta in enumerate(layout.thetas):
        low, high = theta.ends
        if (
            not theta.fixed and not low < new[i] < high
        ):  # an estimate on its bound, or a bound that the other fit had not
            new[i] = own[i]
    at = len(layout.thetas)
    for block in layout.blocks:
        k, places = len(block.etas), range(at, at + len(block.names))
        rows, columns = np.tril_indices(k)
        for i, row, column in zip(places, rows, columns, strict=True):
            if row == column and not block.fixed:
                new[i] = max(new[i], _LEAST * own[i])
        omega = np.zeros((k, k))
        omega[rows, columns] = new[list(places)]
        omega = omega + np.tril(omega, -1).T
        while np.linalg.eigvalsh(omega).min() <= 1e-6 * np.diag(omega).min():
            omega = 0.9 * omega + 0.1 * np.diag(np.diag(omega))
        new[list(places)] = omega[rows, columns]
        at += len(block.names)
    for i in range(at, len(new)):
        new[i] = new[i] if new[i] > 0 else own[i]
    return new


def warmed(method: Method, problem: Problem, state: State, eta: np.ndarray) -> State:
    """The first state with every subject at the better of two modes: that found from η = 0, and that found from `eta`."""
    if not isinstance(method, QuasiNewton | Posterior) or not eta.any() or problem.spec.classes > 1:
        return state
    again = Evaluation(
        *(np.asarray(x) for x in method.evaluate(problem, state.psi, eta[: len(problem.spec.layout.etas)]))
    )
    better = ~(again.objective >= state.objective) & np.isfinite(again.objective)  # also where the first is not finite
    if not better.any():
        return state
    objective = np.where(better, again.objective, state.objective)
    return replace(
        state,
        objective=objective,
        ofv=total(problem, state.psi, objective),
        gradient=np.where(better, again.gradient, state.gradient),
        eta=np.where(better, again.eta, state.eta) if state.eta.size else state.eta,
        good=np.where(better, again.good, state.good),
        evaluations=state.evaluations + 1,
    )
