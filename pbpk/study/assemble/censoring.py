"""Limits of quantification: which values of the records they censor, and which the likelihood leaves out (Beal 2001)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput
from pbpk.study.data_units import find_limit_factor

if TYPE_CHECKING:
    import pandas as pd

    from pbpk.data.events import EventTable
    from pbpk.model.load import Model
    from pbpk.study.schema import ErrorPart, StudySpec

_TREATMENT = {
    "M1": "left out",
    "M2": "left out",
    "M3": "counted as censored",
    "M4": "counted as censored, above zero",
}


def has_limits(part: ErrorPart, frame: pd.DataFrame) -> bool:
    """Whether the likelihood must know of censored values; `frame` holds the endpoint's observations."""
    return part.lloq is not None or part.uloq is not None or bool((frame["CENS"] != 0).any())


def mark_censored(spec: StudySpec, model: Model, events: EventTable) -> EventTable:
    """The table with values beyond a limit of quantification marked (CENS, LIMIT), or taken out by M1 and M2; and notes.

    A value below `lloq` is one below the limit, whatever is recorded there. M1 and M2 discard them; M3 and M4 keep them.
    """
    frame, notes = events.frame.copy(), []
    for name, part in spec.error.items():
        observed = (frame["MDV"] == 0) & (frame["DVID"] == name)
        factor = find_limit_factor(spec, model, name)
        _require_limits(frame[observed], part, name, events.source)
        if part.uloq is not None:
            above = observed & (frame["CENS"] == 0) & (frame["DV"] > part.uloq * factor)
            frame.loc[above, ["DV", "CENS"]] = [part.uloq * factor, -1]
        if part.lloq is None:
            continue
        limit = part.lloq * factor
        unnamed = observed & (frame["CENS"] == 1) & (frame["DV"].isna() | ((frame["DV"] <= 0) & (not part.transformed)))
        frame.loc[unnamed, "DV"] = limit
        below = observed & (frame["CENS"] == 0) & (frame["DV"] < limit)
        frame.loc[below, ["DV", "CENS"]] = [limit, 1]
        censored = observed & (frame["CENS"] == 1)
        method = part.blq or "M3"
        if method in ("M1", "M2"):
            frame.loc[censored, ["MDV", "CENS"]] = [1, 0]
            frame.loc[censored, "DV"] = np.nan
        count, of = int(censored.sum()), int(observed.sum())
        notes.append(f"{count} of {of} values of {name} lie below {part.lloq:g}: {_TREATMENT[method]} ({method})")
    return replace(events, frame=frame, notes=(*events.notes, *notes))


def _require_limits(rows: pd.DataFrame, part: ErrorPart, name: str, source: str) -> None:
    """Raise `BadInput` where a value is censored and neither the data nor the study say below what: DV is then 0 or `BLQ`."""
    nothing = rows["DV"].isna() | ((rows["DV"] <= 0) & (not part.transformed))
    wrong = rows[(rows["CENS"] == 1) & nothing]
    if len(wrong) and part.lloq is None:
        raise BadInput(
            f"{len(wrong)} values of {name} are below a limit of quantification that nothing gives",
            where=f"{source} row {wrong.index[0]:g} (ID {wrong['ID'].iloc[0]})",
            why="A censored value counts with the probability of lying below its limit; below 0 that is next to nothing.",
            hint=f"write the limit into DV, or give it for all: [error.{name}] lloq = …",
        )


def recording_floor(spec: StudySpec, model: Model, name: str) -> float:
    """The value below which nothing of the endpoint would have been recorded (M2's limit, M4's zero); −∞ where there is
    none."""
    part = spec.error[name]
    if part.blq == "M2" and part.lloq is not None:
        return part.lloq * find_limit_factor(spec, model, name)
    return 0.0 if part.blq == "M4" and not part.transformed else -np.inf
