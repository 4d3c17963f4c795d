"""Data columns as arrays by record: covariates, and columns that override a parameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput
from pbpk.model.ranges import find_out_of_range, list_role_ranges
from pbpk.population.patients import apply_covariate_effects

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model


def convert_overrides(events: EventTable, model: Model, unit_of: Mapping[str, str]) -> EventTable:
    """The table with overriding columns in coherent units and covariates in the unit that the model names for them.

    A column is in the parameter's unit, unless `unit_of` has another for it (then the reader has made it coherent). Raises
    `BadInput` for a unit of another dimension.
    """
    declared = {name.lower(): unit for name, unit in unit_of.items()}
    scale = {}
    for name in events.overrides:
        own_unit, unit = model.parameters[name].unit, declared.get(name.lower())
        if unit is None:
            scale[name] = units.unit_factor(own_unit)
        else:
            units.require_dimension(unit, own_unit, f"the column {name}", where=events.source)
    for name in events.covariates:
        if (unit := declared.get(name.lower())) is not None:
            own_unit = model.parameters.covariates[name].unit if name in model.parameters.covariates else unit
            units.require_dimension(unit, own_unit, f"the covariate {name}", where=events.source)
            scale[name] = 1 / units.unit_factor(own_unit)
    events = replace(events, frame=events.frame.assign(**{n: events.frame[n] * f for n, f in scale.items()}))
    _check_overrides(events, model)
    return events


def _check_overrides(events: EventTable, model: Model) -> None:
    """Raise `BadInput` at the first value of an overriding column that the parameter's role does not allow."""
    ranges = list_role_ranges(model.system.block)
    for name in events.overrides:
        values = events.frame[name].to_numpy(dtype=float)
        wrong = np.flatnonzero(find_out_of_range(ranges, name, values))
        if len(wrong):
            row, subject = events.frame.index[wrong[0]], events.frame["ID"].iloc[wrong[0]]
            shown = units.from_internal(values[wrong[0]], model.parameters[name].unit)
            raise BadInput(
                f"{ranges[name].role}, `{name}`, is {shown:g} {model.parameters[name].unit}",
                where=f"{events.source} row {row} (ID {subject})",
                why=ranges[name].why,
                hint=f"{len(wrong) - 1} more rows have this problem" if len(wrong) > 1 else "",
            )


def check_dose_unit(events: EventTable, model: Model, unit_of: Mapping[str, str], where: str) -> None:
    """Raise `BadInput` when the unit of AMT in `unit_of` does not fit a compartment that is dosed."""
    unit = next((u for name, u in unit_of.items() if name.upper() == "AMT"), None)
    if unit is None:
        return
    for place in events.frame.loc[events.frame["AMT"] > 0, "CMT"].unique():
        units.require_dimension(unit, model.system.compartments[model.system.index(place)].unit, "AMT", where=where)


def count_rows_needed(frames: Sequence[pd.DataFrame], columns: Collection[str]) -> int:
    """1 when none of the columns changes within a subject; otherwise the longest subject's number of records."""
    changing = any(g[c].nunique(dropna=False) > 1 for g in frames for c in columns)
    return max(len(g) for g in frames) if changing else 1


def stack_by_record(frames: Sequence[pd.DataFrame], names: Sequence[str], rows: int) -> np.ndarray:
    """(rows, names, subjects): each record's values, the last repeated to the end."""
    out = np.ones((rows, len(names), len(frames)))
    for i, g in enumerate(frames):
        out[:, :, i] = g[list(names)].to_numpy(dtype=float)[np.minimum(np.arange(rows), len(g) - 1)]
    return out


def find_covariates_used(model: Model, events: EventTable) -> set[str]:
    """The file's covariates that have effects in the model's parameter table."""
    return {e.covariate for row in model.parameters.rows.values() for e in row.effects} & set(events.covariates)


def build_parameters_by_record(
    model: Model,
    events: EventTable,
    frames: Sequence[pd.DataFrame],
    rows: int | None = None,
    only: Collection[str] | None = None,
) -> np.ndarray:
    """p (rows, m, subjects): the model's typical values with its covariate effects (of `only` these covariates, or all) and
    the file's overrides."""
    rows = (
        count_rows_needed(frames, [*events.overrides, *find_covariates_used(model, events)]) if rows is None else rows
    )
    names = model.system.parameter_names
    p = np.zeros((rows, len(names), len(frames)))
    overrides = stack_by_record(frames, events.overrides, rows)
    for i, g in enumerate(frames):
        at = np.minimum(np.arange(rows), len(g) - 1)
        covariates = pd.DataFrame(
            {
                n: g[n].to_numpy(float)[at] if n in events.covariates else np.full(rows, row.value)
                for n, row in model.parameters.covariates.items()
            },
            index=range(rows),
        )
        p[:, :, i] = apply_covariate_effects(model, np.repeat(model.values[:, None], rows, axis=1), covariates, only).T
    for k, name in enumerate(events.overrides):
        j = names.index(name)
        p[:, j] = np.where(np.isnan(overrides[:, k]), p[:, j], overrides[:, k])
    return model.system.derive(p)
