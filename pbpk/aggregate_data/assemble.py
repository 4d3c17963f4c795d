"""A study with `[summary]`: its groups, quantities and rows as a problem, beside the individual data where it has some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.aggregate_data.arms import VirtualArms, build_arm_timeline, list_spread_covariates, read_arms
from pbpk.aggregate_data.blocks import build_blocks, check_noise, compute_row_numbers
from pbpk.aggregate_data.problem import JointProblem, SummaryProblem, SummaryStructure
from pbpk.aggregate_data.quantities import MeasuredQuantities, read_quantities
from pbpk.aggregate_data.rows import SummaryRow, convert_cv_to_sd, read_rows
from pbpk.aggregate_data.virtual_patients import draw_standard_normals
from pbpk.data.events import COLUMNS, EventTable
from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.parameter_layout import ParameterLayout, Theta
from pbpk.model.parameters import read_number
from pbpk.population.patients import apply_covariate_effects

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.population.individual import IndividualModel
    from pbpk.solve.base import Solver
    from pbpk.study.summary_schema import NumberPart, SummaryPart


class AggregateData(NamedTuple):
    """What a study's `[summary]` and its file of rows say, read and checked before the parameter layout is known.

    z (D, patients) are the standard normals of all virtual patients; `where` is the file that error messages name.
    """

    part: SummaryPart
    rows: tuple[SummaryRow, ...]
    measured: MeasuredQuantities
    arms: VirtualArms
    z: np.ndarray
    where: str


def read_aggregates(part: SummaryPart, model: Model, folder: Path, etas: int, seed: int, where: str) -> AggregateData:
    """Read the groups, quantities and rows of `[summary]`. Raises `BadInput`.

    `etas` is the number of random effects: their draws come first in z, then those of covariates, then noise.
    """
    for name in part.responses:
        if name in part.quantities:
            raise BadInput(f"`{name}` is both a quantity and a response", where=f"{where} [summary]")
    for name, response in part.responses.items():
        if response.exposure not in part.quantities:
            raise BadInput(f"no quantity `{response.exposure}`", where=f"{where} [summary.responses.{name}]",
                           hint=did_you_mean(response.exposure, part.quantities))  # fmt: skip
    if part.patients % 2:
        raise BadInput(f"patients = {part.patients} is odd: they come in mirrored pairs", where=f"{where} [summary]")
    spread = list_spread_covariates(part)
    z = draw_standard_normals(etas + len(spread) + len(part.quantities), part.patients, seed)
    arms = read_arms(part, model, z[etas : etas + len(spread)], where)
    measured = read_quantities(part, model, arms.dose_unit, where)
    path = folder / part.file
    rows = convert_cv_to_sd(read_rows(path, part))
    if not any(r.used for r in rows):
        raise BadInput("holds no row that is used", where=str(path))
    return AggregateData(part, rows, measured, arms, z, where)


def make_event_table(aggregates: AggregateData) -> EventTable:
    """The groups' covariates as an event table without records, from which the population model takes its covariates."""
    frame = pd.DataFrame({c: pd.Series(dtype=object) for c in (*COLUMNS, *aggregates.arms.covariates.columns)})
    used = sum(r.used for r in aggregates.rows)
    unpublished = {s: sum(r.status == s for r in aggregates.rows) for s in ("inferred", "assumed")}
    notes = [
        f"{used} rows of {aggregates.part.file} in {len(aggregates.part.groups)} groups are fitted, "
        f"{len(aggregates.rows) - used} only predicted"
    ]
    notes += [f"{n} rows are {status}, not published" for status, n in unpublished.items() if n]
    notes += [f"group `{k}` is {g.status}" for k, g in aggregates.part.groups.items() if g.status != "published"]
    return EventTable(frame, tuple(aggregates.arms.covariates.columns), (), aggregates.part.file, tuple(notes))


def extend_layout(layout: ParameterLayout, tables: tuple, aggregates: AggregateData) -> tuple[ParameterLayout, tuple]:
    """The layout with the E50 and slope of each response among its θ; `tables` are (initial natural, scale, units,
    labels), likewise."""
    at, extra, rows = len(layout.thetas), [], []
    for name, response in aggregates.part.responses.items():
        unit = aggregates.measured.quantities[aggregates.measured.index(response.exposure)].unit
        response_location = f"{aggregates.where} [summary.responses.{name}]"
        for kind, number, expected_unit in (("E50", response.E50, unit), ("slope", response.slope, "1")):
            value, shown = _read_initial_value(number, expected_unit, f"{response_location}: {kind}")
            what = (
                f"{response.exposure} at which half respond"
                if kind == "E50"
                else f"steepness in ln {response.exposure}"
            )
            extra.append(Theta(f"{name}.{kind}", True, number.fixed))
            rows.append((value, units.unit_factor(shown), shown, number.label or f"{name}: {what}"))
    layout = replace(layout, thetas=(*layout.thetas, *extra))
    if len(set(layout.names)) != len(layout.names):
        raise BadInput("a response is called like a parameter", where=aggregates.where)
    natural, scale, shown, labels = tables
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return layout, (
        np.insert(np.asarray(natural, dtype=float), at, columns[0]),
        np.insert(np.asarray(scale, dtype=float), at, columns[1]),
        (*shown[:at], *columns[2], *shown[at:]),
        (*labels[:at], *columns[3], *labels[at:]),
    )


def _read_initial_value(number: NumberPart, expected_unit: str, where: str) -> tuple[float, str]:
    """An initial value in coherent units, and the unit it is shown in: the one that the user wrote. Raises `BadInput`."""
    value, unit = number.initial, ""
    if isinstance(value, str):
        try:
            value, unit = read_number(value)
        except ValueError:
            raise BadInput(f'"{number.initial}" is not a number with a unit', where=where) from None
    shown = unit or expected_unit
    factor = units.require_dimension(shown, expected_unit, "the initial value", where=where)
    if not value > 0:
        raise BadInput(f"the initial value {value:g} must be above 0", where=where)
    return float(value) * factor, shown


def build_summary_problem(
    aggregates: AggregateData,
    model: Model,
    solver: Solver,
    individual: IndividualModel,
    layout: ParameterLayout,
    natural: np.ndarray,
    constants_set: Mapping[str, Any],
    priors: tuple = (),
) -> SummaryProblem:
    """The problem of the aggregates alone. Raises `BadInput`.

    `constants_set` are the constants that the study sets: a covariate that neither they nor a group mention has no effect.
    """
    arms, measured, q = aggregates.arms, aggregates.measured, len(layout.etas)
    table = model.parameters.covariates
    lanes = len(arms.covariates)
    full = pd.DataFrame(
        {n: arms.covariates[n] if n in arms.covariates else np.full(lanes, row.value) for n, row in table.items()},
        index=range(lanes),
    )
    effects = {e.covariate for row in model.parameters.rows.values() for e in row.effects}
    known_effects = effects & (set(arms.covariates.columns) | set(constants_set))
    constants = np.asarray(
        apply_covariate_effects(model, np.repeat(model.values[:, None], lanes, axis=1), full, known_effects)
    )
    missing = [c for c in measured.covariates if c not in arms.covariates]
    if missing:
        raise BadInput(f"a dose is scaled by `{missing[0]}`, of which no group speaks", where=aggregates.where)
    varying = {v.name for v in individual.varying}
    timeline, activity = build_arm_timeline(
        arms, model, measured.times, varying, measured.needs_infinity, aggregates.where
    )
    order = np.argsort(np.argsort(measured.times, kind="stable"))
    blocks = build_blocks(aggregates.rows, aggregates.part, measured, arms.arm)
    check_noise(blocks, aggregates.rows, aggregates.part, aggregates.where)
    spec = SummaryStructure(
        *(model.system, solver, individual, layout, measured, blocks),
        *(arms.groups, aggregates.part.patients, tuple(int(i) for i in order), len(measured.times)),
        *(measured.covariates, priors),
    )
    return SummaryProblem(
        spec,
        timeline,
        aggregates.z[:q],
        aggregates.z[len(aggregates.z) - len(measured.quantities) :],
        arms.covariates[list(individual.covariates)].to_numpy(float).T[None],
        constants[None],
        activity,
        arms.covariates[list(measured.covariates)].to_numpy(float).T,
        compute_row_numbers(aggregates.rows, measured, str(aggregates.part.file)),
        natural,
    )


def join_problems(summary: SummaryProblem, individual: Any) -> JointProblem:
    """Join the aggregates with the problem of the individual data, `individual` or None; it takes the summary's layout
    and initial values."""
    if individual is None:
        return JointProblem(summary)
    spec = replace(individual.structure, layout=summary.structure.layout)
    return JointProblem(summary, replace(individual, structure=spec, initial=summary.initial))
