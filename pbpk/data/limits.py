"""What DV says that is no number: `<0.3`, `BLQ`, a lone `-`; and which column flags values below a limit."""

from __future__ import annotations

import re
from typing import NamedTuple

import pandas as pd

_LIMIT = re.compile(r"(<=?|>=?|≤|≥)\s*(.+)")
_BELOW = frozenset({"blq", "bql", "bloq", "lloq", "<lloq", "<loq", "< lloq", "< loq", "<blq", "<bql"})
FLAGS = ("BLQ", "BQL", "BLOQ", "BLOQFL", "CENSORED")
"""Headers that stand for CENS where the file has no CENS of its own."""
HINT = (
    "a value below the limit of quantification is CENS=1 with the limit in DV (or `lloq` in fit.toml); leave DV empty "
    "where nothing was measured"
)


class ReadLimits(NamedTuple):
    """DV's cells with the limits as numbers; which rows lie below (1) or above (-1) theirs, 0 elsewhere; which lie below a
    limit that the file does not name; notes."""

    cells: pd.Series
    censored: pd.Series
    unnamed: pd.Series
    notes: list[str]


def read_limits(cells: pd.Series) -> ReadLimits:
    """Take `<0.3` for a value below 0.3, `>20` for one above 20, and `BLQ` for one below a limit that is named elsewhere."""
    texts = [str(cell) for cell in cells]
    matches = [None if text.lower() in _BELOW else _LIMIT.fullmatch(text) for text in texts]
    numbers = [text if m is None else m[2].strip() for text, m in zip(texts, matches, strict=True)]
    side = pd.Series([0 if m is None else 1 if m[1][0] in "<≤" else -1 for m in matches], index=cells.index)
    unnamed, marked = cells.str.lower().isin(_BELOW), side != 0
    plain = pd.Series(numbers, index=cells.index, dtype=object).mask(unnamed, "")
    notes = []
    if marked.any():
        row = marked.index[marked.to_numpy()][0]
        notes.append(f'DV such as "{cells[row]}" (row {row}; {int(marked.sum())} rows) is read as a limit (CENS)')
    if unnamed.any():
        row = unnamed.index[unnamed.to_numpy()][0]
        notes.append(f'DV "{cells[row]}" (row {row}; {int(unnamed.sum())} rows) is read as below the limit (CENS 1)')
    return ReadLimits(plain, side.mask(unnamed, 1), unnamed, notes)
