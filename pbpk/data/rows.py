"""Which rows of a file count: comments marked in a first column `C`, and rows that a study tells to leave out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from pbpk.data.cells import parse_number
from pbpk.data.headers import find_name
from pbpk.errors import BadInput, did_you_mean

_CONDITION = re.compile(r"\s*([^\s=!<>]+)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*")
_COMPARE = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def is_condition(text: str) -> bool:
    """Whether a text compares a column with something, and is not the name of one."""
    return _CONDITION.fullmatch(text) is not None


def drop_rows(cells: pd.DataFrame, conditions: Sequence[str], source: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows that count, and notes on the others.

    A first column `C` that holds nothing but `C` marks comments, as NONMEM's IGNORE=C takes them. Each of `conditions` is
    COLUMN OP VALUE (`"SD == 0"`, `"STUDY != A"`, OP one of ==, !=, <, <=, >, >=), several joined by `and`; a row that meets
    any of them is left out. Numbers are compared as numbers, text as text. Raises `BadInput`.
    """
    notes = []
    first = str(cells.columns[0])
    if first.upper() == "C" and set(cells[first].str.upper()) <= {"C", "", ".", "0"} and (cells[first] == "C").any():
        comments = cells[first].str.upper() == "C"
        notes.append(f"{int(comments.sum())} rows marked C in the first column are comments, and left out")
        cells = cells[~comments].drop(columns=first)
    for text in conditions:
        chosen = pd.Series(True, index=cells.index)
        for condition in re.split(r"\s+and\s+", text):
            chosen &= _find_rows(cells, condition, source)
        notes.append(f"{int(chosen.sum())} rows with {text} are left out (ignore_rows)")
        cells = cells[~chosen]
    if cells.empty:
        raise BadInput("no row is left", where=source, hint="ignore_rows leaves all of them out")
    return cells, notes


def _find_rows(cells: pd.DataFrame, condition: str, source: str) -> pd.Series:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        hint = 'write COLUMN OP VALUE, as in ignore_rows = ["SD == 0", "STUDY != A and TIME > 24"]'
        raise BadInput(f'ignore_rows "{condition}" cannot be read', where=source, hint=hint)
    name, operator, text = match.groups()
    header = find_name(name, [str(c) for c in cells.columns])
    if header is None:
        raise BadInput(f"no column `{name}` to leave rows out by", where=source, hint=did_you_mean(name, cells.columns))
    text = text.strip("\"'")
    number = parse_number(text)
    if number is None:
        if operator not in ("==", "!="):
            raise BadInput(f'ignore_rows "{condition}": text is only equal or not', where=source)
        return _COMPARE[operator](cells[header], text)
    values = cells[header].map(lambda cell: float("nan") if (v := parse_number(cell)) is None else v).astype(float)
    met = _COMPARE[operator](values, number)
    return met & values.notna() if operator == "!=" else met
