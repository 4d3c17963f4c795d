"""What one cell of a NONMEM data file may hold: a number in Fortran's freer spelling, or nothing."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pandas as pd

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eEdD]([+-]?\d+)|([+-]\d+))?", re.ASCII)
_ENDLESS = {"inf": np.inf, "infinity": np.inf}


@lru_cache(maxsize=65536)
def parse_number(text: str) -> float | None:
    """`text` as a number, or None where it is none.

    Fortran's forms count: `1.5D2` is 150, `2-1` is 0.2, and a lone `+` or `-` is 0.
    """
    if text in ("+", "-"):
        return 0.0
    if (endless := _ENDLESS.get(text.lower().lstrip("+-"))) is not None:
        return -endless if text.startswith("-") else endless
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    mantissa, marked, bare = match.groups()
    return float(f"{mantissa}e{marked or bare or 0}")


def blank_missing(cells: pd.DataFrame, missing: frozenset[str]) -> pd.DataFrame:
    """The same cells with every spelling of "missing" (in any case) made the empty text."""
    return cells.apply(lambda column: column.mask(column.str.lower().isin(missing), ""))


def parse_numbers(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The column as floats (NaN where empty), and which of its cells are not numbers."""
    read = {text: parse_number(text) for text in column.unique() if text}
    values = column.map({text: np.nan if value is None else value for text, value in read.items()}).astype(float)
    return values, column.isin([text for text, value in read.items() if value is None])
