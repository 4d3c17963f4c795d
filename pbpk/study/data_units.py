"""Which values of an endpoint are in the unit of the data, and what its limits of quantification are in coherent units."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbpk import units
from pbpk.observe.readings import find_display_factor
from pbpk.observe.variances import VARIANCES

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.study.schema import ErrorPart, StudySpec


def find_data_unit(spec: StudySpec, name: str) -> str | None:
    """The unit of the DV of an endpoint: its own, else that of the column; None where none is given."""
    part = spec.error.get(name)
    return (part.unit if part else None) or spec.data.units.get("DV")


def find_data_factor(spec: StudySpec, name: str, where: str = "") -> float:
    """How many coherent units one unit of the endpoint's data is; without a unit they are coherent. Raises `BadInput`."""
    unit = find_data_unit(spec, name)
    return units.unit_factor(unit, where) if unit else 1.0


def convert_observations(spec: StudySpec, events: EventTable, where: str) -> EventTable:
    """The table with DV and LIMIT of each endpoint, read as they are written, in coherent units. Raises `BadInput`."""
    frame = events.frame.copy()
    for name in frame["DVID"].unique():
        part = spec.error.get(name)
        if part is None or is_in_data_unit(part):
            frame.loc[frame["DVID"] == name, ["DV", "LIMIT"]] *= find_data_factor(
                spec, name, f"{where}: unit of {name}"
            )
    return replace(events, frame=frame)


def is_in_data_unit(part: ErrorPart) -> bool:
    """Whether DV of this endpoint is in the data's unit: not a count, a grade, an event, or a transformed value."""
    return part.model in (*VARIANCES, "log") and not part.transformed


def find_limit_factor(spec: StudySpec, model: Model, name: str) -> float:
    """How many coherent units one unit of the endpoint's limits is: that of the data, else the observable's own."""
    part = spec.error[name]
    if not is_in_data_unit(part):
        return 1.0
    unit = find_data_unit(spec, name)
    return (
        units.unit_factor(unit)
        if unit
        else find_display_factor(model.system, model.parameters, part.observable or name)
    )
