"""The study's records made ready: units checked, censored values marked, occasions numbered, a mixture's class added."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.data.rows import is_condition
from pbpk.errors import BadInput
from pbpk.likelihood.endpoints.events import EventEndpoint
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.observe.readings import find_observable_unit
from pbpk.population.records import check_dose_unit
from pbpk.regimen.void import Void, void
from pbpk.study.assemble.censoring import has_limits, mark_censored
from pbpk.study.data_units import find_data_unit, is_in_data_unit

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.study.assemble.endpoints import DeclaredEndpoint
    from pbpk.study.schema import StudySpec


def check_units(spec: StudySpec, model: Model, events: EventTable, where: str) -> None:
    """Refuse doses and observations in a unit of the wrong dimension, and observations that have no error model. Raises
    `BadInput`."""
    frame = events.frame
    check_dose_unit(events, model, spec.data.units, f"{where}: data.units")
    for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
        part, unit = spec.error.get(name), find_data_unit(spec, name)
        if unit is None or (part is not None and not is_in_data_unit(part)):
            continue
        wanted = find_observable_unit(model.system, model.parameters, (part.observable if part else None) or name)
        place = f"error.{name}.unit" if part is not None and part.unit else "data.units"
        hint = f'an endpoint in another unit than the column has its own: [error.{name}] unit = "{wanted}"'
        units.require_dimension(unit, wanted, f"DV ({name})", where=f"{where}: {place}", hint=hint)
    for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
        if name not in spec.error:
            raise BadInput(f"`{name}` is observed but has no error model", where=where, hint=f"add [error.{name}]")


def read_row_conditions(spec: StudySpec) -> list[str]:
    """`data.ignore_rows`, one or several. Raises `BadInput` for what compares nothing."""
    stated = spec.data.ignore_rows
    conditions = [stated] if isinstance(stated, str) else stated
    for text in conditions:
        if not is_condition(text):
            hint = 'write COLUMN OP VALUE, as in ignore_rows = ["SD == 0", "STUDY != A and TIME > 24"]'
            raise BadInput(f'`data.ignore_rows`: "{text}" is no condition on a row', hint=hint)
    return conditions


def refuse_silent_overrides(spec: StudySpec, events: EventTable, where: str) -> None:
    """Raise `BadInput` where a column replaces a parameter that the study estimates, unless the study says so: there would be
    nothing left to estimate it from."""
    for name in events.overrides:
        part = spec.parameters.get(name)
        stated = any(key.lower() == name.lower() for key in spec.data.columns)
        if part is not None and not part.fixed and not stated:
            raise BadInput(
                f"column `{name}` would replace the parameter `{name}`, which the study estimates",
                where=f"{events.source} row 1",
                why="Where a record has a value of its own, the estimate has no say in it.",
                hint=f'leave the column out: [data] ignore = ["{name}"]; or say that it is meant: '
                f'columns = {{ {name} = "{name}" }} ({where})',
            )


def prepare_records(
    spec: StudySpec, model: Model, events: EventTable, declared: tuple[DeclaredEndpoint, ...], where: str
) -> tuple[EventTable, tuple[DeclaredEndpoint, ...]]:
    """The table with censored values marked, occasions numbered and a mixture's covariate in it; and the endpoints, which now
    know whether any of their values are censored. Raises `BadInput`."""
    events = mark_censored(spec, model, events)
    events = _begin_at_risk(events, declared)
    if any(p.iov is not None for p in spec.parameters.values()) and spec.data.occasion in events.covariates:
        events = number_occasions(events, spec.data.occasion)
    if spec.mixture is not None:
        events = _add_class(spec, events, where)
    endpoints = []
    for d in declared:
        records = events.frame[(events.frame["MDV"] == 0) & (events.frame["DVID"] == d.endpoint.name)]
        limited = has_limits(spec.error[d.endpoint.name], records)
        if limited and not isinstance(d.endpoint, GaussianEndpoint):
            raise BadInput(f"`{d.endpoint.name}`: only a continuous endpoint can be censored by CENS", where=where)
        endpoints.append(replace(d, endpoint=replace(d.endpoint, has_limits=True)) if limited else d)
    return events, tuple(endpoints)


def _begin_at_risk(events: EventTable, declared: tuple[DeclaredEndpoint, ...]) -> EventTable:
    """The table with a record at the time from which a subject is at risk, where the model cumulates the hazard itself: it
    does so from a subject's first record on, and one who was never dosed has none before the event. Raises `BadInput` for a
    subject with earlier records, whose hazard would count from there; and for an interval without time in it."""
    frame = events.frame
    for endpoint in (d.endpoint for d in declared if isinstance(d.endpoint, EventEndpoint)):
        seen = frame[(frame["MDV"] == 0) & (frame["DVID"] == endpoint.name)]
        begin = endpoint.at_risk_from
        since = seen.groupby("ID", sort=False)["TIME"].shift().fillna(begin)
        wrong = seen[(seen["TIME"] < begin) | ((seen["DV"] == 1) & endpoint.interval & (seen["TIME"] <= since))]
        if len(wrong):
            row, subject = wrong.index[0], wrong["ID"].iloc[0]
            raise BadInput(
                f"{endpoint.name} at {wrong['TIME'].iloc[0]:g} h leaves no time at risk before it",
                where=f"{events.source} row {row} (ID {subject})",
                why="An event happens after the record before it, and after the time from which the subject is at risk.",
                hint=f"error.{endpoint.name}.at_risk_from is {begin:g} h",
            )
        if endpoint.has_own_hazard and len(seen):
            frame = _insert_beginnings(frame, set(seen["ID"]), endpoint, events.source)
    return replace(events, frame=frame)


def _insert_beginnings(frame: pd.DataFrame, subjects: set[str], endpoint: EventEndpoint, source: str) -> pd.DataFrame:
    """A record without dose or observation (EVID 2) before the first of each subject, at the time at risk begins."""
    begin, parts = endpoint.at_risk_from, []
    for subject, records in frame.groupby("ID", sort=False):
        first = records.iloc[:1]
        earliest = float(records["TIME"].iloc[0])
        if subject in subjects and earliest < begin:
            raise BadInput(
                f"time at risk of {endpoint.name} begins at {begin:g} h, and records begin at {earliest:g} h",
                where=f"{source} row {first.index[0]} (ID {subject})",
                why="The model cumulates the hazard from a subject's first record on.",
                hint=f"at_risk_from = {earliest:g} in [error.{endpoint.name}], or leave out the records before",
            )
        if subject in subjects and earliest > begin:
            empty = {"EVID": 2, "TIME": begin, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0}
            empty |= {"CMT": "", "DVID": "", "DV": np.nan, "MDV": 1, "CENS": 0, "LIMIT": np.nan}
            parts.append(first.assign(**empty))
        parts.append(records)
    return pd.concat(parts)


def _add_class(spec: StudySpec, events: EventTable, where: str) -> EventTable:
    """The class of a mixture as a covariate, 1 everywhere: `repeat_by_class` gives it its other values."""
    assert spec.mixture is not None
    name, chances = spec.mixture.covariate, spec.mixture.probabilities
    if len(chances) < 2 or min(chances) <= 0 or abs(sum(chances) - 1) > 1e-6:
        hint = "probabilities = [0.3, 0.7]"
        raise BadInput("`mixture.probabilities` must be two or more and sum to 1", where=where, hint=hint)
    if name in events.covariates:
        raise BadInput(f"the data have a column `{name}`, so it is no class that nobody observed", where=where)
    return replace(events, frame=events.frame.assign(**{name: 1.0}), covariates=(*events.covariates, name))


def number_occasions(events: EventTable, column: str) -> EventTable:
    """The table with the occasions of each subject as 0, 1, 2 … in the order they come."""
    numbered = events.frame.groupby("ID", sort=False)[column].transform(lambda c: pd.factorize(c)[0]).astype(float)
    return replace(events, frame=events.frame.assign(**{column: numbered}))


def mark_samples(events: EventTable) -> EventTable:
    """The table of a study that is only planned: where no DV is given at all, every observation row is a sample to be taken,
    and DV 0 stands for it."""
    frame = events.frame
    if (frame["MDV"] == 0).any():
        return events
    sampled = frame["EVID"] == 0
    changed = frame.assign(MDV=(~sampled).astype(int), DV=frame["DV"].mask(sampled, 0.0))
    return replace(events, frame=changed)


def read_voids(spec: StudySpec, where: str) -> tuple[Void, ...]:
    """`[[void]]` of a fit.toml, for every subject. Raises `BadInput`."""
    voids: tuple[Void, ...] = ()
    for part in spec.void:
        try:
            voids += void(**part.model_dump()).voids
        except BadInput as e:
            raise BadInput(f"`void`: {e.what}", where=where, why=e.why, hint=e.hint) from None
    return voids
