"""Whether the activities of a VOI table are decay-corrected, and what is at stake where nothing says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet
    from pbpk.data.voi_headers import VoiColumn
    from pbpk.nuclides import Nuclide

_YES, _NO = ("true", "yes", "y", "1"), ("false", "no", "n", "0")


def read_decay_flags(
    sheet: DataSheet,
    columns: Mapping[str, VoiColumn],
    argument: bool | None,
    time: pd.Series,
    nuclide: Nuclide,
    reference: float,
) -> tuple[pd.Series, list[str], list[str]]:
    """Which rows are decay-corrected, notes, and warnings, from the column or else the call's argument. Raises `BadInput`."""
    column = columns.get("decay_corrected")
    if column is not None:
        if argument is not None:
            raise BadInput(
                f"decay correction is said twice: by the call and by the column `{column.header}`",
                where=sheet.source,
                hint="leave one out",
            )
        cells = sheet.cells[column.header].str.lower()
        sheet.forbid(
            ~cells.isin([*_YES, *_NO]),
            lambda row: f'{column.header} "{sheet.cells[column.header][row]}" is neither true nor false',
            why=describe_factor_at_stake(time, nuclide, reference),
            hint="write true or false on every row",
        )
        corrected = cells.isin(_YES)
        note = f"decay-corrected values are taken to be at {reference:g} h"
        return corrected, [note] if corrected.any() else [], []
    taken = pd.Series(bool(argument), index=time.index)
    if argument is not None:
        how = f"decay-corrected to {reference:g} h" if argument else "not decay-corrected"
        return taken, [f"values are taken as {how}"], []
    stake = describe_factor_at_stake(time, nuclide, reference)
    return taken, [], [f"nothing says whether values are decay-corrected: taken as not. {stake}"]


def describe_factor_at_stake(time: pd.Series, nuclide: Nuclide, reference: float) -> str:
    """A sentence: how far values at the last time (h) differ between decay-corrected to `reference` and not."""
    last = float(time.max())
    exponent = nuclide.decay_constant * (last - reference)
    factor = f"{math.exp(exponent):.4g}" if exponent < 700 else "more than 1e300"
    return f"For {nuclide.name} a factor of {factor}, exp(λ·{last - reference:g} h), is at stake at the last time."
