"""TIME and DATE: hours as numbers, `hh:mm`, and days."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pbpk.data.sheet import DataSheet

_CLOCK = re.compile(r"(\d+):([0-5]?\d)(?::([0-5]?\d(?:\.\d*)?))?", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY = re.compile(r"\d{1,5}", re.ASCII)


_DATE_AND_TIME = r"^\d{4}-\d{1,2}-\d{1,2}[T ]\d"


def read_time(sheet: DataSheet, scale: float) -> tuple[pd.Series, list[str]]:
    """Hours on each row, and notes; `scale` is the hours of one unit of TIME. Raises `BadInput`.

    With clock times or dates the subject's first record is hour 0, as in NONMEM.
    """
    cells = sheet.read_text("TIME")
    sheet.forbid(cells == "", "TIME is missing")
    at_clock = cells.str.contains(":", regex=False).to_numpy(dtype=bool)
    plain = sheet.parse_column(cells.mask(at_clock, ""), "TIME") * scale
    hours = plain.where(~at_clock, _read_clock_times(sheet, cells.where(at_clock, "")))
    if sheet.has_column("DATE"):
        hours = hours + 24.0 * _read_days(sheet)
    elif not at_clock.any():
        return hours, []
    spelt = "DATE and TIME" if sheet.has_column("DATE") else "TIME"
    first = hours.groupby(sheet.ids, sort=False).transform("first")
    return hours - first, [f"{spelt} read as clock times: hours are counted from each subject's first record"]


def _read_clock_times(sheet: DataSheet, cells: pd.Series) -> pd.Series:
    def hours(cell: str) -> float:
        match = _CLOCK.fullmatch(cell)
        if match is None:
            return np.nan
        h, m, s = match.groups()
        return int(h) + int(m) / 60 + float(s or 0) / 3600

    out = cells.map(hours).astype(float)
    dated = cells.str.contains(_DATE_AND_TIME, regex=True)
    sheet.forbid(
        dated & out.isna(),
        'TIME "{TIME}" holds a date and a clock time',
        hint="give them a column each: DATE 2024-03-01, TIME 14:30",
    )
    sheet.forbid((cells != "") & out.isna(), 'TIME "{TIME}" is not a clock time', hint="write it as 14:30 or 14:30:15")
    return out


def _read_days(sheet: DataSheet) -> pd.Series:
    """The day of each row, counted from any day: only differences inside a subject matter."""
    cells = sheet.read_text("DATE")
    sheet.forbid(cells == "", "DATE is missing", hint="give a date on every row, or ignore the DATE column")

    def day(cell: str) -> float:
        if _DAY.fullmatch(cell):
            return float(cell)
        try:
            return float(datetime.date.fromisoformat(cell).toordinal()) if _ISO.fullmatch(cell) else np.nan
        except ValueError:
            return np.nan

    out = cells.map(day).astype(float)
    sheet.forbid(
        out.isna(),
        'DATE "{DATE}" cannot be read',
        why="Day and month change places between countries, so such dates are not guessed.",
        hint="write dates as 2024-03-01, or as a day number such as 1; or ignore the DATE column",
    )
    counted = cells.map(lambda cell: _DAY.fullmatch(str(cell)) is not None)
    mixed = counted != counted.iloc[0]
    sheet.forbid(mixed, 'DATE "{DATE}" is written otherwise than in the rows above', hint="use one form throughout")
    return out
