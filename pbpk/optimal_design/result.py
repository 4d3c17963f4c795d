"""A design as it is handed back: its schedules, what it will tell of each parameter, how many patients that takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.optimal_design.sample_size import (
    compute_wald_power,
    count_patients_for_error,
    count_patients_for_power,
)

if TYPE_CHECKING:
    from pbpk.optimal_design.coordinates import DesignCoordinates

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ArmSchedule:
    """When an arm is sampled: `subjects` of arm `arm` give samples of `observables` at `times` (h); None where times differ
    between subjects."""

    arm: str
    subjects: float
    observables: tuple[str, ...]
    times: tuple[float, ...] | None

    def to_json(self) -> dict[str, Any]:
        """The schedule as design.json has it."""
        return {
            "arm": self.arm,
            "subjects": self.subjects,
            "observables": list(self.observables),
            "times": None if self.times is None else list(self.times),
        }


@dataclass(frozen=True)
class Design:
    """The answer of `pbpk.design`. `value`: the criterion, to be maximised; `own_value` that of the study as it stands (None
    where it cannot be had).

    `parameters`: one row each (name, label, unit, value, se, rse, own_rse, power of the Wald test where 0 means no effect).
    `information` (P, P) is in the units shown, θ and Ω as they are and residual errors as variances. `at_most`: what no design
    on the grid of candidate times exceeds, its patients split over several schedules or not (by the equivalence theorem);
    `efficiency` is exp((value − at_most)/p), which times between the points of the grid may bring above 1.
    """

    study: str
    criterion: str
    interest: tuple[str, ...]
    form: str
    approximation: str
    value: float
    own_value: float | None
    subjects: float
    schedules: tuple[ArmSchedule, ...]
    parameters: pd.DataFrame
    information: pd.DataFrame
    optimised: bool
    needed: tuple[dict[str, Any], ...] = ()
    at_most: float | None = None
    efficiency: float | None = None
    exact: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def minus_log_det(self) -> float:
        """−ln det of the whole information, as NONMEM's $DESIGN prints it."""
        return -float(np.linalg.slogdet(self.information.to_numpy())[1])

    def to_json(self) -> dict[str, Any]:
        """The design as design.json has it."""
        table = self.parameters.set_index("name")
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "criterion": self.criterion,
            "interest": list(self.interest),
            "form": self.form,
            "approximation": self.approximation,
            "value": self.value,
            "own_value": self.own_value,
            "minus_log_det": self.minus_log_det,
            "subjects": self.subjects,
            "optimised": self.optimised,
            "schedules": [s.to_json() for s in self.schedules],
            "parameter_values": table["value"].to_dict(),
            "standard_errors": table["se"].to_dict(),
            "relative_standard_errors": table["rse"].to_dict(),
            "own_relative_standard_errors": table["own_rse"].to_dict(),
            "power": {k: v for k, v in table["power"].to_dict().items() if np.isfinite(v)},
            "units": table["unit"].to_dict(),
            "needed": list(self.needed),
            "at_most": self.at_most,
            "efficiency": self.efficiency,
            "exact": self.exact,
            "information": {"names": list(self.information.index), "values": self.information.to_numpy().tolist()},
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "settings": self.settings,
        }


def tabulate_parameters(
    coordinates: DesignCoordinates, information: np.ndarray, study_information: np.ndarray | None
) -> pd.DataFrame:
    """A row for each parameter (`Design.parameters`), from the information (P, P) of a design and of the study as it stands.

    Only a covariate's effect has a power: that the other parameters are 0 is no question.
    """
    se = np.sqrt(np.diag(coordinates.compute_covariance(information)))
    study_se = np.full(len(se), np.nan)
    if study_information is not None:
        study_se = np.sqrt(np.diag(coordinates.compute_covariance(study_information)))
    value = coordinates.value
    size = np.where(value == 0, np.nan, np.abs(value))
    is_effect = np.array([label.startswith("effect of ") for label in coordinates.labels])
    power = [compute_wald_power(v, s) if e and v else np.nan for v, s, e in zip(value, se, is_effect, strict=True)]
    return pd.DataFrame(
        {
            "name": coordinates.names,
            "label": coordinates.labels,
            "unit": coordinates.units,
            "value": value,
            "se": se,
            "rse": 100 * se / size,
            "own_rse": 100 * study_se / size,
            "power": power,
        }
    )


def count_needed_subjects(table: pd.DataFrame, subjects: float, kind: str, name: str, goal: float) -> dict[str, Any]:
    """How many patients reach a goal, as design.json has it. `kind`: "rse" or "power"; `goal` as a fraction; `table` is that of
    a design with `subjects`."""
    value, se, rse = (float(x) for x in table.loc[table["name"] == name, ["value", "se", "rse"]].to_numpy()[0])
    needed = (
        count_patients_for_error(rse / 100, subjects, goal)
        if kind == "rse"
        else count_patients_for_power(value, se, subjects, goal)
    )
    return {"parameter": name, "wanted": kind, "goal": goal, "subjects": needed}
