"""Doses of other sizes, and at other times, than a regimen says: as numbers that may be differentiated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.core import Tracer

from pbpk import units
from pbpk.errors import BadInput
from pbpk.solve.events import BOLUS, END

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.regimen.regimen import Regimen
    from pbpk.solve.timeline import Timeline


def read_dose_values(given: Any, regimen: Regimen, what: str) -> jax.Array:
    """`given` as an array (doses,). Raises `BadInput` where it cannot be one, as far as its numbers are known."""
    array = jnp.asarray(given, float)
    if array.shape != (len(regimen.doses),):
        hint = "one number for each dose of the regimen, in its order; additional doses go with theirs"
        raise BadInput(f"{what} has the shape {array.shape}, and the regimen {len(regimen.doses)} doses", hint=hint)
    if not isinstance(array, Tracer) and not bool(jnp.all(jnp.isfinite(array) & (array >= 0))):
        raise BadInput(f"{what} must be numbers from 0 on")
    return array


def rows_of_doses(frame: pd.DataFrame, regimen: Regimen) -> np.ndarray:
    """(doses,) the row of `regimen.to_frame` that holds each dose; it sorts them by time."""
    rows = np.zeros(len(regimen.doses), int)
    rows[np.argsort([d.at for d in regimen.doses], kind="stable")] = np.flatnonzero(frame["EVID"] == 1)
    return rows


def extend_records(frame: pd.DataFrame, regimen: Regimen) -> pd.DataFrame:
    """Records up to the last additional dose: the timeline leaves out what comes after its last record, and a dose whose
    time is not known yet may bring them forward."""
    if any(d.ss for d in regimen.doses):
        hint = "give the doses that lead to the steady state (addl, ii) instead of ss"
        raise BadInput("the times of doses at steady state cannot be changed", hint=hint)
    end = max(d.at + d.addl * d.ii for d in regimen.doses)
    last = frame.iloc[[-1]].assign(TIME=end, EVID=0, MDV=1, AMT=0.0, DUR=0.0, ADDL=0, CMT="")
    return pd.concat([frame, last], ignore_index=True) if end > frame["TIME"].iloc[-1] else frame


def replace_doses(
    timeline: Timeline, frame: pd.DataFrame, regimen: Regimen, model: Model, amounts: Any = None, times: Any = None
) -> Timeline:
    """The timeline of `frame` with each dose's amount (doses,), in its own unit, and time (doses,), h, replaced.

    With `times` it must have been built as one whose events move.
    """
    rows = rows_of_doses(frame, regimen)
    record = np.full(len(frame), -1)
    record[rows] = np.arange(len(rows))
    number = record[timeline.row]
    of_dose = (timeline.kind >= BOLUS) & (timeline.kind <= END)
    if amounts is not None:
        wanted = [model.system.compartments[model.system.index(c)].unit for c in frame["CMT"].iloc[rows]]
        doses = zip(regimen.doses, wanted, strict=True)
        coherent = amounts * np.array([units.require_dimension(d.unit, unit, "a dose") for d, unit in doses])
        steady = timeline.steady
        if steady is not None:
            of = record[steady.row]
            steady = replace(steady, amount=jnp.where(steady.exists & (of >= 0), coherent[of], steady.amount))
        timeline = replace(timeline, amount=jnp.where(of_dose, coherent[number], timeline.amount), steady=steady)
    if times is not None:
        assert timeline.since is not None, "doses that move need a timeline that lets them"
        own = number >= 0
        later = jnp.where(own, (times - np.array([d.at for d in regimen.doses]))[number], 0.0)
        # Whatever order they were written in, doses come before the observations of their time.
        rank = np.where(own, 0, timeline.rank)
        timeline = replace(timeline, time=timeline.time + later, since=timeline.since + later, rank=rank)
    return timeline
