"""CMT and DVID cells: a name in any case, or a number counted from 1 in the model's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from pbpk.data.cells import parse_number
from pbpk.data.headers import find_name
from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet


def match_name(cell: str, known: Sequence[str]) -> str | None:
    """The name in `known` that the cell means, or None."""
    name, value = find_name(cell, known), parse_number(cell)
    if name is not None or value is None:
        return name
    return known[int(value) - 1] if value in range(1, len(known) + 1) else None


def read_name_column(sheet: DataSheet, column: str, kind: str, known: Sequence[str], rows: pd.Series) -> pd.Series:
    """The names in `column` on `rows`, "" elsewhere and in empty cells. Raises `BadInput` for an unknown one."""
    cells = sheet.read_text(column).where(rows, "")
    read = {cell: match_name(cell, known) for cell in cells.unique() if cell}
    unknown = cells.isin([cell for cell, name in read.items() if name is None])
    if unknown.any():
        cell = str(cells[unknown].iloc[0])
        hint = did_you_mean(cell, known)
        if parse_number(cell) is not None:
            hint = f"the model's {kind}s are " + ", ".join(f"{i} {name}" for i, name in enumerate(known, 1))
        sheet.forbid(cells == cell, lambda _: f"{kind} `{cell}` ({column}) is not in the model", hint=hint)
    return cells.map(lambda cell: read.get(cell) or "")


def resolve_default(name: str | None, kind: str, known: Sequence[str]) -> str | None:
    """The default the caller asked for, or the only one there is; None when there is a choice to make."""
    if name is None:
        return known[0] if len(known) == 1 else None
    if (matched := match_name(name, known)) is None:
        raise BadInput(f"default {kind} `{name}` is not in the model", hint=did_you_mean(name, known))
    return matched
