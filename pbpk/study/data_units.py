"""Which values of an endpoint are in the unit of the data, and what its limits of quantification are in coherent units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbpk import units
from pbpk.observe.readings import find_display_factor
from pbpk.observe.variances import VARIANCES

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.study.schema import ErrorPart, StudySpec


def is_in_data_unit(part: ErrorPart) -> bool:
    """Whether DV of this endpoint is in the data's unit: not a count, a grade, an event, or a transformed value."""
    return part.model in (*VARIANCES, "log") and not part.transformed


def find_limit_factor(spec: StudySpec, model: Model, name: str) -> float:
    """How many coherent units one unit of the endpoint's limits is: that of the data, else the observable's own."""
    part = spec.error[name]
    if not is_in_data_unit(part):
        return 1.0
    unit = spec.data.units.get("DV")
    return (
        units.unit_factor(unit)
        if unit
        else find_display_factor(model.system, model.parameters, part.observable or name)
    )
