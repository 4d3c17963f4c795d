"""What was observed, line by line, as a check by simulation reads it: units as shown, limits of quantification, kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units as units_of
from pbpk.diagnostics.simulate_replicates import order_observations
from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.endpoints.counts import CountEndpoint
from pbpk.likelihood.endpoints.events import EventEndpoint
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.replicates import find_censoring_limits
from pbpk.observe.readings import find_display_factor
from pbpk.study.data_units import find_data_unit, find_limit_factor, is_in_data_unit

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

CONTINUOUS, COUNT, GRADE, EVENT = "continuous", "count", "grade", "event"


@dataclass(frozen=True, eq=False)
class Observations:
    """`table`: ID TIME DVID DV BELOW ABOVE, a row for each observation in the order of `order_observations`; `subject` (n,)
    counts the subjects from 0; `lower` and `upper` (n,) are the limits of quantification, ∓∞ where there is none; `scale`
    (n,): coherent units in one unit shown. `additive` (n,): residuals add on this scale, because it is a transformed one."""

    table: pd.DataFrame
    subject: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    scale: np.ndarray
    additive: np.ndarray
    kinds: dict[str, str]
    notes: tuple[str, ...]

    @property
    def ranked_values(self) -> np.ndarray:
        """DV with −∞ for what lies below a limit, +∞ for what lies above one."""
        return self.rank_censored(self.table["DV"].to_numpy(dtype=float), self.table["BELOW"], self.table["ABOVE"])

    @staticmethod
    def rank_censored(values: np.ndarray, below: np.ndarray | pd.Series, above: np.ndarray | pd.Series) -> np.ndarray:
        """`values` with −∞ where a mask says below, +∞ where one says above."""
        return np.where(below, -np.inf, np.where(above, np.inf, values))

    def select_endpoints(self, endpoint: str | None) -> list[str]:
        """The endpoints asked for. Raises `BadInput` for one that was not observed."""
        if endpoint is None:
            return list(self.kinds)
        if endpoint not in self.kinds:
            raise BadInput(f"no endpoint `{endpoint}` was observed", hint=did_you_mean(endpoint, self.kinds))
        return [endpoint]


def classify_endpoint(endpoint: object) -> str:
    """The kind of an endpoint: continuous, count, event or grade. It decides what a VPC compares."""
    if isinstance(endpoint, GaussianEndpoint):
        return CONTINUOUS
    return EVENT if isinstance(endpoint, EventEndpoint) else COUNT if isinstance(endpoint, CountEndpoint) else GRADE


def read_observations(study: Study, problem: Problem) -> Observations:
    """The observations of a study, as its problem holds them."""
    place = order_observations(problem)
    observed, endpoints = problem.observed, problem.structure.endpoints
    endpoint_index = np.asarray(problem.endpoint_index)[place]
    low, high, y = (np.asarray(a)[place] for a in (observed.low, observed.high, observed.y))
    below, above = (low < high) & (y == high), (low < high) & (y == low)
    scale = np.array([_shown_unit_factor(study, e.name) for e in endpoints])[endpoint_index]
    lower, upper, notes = _find_limits(study, problem)
    lower, upper = lower[place] / scale, upper[place] / scale
    names = np.array([e.name for e in endpoints], dtype=object)[endpoint_index]
    hours = units_of.unit_factor(study.spec.data.units.get("TIME", "h"))
    table = pd.DataFrame(
        {
            "ID": np.array(study.subjects, dtype=object)[place[1]],
            "TIME": np.asarray(observed.time)[place] / hours,
            "DVID": names,
            "DV": y / scale,
        }
    )
    dv = table["DV"].to_numpy(dtype=float)
    # A value beyond the limit counts as censored even where the data do not mark it: replicates are treated in the same way.
    table = table.assign(BELOW=below | (dv < lower), ABOVE=above | (dv > upper))
    kinds = {e.name: classify_endpoint(e) for i, e in enumerate(endpoints) if (endpoint_index == i).any()}
    additive = np.array([getattr(e, "already_transformed", False) for e in endpoints])[endpoint_index]
    return Observations(table, place[1], lower, upper, scale, additive, kinds, tuple(notes))


def _find_limits(study: Study, problem: Problem) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Coherent limits (T, N): as fit.toml has them, else as the censored values of the data show them."""
    lower, upper = (np.array(a) for a in find_censoring_limits(problem))
    observed, is_observed, notes = problem.observed, np.asarray(problem.observed_mask), []
    for i, e in enumerate(problem.structure.endpoints):
        part, of_endpoint = study.spec.error[e.name], is_observed & (np.asarray(problem.endpoint_index) == i)
        factor = find_limit_factor(study.spec, study.model, e.name)
        if part.lloq is not None:
            lower[of_endpoint] = part.lloq * factor
        if part.uloq is not None:
            upper[of_endpoint] = part.uloq * factor
        y, low, high = (np.asarray(a)[of_endpoint] for a in (observed.y, observed.low, observed.high))
        limits = np.unique(y[(low < high) & (y == high)])
        if len(limits) > 1:
            notes.append(
                f"{e.name} was censored below {len(limits)} different limits: all its values are read against the largest"
            )
            lower[of_endpoint] = max(limits[-1], lower[of_endpoint].max())
    return lower, upper, notes


def _shown_unit_factor(study: Study, name: str) -> float:
    """How many coherent units one shown unit of an endpoint is, as in sdtab.csv."""
    part, unit = study.spec.error[name], find_data_unit(study.spec, name)
    if not is_in_data_unit(part):
        return 1.0
    if unit:
        return units_of.unit_factor(unit)
    return find_display_factor(study.model.system, study.model.parameters, part.observable or name)
