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
from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.quasi_newton import sum_objective
from pbpk.estimation.state import EstimationState
from pbpk.likelihood.evaluation import Evaluation
from pbpk.study.kinds import find_study_kind

if TYPE_CHECKING:
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.parameter_layout import ParameterLayout
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

_LEAST_VARIANCE = 1e-3  # of the study's own initial variance: one that went to zero has no logarithm to start from


@dataclass(frozen=True)
class StartingValues:
    """Estimates of one fit as the initial values of another. `values` are in the units of `units`, by name; `eta` by the
    subject's ID, then by name; `origin` says where they are from. start.json has these fields."""

    origin: str
    values: Mapping[str, float]
    units: Mapping[str, str]
    eta: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """What start.json holds."""
        return {"origin": self.origin, "values": dict(self.values), "units": dict(self.units), "eta": dict(self.eta)}


def take_starting_values(fit: Fit) -> StartingValues:
    """The estimates and η of a fit, to start another from."""
    units_of = dict(zip(fit.parameters["name"], fit.parameters["unit"], strict=True))
    return StartingValues(f"{fit.study} by {fit.method}", fit.estimates, units_of, _collect_etas(fit.individual))


def read_starting_values(where: str | Path) -> StartingValues:
    """The estimates and η of a finished run, from its folder or from the start.json that a run keeps. Raises `BadInput` for
    what is neither."""
    path = Path(where)
    start_file = path if path.is_file() else path / "start.json"
    if not (path / "results.json").exists():
        if not start_file.exists():
            hint = "give the folder that a fit wrote"
            raise BadInput("holds no results.json, so it is no finished run", where=str(where), hint=hint)
        return StartingValues(**_read_json(start_file))
    results = _read_json(path / "results.json")
    values = {n: float(x) for n, x in results.get("parameter_estimates", {}).items() if x is not None}
    if not values:
        raise BadInput("has no estimates to start from", where=str(path / "results.json"))
    table = path / "patab.csv"
    eta = _collect_etas(pd.read_csv(table, dtype={"ID": str})) if table.exists() else {}
    return StartingValues(
        f"{results['study']} by {results['method']} ({path})", values, results.get("parameter_units", {}), eta
    )


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises `BadInput` for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise BadInput("is not JSON", where=str(path)) from e
    if not isinstance(content, dict):
        raise BadInput("holds no result", where=str(path))
    return content


def _collect_etas(individual: pd.DataFrame) -> dict[str, dict[str, float]]:
    """η by ID and name, from the columns ETA_* of a table of individuals."""
    named = [c for c in individual.columns if str(c).startswith("ETA_")]
    if "ID" not in individual or not named:
        return {}
    rows = individual.set_index(individual["ID"].astype(str))[named]
    return {str(who): {n.removeprefix("ETA_"): float(row[n]) for n in named} for who, row in rows.iterrows()}


def apply_starting_values(study: Study, start: StartingValues) -> tuple[Study, np.ndarray]:
    """The study with those initial values, and the first η (q, N). Raises `WrongUsage` when no name matches."""
    if find_study_kind(study.spec) is not None:
        raise WrongUsage("a fit to published aggregates takes its start from fit.toml alone", hint="--set NAME=VALUE")
    layout, own_initial = study.problem.structure.layout, np.array(study.problem.initial, dtype=float)
    new, shared = own_initial.copy(), []
    for i, (name, is_fixed) in enumerate(zip(layout.names, layout.fixed_mask, strict=True)):
        if is_fixed or name not in start.values:
            continue
        value = float(start.values[name])
        unit_of_start, unit = start.units.get(name, study.units[i]), study.units[i]
        factor = (
            study.scale[i]
            if unit_of_start == unit
            else units.require_dimension(unit_of_start, unit, name, where=start.origin)
        )
        if np.isfinite(value):
            new[i] = value * factor
            shared.append(name)
    if not shared:
        hint = f"this study estimates {', '.join(layout.names)}"
        raise WrongUsage(f"{start.origin} estimates nothing that {study.name} does", hint=hint)
    new = _make_valid(layout, new, own_initial)
    problem = replace(study.problem, initial=new)
    eta = np.zeros((len(layout.etas), problem.columns))
    for i, who in enumerate(study.subjects * problem.structure.classes):
        etas_of_subject = start.eta.get(str(who), {})
        eta[:, i] = [etas_of_subject.get(n, 0.0) for n in layout.etas]
    return replace(study, problem=problem), np.where(np.isfinite(eta), eta, 0.0)


def _make_valid(layout: ParameterLayout, new: np.ndarray, own_initial: np.ndarray) -> np.ndarray:
    """`new` (names,) inside every bound, with an Ω and standard deviations that have logarithms: what is not allowed is taken
    from `own_initial`."""
    for i, theta in enumerate(layout.thetas):
        low, high = theta.interval
        if not theta.fixed and not low < new[i] < high:  # on its bound, or beyond a bound that the other fit had not
            new[i] = own_initial[i]
    at = len(layout.thetas)
    for block in layout.blocks:
        k, places = len(block.etas), range(at, at + len(block.names))
        rows, columns = np.tril_indices(k)
        for i, row, column in zip(places, rows, columns, strict=True):
            if row == column and not block.fixed:
                new[i] = max(new[i], _LEAST_VARIANCE * own_initial[i])
        omega = np.zeros((k, k))
        omega[rows, columns] = new[list(places)]
        omega = omega + np.tril(omega, -1).T
        while np.linalg.eigvalsh(omega).min() <= 1e-6 * np.diag(omega).min():
            omega = 0.9 * omega + 0.1 * np.diag(np.diag(omega))
        new[list(places)] = omega[rows, columns]
        at += len(block.names)
    for i in range(at, len(new)):
        new[i] = new[i] if new[i] > 0 else own_initial[i]
    return new


def choose_better_modes(
    method: EstimationMethod, problem: Problem, state: EstimationState, eta: np.ndarray
) -> EstimationState:
    """The first state with every subject at the better of two modes: that found from η = 0, and that found from `eta`."""
    if not method.uses_starting_etas or not eta.any() or problem.structure.classes > 1:
        return state
    again = Evaluation(
        *(np.asarray(x) for x in method.evaluate(problem, state.psi, eta[: len(problem.structure.layout.etas)]))
    )
    better = ~(again.objective >= state.objective) & np.isfinite(again.objective)  # also where the first is not finite
    if not better.any():
        return state
    objective = np.where(better, again.objective, state.objective)
    return replace(
        state,
        objective=objective,
        ofv=sum_objective(problem, state.psi, objective),
        gradient=np.where(better, again.gradient, state.gradient),
        eta=np.where(better, again.eta, state.eta) if state.eta.size else state.eta,
        good=np.where(better, again.good, state.good),
        evaluations=state.evaluations + 1,
    )
