"""The observations of a study as arrays: values, limits of quantification, times, and which record came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput
from pbpk.likelihood.endpoints.base import Endpoint, Observed
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.endpoints.grades import BinaryEndpoint, OrdinalEndpoint
from pbpk.likelihood.endpoints.transforms import TRANSFORMS
from pbpk.observe import find_display_factor
from pbpk.observe.noise import VARIANCES

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.likelihood.problem import ModelStructure
    from pbpk.model.load import Model
    from pbpk.study.schema import ErrorPart, StudySpec


def is_in_data_unit(part: ErrorPart) -> bool:
    """Whether DV of this endpoint is in the data's unit: not a count, a grade, an event, or a transformed value."""
    return part.model in (*VARIANCES, "log") and not part.transformed


def has_limits(part: ErrorPart, frame: pd.DataFrame) -> bool:
    """Whether the likelihood must know of censored values."""
    return part.lloq is not None or part.uloq is not None or bool((frame["CENS"] != 0).any())


def limit_factor(spec: StudySpec, model: Model, name: str) -> float:
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


def mark_censored(spec: StudySpec, model: Model, events: EventTable) -> EventTable:
    """The table with values beyond a limit of quantification marked (CENS, LIMIT), or taken out by M1 and M2; and notes.

    A value below `lloq` is one below the limit, whatever stands there. M1 and M2 discard them; M3 and M4 keep them.
    """
    frame, notes = events.frame.copy(), []
    for name, part in spec.error.items():
        own = (frame["MDV"] == 0) & (frame["DVID"] == name)
        if not is_in_data_unit(part) and (unit := spec.data.units.get("DV")):
            frame.loc[own, ["DV", "LIMIT"]] /= units.unit_factor(unit)
        factor = limit_factor(spec, model, name)
        if part.uloq is not None:
            above = own & (frame["CENS"] == 0) & (frame["DV"] > part.uloq * factor)
            frame.loc[above, ["DV", "CENS"]] = [part.uloq * factor, -1]
        if part.lloq is None:
            continue
        limit = part.lloq * factor
        below = own & (frame["CENS"] == 0) & (frame["DV"] < limit)
        frame.loc[below, ["DV", "CENS"]] = [limit, 1]
        out = own & (frame["CENS"] == 1)
        kind = part.blq or "M3"
        if kind in ("M1", "M2"):
            frame.loc[out, ["MDV", "CENS"]] = [1, 0]
            frame.loc[out, "DV"] = np.nan
        words = {
            "M1": "left out",
            "M2": "left out",
            "M3": "counted as censored",
            "M4": "counted as censored, above zero",
        }
        notes.append(
            f"{int(out.sum())} of {int(own.sum())} values of {name} lie below {part.lloq:g}: {words[kind]} ({kind})"
        )
    return replace(events, frame=frame, notes=(*events.notes, *notes))


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
    """`Observed`, each observation's endpoint and the row of parameters it is read with, all (T, N)."""
    t, n = longest, len(frames)
    y, low, high, when = (np.zeros((t, n)) for _ in range(4))
    floor, back = np.full((t, n), -np.inf), np.full((t, n), -1)
    endpoint, row = np.zeros((t, n), int), np.zeros((t, n), int)
    names = [e.name for e in structure.endpoints]
    floors = [_recording_floor(spec, model, name) for name in names]
    for i, g in enumerate(frames):
        at = np.flatnonzero(g["MDV"].to_numpy() == 0)
        k, seen = len(at), g.iloc[at]
        which = np.array([names.index(d) for d in seen["DVID"]], dtype=int)
        dv, cens, limit = (seen[c].to_numpy(dtype=float) for c in ("DV", "CENS", "LIMIT"))
        y[:k, i], endpoint[:k, i], when[:k, i] = dv, which, seen["TIME"].to_numpy(dtype=float)
        none = np.array([0.0 if (spec.error[names[w]].blq == "M4") else -np.inf for w in which])
        none = np.array([-np.inf if spec.error[names[w]].transformed else b for w, b in zip(which, none, strict=True)])
        low[:k, i] = np.where(cens == 1, np.where(np.isnan(limit), none, limit), dv)
        high[:k, i] = np.where(cens == -1, np.where(np.isnan(limit), np.inf, limit), dv)
        floor[:k, i] = np.array([floors[w] for w in which]) if k else []
        for w in set(which.tolist()):
            own = np.flatnonzero(which == w)
            back[own[1:], i] = own[:-1]
        row[:k, i] = at if rows > 1 else 0
        _check_values(structure.endpoints, spec, seen, which, where, events)
    return Observed(y, low, high, floor, when, back), endpoint, row


def _recording_floor(spec: StudySpec, model: Model, name: str) -> float:
    part = spec.error[name]
    if part.blq == "M2" and part.lloq is not None:
        return part.lloq * limit_factor(spec, model, name)
    return 0.0 if part.blq == "M4" and not part.transformed else -np.inf


def _check_values(
    endpoints: tuple[Endpoint, ...],
    spec: StudySpec,
    seen: pd.DataFrame,
    which: np.ndarray,
    where: str,
    events: EventTable,
) -> None:
    """Raises `BadInput` for a DV that its endpoint's likelihood cannot have."""
    dv = seen["DV"].to_numpy(dtype=float)
    for w, e in enumerate(endpoints):
        own = which == w
        values, bad, why = dv[own], None, ""
        if isinstance(e, GaussianEndpoint):
            if TRANSFORMS[e.transform].positive and not e.already_transformed:
                bad, why = values <= 0, f"the {e.transform} scale has none for it"
            elif e.transform == "logit" and not e.already_transformed:
                bad, why = (
                    (values <= e.transform_constants[0]) | (values >= e.transform_constants[1]),
                    "the logit scale has none for it",
                )
        elif isinstance(e, OrdinalEndpoint):
            bad, why = (values < 0) | (values > e.grades) | (values != values.round()), f"grades are 0 to {e.grades}"
        elif isinstance(e, BinaryEndpoint) or spec.error[e.name].model == "event":
            bad, why = (values != 0) & (values != 1), "it is 0 or 1"
        else:
            bad, why = (values < 0) | (values != values.round()), "it is a count"
        if bad is not None and bad.any():
            row = seen.index[np.flatnonzero(own)[np.flatnonzero(bad)[0]]]
            who = seen["ID"].iloc[0]
            raise BadInput(
                f"DV {values[np.flatnonzero(bad)[0]]:g} of {e.name} cannot be",
                where=f"{events.source} row {row} (ID {who})",
                why=why,
                hint=f"see [error.{e.name}] of {where}",
            )
