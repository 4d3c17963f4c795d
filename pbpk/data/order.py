"""The order of rows: a subject's rows stand together, and its time does not go back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet


def check_subjects(sheet: DataSheet) -> None:
    """Raises `BadInput` where a subject comes back after another: NONMEM would start a new subject and say nothing."""
    ids = sheet.ids
    sheet.forbid(ids == "", "ID is missing")
    starts = ids != ids.shift()
    again = starts & ids.where(starts).duplicated()

    def what(row: int) -> str:
        ended = ids.index[(ids == ids[row]) & (ids.index < row)].max()
        return f"ID {ids[row]} comes back here; its rows ended at row {ended}"

    sheet.forbid(
        again,
        what,
        why="The rows of one subject must stand together; a returning ID may be a second subject or unsorted rows.",
        hint="sort the rows by ID and TIME, or give the second subject another ID",
    )


def check_times(sheet: DataSheet, time: pd.Series, evid: pd.Series) -> None:
    """Raises `BadInput` where TIME goes back inside a subject, unless that row is a reset (EVID 3 or 4)."""
    ids = sheet.ids
    back = (ids == ids.shift()) & (time < time.shift()) & ~evid.isin([3, 4])
    if not back.any():
        return
    at = int(back.to_numpy().argmax())
    before, row = int(back.index[at - 1]), int(back.index[at])
    why = "Times must not go back inside one subject. If a new course starts here, use EVID=3 or 4."
    if ":" in sheet.read_text("TIME")[row] and not sheet.has_column("DATE"):
        why += "\nWithout a DATE column a clock time cannot pass midnight."
    dated = ("DATE", "TIME") if sheet.has_column("DATE") else ("TIME",)
    later, earlier = (" ".join(sheet.read_text(name)[r] for name in dated) for r in (row, before))
    what = f"{' '.join(dated)} {later} comes after {' '.join(dated)} {earlier}"
    sheet.forbid(back, lambda _: what, why=f"{sheet.quote_rows(before, row)}\n{why}")
