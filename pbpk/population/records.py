"""Data columns as arrays by record: covariates, and columns that override a parameter."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.data.events import EventTable
from pbpk.model.load import Model
from pbpk.population.patients import with_effects


def coherent_overrides(events: EventTable, model: Model, given: Collection[str]) -> EventTable:
    """The table with its overriding columns in coherent units: they are in the parameter's own unit, unless `given` one."""
    lower = {g.lower() for g in given}
    scale = {n: units.factor(model.parameters[n].unit) for n in events.overrides if n.lower() not in lower}
    return replace(events, frame=events.frame.assign(**{n: events.frame[n] * f for n, f in scale.items()}))


def rows_needed(frames: Sequence[pd.DataFrame], columns: Collection[str]) -> int:
    """1 when none of the columns changes within a subject; otherwise the longest subject's number of records."""
    changing = any(g[c].nunique(dropna=False) > 1 for g in frames for c in columns)
    return max(len(g) for g in frames) if changing else 1


def by_record(frames: Sequence[pd.DataFrame], names: Sequence[str], rows: int) -> np.ndarray:
    """(rows, names, subjects): each record's values, the last repeated to the end."""
    out = np.ones((rows, len(names), len(frames)))
    for i, g in enumerate(frames):
        out[:, :, i] = g[list(names)].to_numpy(dtype=float)[np.minimum(np.arange(rows), len(g) - 1)]
    return out


def parameters_by_record(model: Model, events: EventTable, frames: Sequence[pd.DataFrame]) -> np.ndarray:
    """p (rows, m, subjects): the model's typical values with its covariate effects and the file's overrides."""
    used = {e.covariate for row in model.parameters.rows.values() for e in row.effects} & set(events.covariates)
    rows = rows_needed(frames, [*events.overrides, *used])
    names = model.system.parameter_names
    p = np.zeros((rows, len(names), len(frames)))
    given = by_record(frames, events.overrides, rows)
    for i, g in enumerate(frames):
        at = np.minimum(np.arange(rows), len(g) - 1)
        covariates = pd.DataFrame(
            {
                n: g[n].to_numpy(float)[at] if n in events.covariates else np.full(rows, row.value)
                for n, row in model.parameters.covariates.items()
            },
            index=range(rows),
        )
        p[:, :, i] = with_effects(model, np.repeat(model.values[:, None], rows, axis=1), covariates).T
    for k, name in enumerate(events.overrides):
        j = names.index(name)
        p[:, j] = np.where(np.isnan(given[:, k]), p[:, j], given[:, k])
    return p
