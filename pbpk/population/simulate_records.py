"""Simulation of the records of a data file: every subject with its own events, covariates and parameters over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, get_args

import jax
import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.observe.readings import find_display_factor, find_observable_unit, select_observables
from pbpk.population.batch import Batch, OutputRequest
from pbpk.population.chunks import solve_in_chunks, solve_in_this_process
from pbpk.population.records import build_parameters_by_record
from pbpk.solve.choose import choose_solver
from pbpk.solve.timeline import Between, Timeline, build_timeline, moves_events

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.population.options import Precision
    from pbpk.regimen.regimen import Regimen


class RecordPredictions(NamedTuple):
    """Predictions by record (ID, TIME in h, observables; NaN for subjects that failed), their units, and by subject the
    result code and how often it was solved again."""

    table: pd.DataFrame
    unit: dict[str, str]
    result: np.ndarray
    solved_again: np.ndarray


def simulate_records(
    model: Model,
    events: EventTable,
    *,
    observe: Sequence[str] | None = None,
    solver: str | None = None,
    voids: Regimen | None = None,
    covariates_over_time: Between = "nocb",
    dtype: Precision = "float64",
) -> RecordPredictions:
    """Predictions at every record of a data file.

    Columns named like parameters override them, per subject or over time; covariates act through the model's effects.
    Between two records those of the next hold ("nocb", NONMEM's rule) or those of the last ("locf"). `voids` happen to
    every subject. Raises `BadInput` for what cannot be meant.
    """
    if covariates_over_time not in get_args(Between):
        hint = "nocb (the next record's values hold, as in NONMEM) or locf (the last one's)"
        raise BadInput(f"covariates_over_time = {covariates_over_time!r} is not known", hint=hint)
    if voids is not None and voids.doses:
        raise BadInput("a data file brings its own doses", hint="voids alone can be added")
    system, names = model.system, tuple(select_observables(model.system, observe))
    frames = [g.assign(MDV=0) for _, g in events.frame.groupby("ID", sort=False)]
    p = build_parameters_by_record(model, events, frames).astype(dtype)
    infusions = bool(((events.frame["RATE"] != 0) | (events.frame["DUR"] > 0)).any())
    moving = moves_events(system, p, set(), infusions)
    habits = voids.voids if voids else ()
    timeline = build_timeline(frames, system, moving=moving, typical=p, voids=habits, between=covariates_over_time)
    index = timeline.output_index
    row = np.minimum(np.arange(len(index))[:, None], p.shape[0] - 1) + 0 * index

    def take(numbers: np.ndarray) -> Batch:
        subjects: Timeline = jax.tree.map(lambda a: a[..., numbers], timeline)
        return Batch(subjects, p[:, :, numbers], row[:, numbers], np.array(0))

    result, solved_again = solve_in_chunks(
        *(system, choose_solver(system, solver), OutputRequest(names), take, len(frames)),
        times=len(index),
        run=solve_in_this_process(system),
    )
    factor = {k: find_display_factor(system, model.parameters, k) for k in names}
    parts = [
        pd.DataFrame(
            {"ID": g["ID"].to_numpy(), "TIME": g["TIME"].to_numpy()}
            | {k: result.observables[j, : len(g), i] / factor[k] for j, k in enumerate(names)}
        )
        for i, g in enumerate(frames)
    ]
    unit = {k: find_observable_unit(system, model.parameters, k) for k in names}
    return RecordPredictions(pd.concat(parts, ignore_index=True), unit, np.asarray(result.code), solved_again)
