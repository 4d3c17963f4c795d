"""Doses of other sizes, and at other times, than a regimen says: as numbers that may be differentiated, and by weight.

Every event of a regimen's timeline has its dose's number (`Timeline.dose`, -1: none), so that replacing is an index lookup.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.core import Tracer

from pbpk.errors import BadInput
from pbpk.solve.event_kinds import BOLUS, END

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients
    from pbpk.regimen.regimen import Regimen
    from pbpk.solve.timeline import Timeline


def read_dose_values(values: Any, regimen: Regimen, what: str) -> jax.Array:
    """`values` as an array (doses,). Raises `BadInput` where it cannot be one, as far as its numbers are known."""
    array = jnp.asarray(values, float)
    if array.shape != (len(regimen.doses),):
        hint = "one number for each dose of the regimen, in its order; additional doses go with theirs"
        raise BadInput(f"{what} has the shape {array.shape}, and the regimen {len(regimen.doses)} doses", hint=hint)
    if not isinstance(array, Tracer) and not bool(jnp.all(jnp.isfinite(array) & (array >= 0))):
        raise BadInput(f"{what} must be numbers from 0 on")
    return array


def extend_records(frame: pd.DataFrame, regimen: Regimen) -> pd.DataFrame:
    """Records up to the last additional dose: the timeline leaves out what comes after its last record, and a dose whose
    time is not known yet may bring them forward. Raises `BadInput` where a dose is at steady state."""
    if any(d.ss for d in regimen.doses):
        hint = "give the doses that lead to the steady state (addl, ii) instead of ss"
        raise BadInput("the times of doses at steady state cannot be changed", hint=hint)
    end = max(d.at + d.addl * d.ii for d in regimen.doses)
    last = frame.iloc[[-1]].assign(TIME=end, EVID=0, MDV=1, AMT=0.0, DUR=0.0, ADDL=0, CMT="", DOSE=-1)
    return pd.concat([frame, last], ignore_index=True) if end > frame["TIME"].iloc[-1] else frame


def begin_records(frame: pd.DataFrame) -> pd.DataFrame:
    """Records from time 0 on, where a model's clocks are set: no dose moves to before it."""
    if frame["TIME"].iloc[0] <= 0:
        return frame
    first = frame.iloc[[0]].assign(TIME=0.0, EVID=2, MDV=1, AMT=0.0, DUR=0.0, ADDL=0, CMT="", DOSE=-1)
    return pd.concat([first, frame], ignore_index=True)


def replace_doses(
    timeline: Timeline, regimen: Regimen, model: Model, amounts: Any = None, times: Any = None
) -> Timeline:
    """The regimen's timeline with each dose's amount (doses,), in its own unit, and time (doses,), h, replaced.

    Additional doses go with theirs. With `times` the timeline must have been built as one whose events move.
    """
    number = timeline.dose
    assert number is not None, "a timeline of a regimen has the numbers of its doses"
    if amounts is not None:
        coherent = amounts * np.array([d.find_factor(model) for d in regimen.doses])
        steady = timeline.steady
        if steady is not None:
            of_dose = steady.exists & (steady.dose >= 0)
            steady = replace(steady, amount=jnp.where(of_dose, coherent[steady.dose], steady.amount))
        amount = jnp.where(_is_dosing(timeline), coherent[number], timeline.amount)
        timeline = replace(timeline, amount=amount, steady=steady)
    if times is not None:
        assert timeline.since is not None, "doses that move need a timeline that lets them"
        of_dose = number >= 0
        shift = jnp.where(of_dose, (times - np.array([d.at for d in regimen.doses]))[number], 0.0)
        # Whatever order they were written in, doses come before the observations of their time.
        rank = np.where(of_dose, 0, timeline.rank)
        timeline = replace(timeline, time=timeline.time + shift, since=timeline.since + shift, rank=rank)
    return timeline


def read_weights(regimen: Regimen, patients: Patients) -> np.ndarray | None:
    """Each patient's weight (N,) where a dose is per kg; None when none is. Raises `BadInput` without a covariate WT."""
    if not regimen.per_kg:
        return None
    if "WT" not in patients.covariates:
        hint = "give the whole dose, or declare [covariates.WT] in the model's parameters.toml"
        raise BadInput("a dose per kg needs the covariate WT, which this model does not declare", hint=hint)
    return patients.covariates["WT"].to_numpy(float)


def scale_doses_by_weight(timeline: Timeline, regimen: Regimen, weight: np.ndarray) -> Timeline:
    """The regimen's timeline with the doses per kg multiplied by each patient's weight (N,)."""
    per_kg = np.array([*(d.per_kg for d in regimen.doses), False])  # the last is that of number -1, no dose
    assert timeline.dose is not None, "a timeline of a regimen has the numbers of its doses"
    amount = timeline.amount * np.where(per_kg[timeline.dose] & _is_dosing(timeline), weight, 1.0)
    steady = timeline.steady
    if steady is not None:
        steady = replace(steady, amount=steady.amount * np.where(per_kg[steady.dose], weight, 1.0))
    return replace(timeline, amount=amount, steady=steady)


def sum_doses(regimen: Regimen, model: Model, amounts: Any, weights: np.ndarray | None, patients: int) -> Any:
    """All that each patient is given (N,), in coherent units; None at steady state, where doses have no end.

    `amounts` (doses,) replace those of the regimen, in their own units; `weights` (N,) multiply doses per kg.
    """
    if any(d.ss for d in regimen.doses):
        return None
    total = jnp.zeros(patients)
    for k, d in enumerate(regimen.doses):
        each = (d.amount if amounts is None else amounts[k]) * d.find_factor(model) * (1 + d.addl)
        total = total + (each * jnp.asarray(weights) if d.per_kg and weights is not None else each)
    return total


def _is_dosing(timeline: Timeline) -> np.ndarray:
    """(E, N) whether an event gives a dose of a regimen: its record alone, a void, or what sets a clock does not."""
    assert timeline.dose is not None
    return (timeline.kind >= BOLUS) & (timeline.kind <= END) & (timeline.dose >= 0)
