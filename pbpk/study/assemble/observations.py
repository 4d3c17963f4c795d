"""The observations of a study as arrays: values, limits of quantification, times, and which record came before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.likelihood.endpoints.base import Endpoint, Observed
from pbpk.study.assemble.censoring import recording_floor

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.likelihood.problem import ModelStructure
    from pbpk.model.load import Model
    from pbpk.study.schema import ErrorPart, StudySpec


def read_observed(
    structure: ModelStructure,
    spec: StudySpec,
    model: Model,
    events: EventTable,
    frames: Sequence[pd.DataFrame],
    longest: int,
    rows: int,
    where: str,
) -> tuple[Observed, np.ndarray, np.ndarray]:
    """`Observed`, each observation's endpoint and the row of parameters it is read with, all (T, N).

    `frames` has a subject's records each; T = `longest` is the most observations of a subject; `rows` is how many rows of
    parameters a subject has. Raises `BadInput` for a DV that its endpoint cannot have.
    """
    t, n = longest, len(frames)
    y, low, high, time = (np.zeros((t, n)) for _ in range(4))
    floor, previous = np.full((t, n), -np.inf), np.full((t, n), -1)
    endpoint_index, parameter_row = np.zeros((t, n), int), np.zeros((t, n), int)
    names = [e.name for e in structure.endpoints]
    floors = [recording_floor(spec, model, name) for name in names]
    for i, frame in enumerate(frames):
        records = np.flatnonzero(frame["MDV"].to_numpy() == 0)
        k, observations = len(records), frame.iloc[records]
        which = np.array([names.index(d) for d in observations["DVID"]], dtype=int)
        dv, cens, limit = (observations[c].to_numpy(dtype=float) for c in ("DV", "CENS", "LIMIT"))
        y[:k, i], endpoint_index[:k, i], time[:k, i] = dv, which, observations["TIME"].to_numpy(dtype=float)
        lowest = np.array([_lowest_value(spec.error[names[w]]) for w in which])
        low[:k, i] = np.where(cens == 1, np.where(np.isnan(limit), lowest, limit), dv)
        high[:k, i] = np.where(cens == -1, np.where(np.isnan(limit), np.inf, limit), dv)
        floor[:k, i] = np.array([floors[w] for w in which]) if k else []
        for w in set(which.tolist()):
            same = np.flatnonzero(which == w)
            previous[same[1:], i] = same[:-1]
        parameter_row[:k, i] = records if rows > 1 else 0
        _check_values(structure.endpoints, observations, which, where, events)
    return Observed(y, low, high, floor, time, previous), endpoint_index, parameter_row


def _lowest_value(part: ErrorPart) -> float:
    """The least that a value below the limit can be, where LIMIT does not say it: 0 by M4, else −∞."""
    return 0.0 if part.blq == "M4" and not part.transformed else -np.inf


def _check_values(
    endpoints: tuple[Endpoint, ...], observations: pd.DataFrame, which: np.ndarray, where: str, events: EventTable
) -> None:
    """Raises `BadInput` for a DV that its endpoint's likelihood cannot have."""
    dv = observations["DV"].to_numpy(dtype=float)
    for w, endpoint in enumerate(endpoints):
        positions = np.flatnonzero(which == w)
        values = dv[positions]
        impossible, why = endpoint.find_impossible(values)
        if impossible.any():
            first = np.flatnonzero(impossible)[0]
            row, subject = observations.index[positions[first]], observations["ID"].iloc[0]
            raise BadInput(
                f"DV {values[first]:g} of {endpoint.name} cannot be",
                where=f"{events.source} row {row} (ID {subject})",
                why=why,
                hint=f"see [error.{endpoint.name}] of {where}",
            )
