"""Readers for TOML and CSV whose errors name the file and the row."""

from __future__ import annotations

import csv
import io
import tomllib
from pathlib import Path

import pandas as pd

from pbpk.errors import BadInput


def read_text(path: Path) -> str:
    """The file's text: UTF-8, with or without a byte-order mark, any line ends."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except IsADirectoryError:
        raise BadInput("this is a folder; a file is needed", where=str(path)) from None
    except OSError as e:
        raise BadInput(f"cannot be read ({e.strerror})", where=str(path)) from e
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as e:
        raise BadInput(
            f"is not UTF-8 text (byte {e.start})", where=str(path), hint="save the file as UTF-8 and try again"
        ) from e


def read_toml(path: Path) -> dict:
    """The file's tables. Raises `BadInput` with the file and what is wrong."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"is not valid TOML: {e}", where=str(path)) from e


def _find_long_row(text: str, columns: int) -> int | None:
    """The number of the first row with more cells than there are columns, if any; the header is row 1."""
    return next((k for k, row in enumerate(csv.reader(io.StringIO(text)), 1) if len(row) > columns), None)


def _refuse_other_separators(header: list[str], path: Path) -> None:
    """Refuse a table whose columns are separated by semicolons or tabs, and tell how to save it."""
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and header[0].count(separator):
            raise BadInput(
                f"its columns are separated by {word}",
                where=str(path),
                why="With decimal commas, as some programs write them, numbers would fall apart: they need points.",
                hint="the cells must be separated by commas",
            )


def read_csv(path: Path) -> pd.DataFrame:
    """Every cell as text, stripped; the index is the row number in the file (the header is row 1)."""
    text = read_text(path)
    if not text.strip():
        raise BadInput("the file is empty", where=str(path), hint="a table needs a header line and at least one row")
    header = [c.strip() for c in next(csv.reader(io.StringIO(text)))]
    _refuse_other_separators(header, path)
    doubled = [c for c in header if c and header.count(c) > 1]  # pandas would rename the second without a word
    if doubled:
        raise BadInput(f"column `{doubled[0]}` appears twice", where=f"{path} row 1")
    try:
        frame = pd.read_csv(
            io.StringIO(text), dtype=str, keep_default_na=False, skip_blank_lines=False, skipinitialspace=True
        )
    except pd.errors.ParserError as e:
        row = _find_long_row(text, len(header))
        what = "is not a table" if row is None else "the row has more cells than the header names"
        raise BadInput(what, where=str(path) if row is None else f"{path} row {row}", why=str(e).strip()) from e
    if isinstance(frame.index, pd.MultiIndex) or not isinstance(frame.index, pd.RangeIndex):
        raise BadInput(
            "rows have more cells than the header names", where=f"{path} row {_find_long_row(text, len(header))}"
        )
    frame.columns = [str(c).strip() for c in frame.columns]
    frame.index = pd.Index(range(2, len(frame) + 2), name="row")
    frame = frame.apply(lambda column: column.fillna("").str.strip())
    frame = frame[(frame != "").any(axis=1)]
    if frame.empty:
        raise BadInput("the file has a header but no rows", where=str(path))
    return frame
