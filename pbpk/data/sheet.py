"""The file's cells under their reserved names, and how to point at a row of it.

Every check of the reader is one call of `Sheet.forbid`, so every message names the file, the row and the subject.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pbpk.data.cells import parse_numbers
from pbpk.data.headers import RESERVED
from pbpk.errors import BadInput

_SHOWN = ("ID", "DATE", "TIME", "AMT", "DV", "EVID")


@dataclass(frozen=True, eq=False)
class DataSheet:
    """A file's cells as text, read by reserved names, and the checks on them.

    `cells` has "" for missing; its index is the row number in the file, where the header is row 1. `named` is
    reserved name -> header, and `source` the file.
    """

    source: str
    cells: pd.DataFrame
    named: Mapping[str, str]

    def has_column(self, name: str) -> bool:
        """Whether the file has a column for a reserved name."""
        return name in self.named

    def read_text(self, name: str) -> pd.Series:
        """The cells of a reserved column; all empty when the file has no such column."""
        if name in self.named:
            return self.cells[self.named[name]]
        return pd.Series("", index=self.cells.index, dtype=object)

    @cached_property
    def ids(self) -> pd.Series:
        """Subjects as text; `7.0`, as spreadsheets like to write it, is `7`."""
        return self.read_text("ID").map(lambda cell: re.sub(r"^(\d+)\.0*$", r"\1", str(cell)))

    def locate_row(self, row: int) -> str:
        """The file, the row and its subject, as errors name them."""
        subject = self.ids[row]
        return f"{self.source} row {row:g} (ID {subject})" if subject else f"{self.source} row {row:g}"

    def read_numbers(self, name: str, rows: pd.Series | None = None, hint: str = "") -> pd.Series:
        """A reserved column as floats, NaN where missing; of `rows` only, if there are any. Raises `BadInput`."""
        cells = self.read_text(name)
        return self.parse_column(cells if rows is None else cells.where(rows, ""), name, hint)

    def parse_column(self, cells: pd.Series, name: str, hint: str = "") -> pd.Series:
        """Cells as floats, NaN where empty. Raises `BadInput`, which calls them `name`, for what is no finite number."""
        values, bad = parse_numbers(cells)
        if bad.any() and "," in cells[bad].iloc[0]:
            hint = "write decimals with a point"
        self.forbid(bad, lambda row: f'{name} "{cells[row]}" is not a number', hint=hint)
        self.forbid(
            values.isin([np.inf, -np.inf]), lambda row: f'{name} "{cells[row]}" is not a finite number', hint=hint
        )
        return values

    def read_integers(self, name: str, otherwise: int = 0) -> pd.Series:
        """A reserved column of whole numbers, `otherwise` where missing. Raises `BadInput`."""
        values = self.read_numbers(name)
        self.forbid(values.notna() & (values != values.round()), f"{name} {{{name}}} is not a whole number")
        return values.fillna(otherwise).astype(int)

    def forbid(
        self, bad: pd.Series, what: str | Callable[[int], str], *, why: str = "", hint: str = "", of: str = "row"
    ) -> None:
        """Raises `BadInput` for the first row where `bad` holds, and says how many more there are.

        `what` is a text with reserved names in braces, each replaced by the row's cell, or a function of the row.
        """
        rows = bad.index[bad.to_numpy(dtype=bool)]
        if not len(rows):
            return
        row, more = rows[0], len(rows) - 1
        message = what.format_map(self._cells_of_row(row)) if isinstance(what, str) else what(row)
        also = f"{more} more {of}{'s have' if more > 1 else ' has'} this problem" if more else ""
        raise BadInput(
            message, where=self.locate_row(row), why=why, hint="; ".join(part for part in (hint, also) if part)
        )

    def quote_rows(self, before: int, row: int) -> str:
        """Two rows as they stand in the file, the second marked."""
        headers = [self.named[name] for name in _SHOWN if name in self.named]
        part = self.cells.loc[[before, row], headers].replace("", ".")
        width = {header: part[header].str.len().max() for header in headers}
        body = [f"{i} | " + "   ".join(str(part.at[i, h]).rjust(width[h]) for h in headers) for i in (before, row)]
        return f"{body[0]}\n{body[1]}     <- here"

    def _cells_of_row(self, row: int) -> dict[str, str]:
        return {name: self.read_text(name)[row] or "missing" for name in RESERVED}
