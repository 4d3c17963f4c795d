"""A study with `[summary]`: its groups, quantities and rows as a problem, beside the individual data where it has some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.aggregate_data.arms import Arms, read_arms, spread_names, timeline_of
from pbpk.aggregate_data.blocks import check_noise, make_plan, numbers
from pbpk.aggregate_data.problem import JointProblem, SummaryProblem, SummarySpec
from pbpk.aggregate_data.quantities import Measured, read_quantities
from pbpk.aggregate_data.rows import Row, cv_as_sd, read_rows
from pbpk.aggregate_data.virtual_patients import standard_normals
from pbpk.data.events import COLUMNS, EventTable
from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.parameter_layout import ParameterLayout, Theta
from pbpk.model.parameters import read_number
from pbpk.population.patients import apply_covariate_effects

if TYPE_CHECKING:
    from pbpk.study.summary_schema import NumberPart, SummaryPart
    from pbpk.model.load import Model
    from pbpk.population.individual import IndividualModel
    from pbpk.solve.base import Solver


class Aggregates(NamedTuple):
    """What a study's `[summary]` holds, read: before its layout is known."""

    part: SummaryPart
    rows: tuple[Row, ...]
    measured: Measured
    arms: Arms
    z: np.ndarray
    where: str


def read_aggregates(part: SummaryPart, model: Model, folder: Path, etas: int, seed: int, where: str) -> Aggregates:
    """`etas`: how many random effects the population model has; their draws come first, then covariates', then noise."""
    for name in part.responses:
        if name in part.quantities:
            raise BadInput(f"`{name}` is both a quantity and a response", where=f"{where} [summary]")
    for name, said in part.responses.items():
        if said.exposure not in part.quantities:
            raise BadInput(f"no quantity `{said.exposure}`", where=f"{where} [summary.responses.{name}]",
                           hint=did_you_mean(said.exposure, part.quantities))  # fmt: skip
    if part.patients % 2:
        raise BadInput(f"patients = {part.patients} is odd: they come in mirrored pairs", where=f"{where} [summary]")
    spread = spread_names(part)
    z = standard_normals(etas + len(spread) + len(part.quantities), part.patients, seed)
    arms = read_arms(part, model, z[etas : etas + len(spread)], where)
    measured = read_quantities(part, model, arms.dosed, where)
    path = folder / part.file
    rows = cv_as_sd(read_rows(path, part))
    if not any(r.used for r in rows):
        raise BadInput("holds no row that is used", where=str(path))
    return Aggregates(part, rows, measured, arms, z, where)


def as_events(given: Aggregates) -> EventTable:
    """The groups' covariates, as records would have them: what the population model may speak of."""
    frame = pd.DataFrame({c: pd.Series(dtype=object) for c in (*COLUMNS, *given.arms.covariates.columns)})
    used = sum(r.used for r in given.rows)
    unsure = {s: sum(r.status == s for r in given.rows) for s in ("inferred", "assumed")}
    notes = [
        f"{used} rows of {given.part.file} in {len(given.part.groups)} groups are fitted, "
        f"{len(given.rows) - used} only predicted"
    ]
    notes += [f"{n} rows are {status}, not published" for status, n in unsure.items() if n]
    notes += [f"group `{k}` is {g.status}" for k, g in given.part.groups.items() if g.status != "published"]
    return EventTable(frame, tuple(given.arms.covariates.columns), (), given.part.file, tuple(notes))


def extended(layout: ParameterLayout, tables: tuple, given: Aggregates) -> tuple[ParameterLayout, tuple]:
    """The layout with the responses' numbers among its θ; `tables` are (initial natural, scale, units, labels), likewise."""
    at, extra, rows = len(layout.thetas), [], []
    for name, said in given.part.responses.items():
        unit = given.measured.quantities[given.measured.index(said.exposure)].unit
        place = f"{given.where} [summary.responses.{name}]"
        for kind, number, wanted in (("E50", said.E50, unit), ("slope", said.slope, "1")):
            value, shown = _initial(number, wanted, f"{place}: {kind}")
            what = f"{said.exposure} at which half respond" if kind == "E50" else f"steepness in ln {said.exposure}"
            extra.append(Theta(f"{name}.{kind}", True, number.fixed))
            rows.append((value, units.unit_factor(shown), shown, number.label or f"{name}: {what}"))
    layout = replace(layout, thetas=(*layout.thetas, *extra))
    if len(set(layout.names)) != len(layout.names):
        raise BadInput("a response is called like a parameter", where=given.where)
    natural, scale, shown, labels = tables
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return layout, (
        np.insert(np.asarray(natural, dtype=float), at, columns[0]),
        np.insert(np.asarray(scale, dtype=float), at, columns[1]),
        (*shown[:at], *columns[2], *shown[at:]),
        (*labels[:at], *columns[3], *labels[at:]),
    )


def _initial(number: NumberPart, wanted: str, where: str) -> tuple[float, str]:
    """Coherent, and the unit it is shown in: the one it was given in."""
    value, unit = number.initial, ""
    if isinstance(value, str):
        try:
            value, unit = read_number(value)
        except ValueError:
            raise BadInput(f'"{number.initial}" is not a number with a unit', where=where) from None
    shown = unit or wanted
    factor = units.require_dimension(shown, wanted, "the initial value", where=where)
    if not value > 0:
        raise BadInput(f"the initial value {value:g} must be above 0", where=where)
    return float(value) * factor, shown


def summary_problem(
    given: Aggregates,
    model: Model,
    solver: Solver,
    individual: IndividualModel,
    layout: ParameterLayout,
    natural: np.ndarray,
    spoken: Mapping[str, Any],
    priors: tuple = (),
) -> SummaryProblem:
    """`spoken` are the constants that the study sets: a covariate that neither they nor a group speak of stays out."""
    arms, measured, q = given.arms, given.measured, len(layout.etas)
    table = model.parameters.covariates
    lanes = len(arms.covariates)
    full = pd.DataFrame(
        {n: arms.covariates[n] if n in arms.covariates else np.full(lanes, row.value) for n, row in table.items()},
        index=range(lanes),
    )
    effects = {e.covariate for row in model.parameters.rows.values() for e in row.effects}
    only = effects & (set(arms.covariates.columns) | set(spoken))
    constants = np.asarray(apply_covariate_effects(model, np.repeat(model.values[:, None], lanes, axis=1), full, only))
    lacking = [c for c in measured.covariates if c not in arms.covariates]
    if lacking:
        raise BadInput(f"a dose is scaled by `{lacking[0]}`, of which no group speaks", where=given.where)
    varying = {v.name for v in individual.varying}
    timeline, activity = timeline_of(arms, model, measured.times, varying, measured.endless, given.where)
    order = np.argsort(np.argsort(measured.times, kind="stable"))
    plan = make_plan(given.rows, given.part, measured, arms.arm)
    check_noise(plan, given.rows, given.part, given.where)
    spec = SummarySpec(
        *(model.system, solver, individual, layout, measured, plan),
        *(arms.groups, given.part.patients, tuple(int(i) for i in order), len(measured.times)),
        *(measured.covariates, priors),
    )
    return SummaryProblem(
        spec,
        timeline,
        given.z[:q],
        given.z[len(given.z) - len(measured.quantities) :],
        arms.covariates[list(individual.covariates)].to_numpy(float).T[None],
        constants[None],
        activity,
        arms.covariates[list(measured.covariates)].to_numpy(float).T,
        numbers(given.rows, measured, str(given.part.file)),
        natural,
    )


def join(summary: SummaryProblem, individual: Any) -> JointProblem:
    """`individual`: the problem of the study's own data or None; it takes the summary's layout and initial values."""
    if individual is None:
        return JointProblem(summary)
    spec = replace(individual.structure, layout=summary.structure.layout)
    return JointProblem(summary, replace(individual, structure=spec, initial=summary.initial))
