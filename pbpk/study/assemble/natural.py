"""An entry of the natural vector: a number that people read, with its unit and its label."""

from __future__ import annotations

from typing import NamedTuple


class NaturalEntry(NamedTuple):
    """One entry of the natural vector: its initial value in coherent units, how many coherent units its shown unit is, that
    unit, and the label of its row in a table of estimates."""

    value: float
    scale: float
    unit: str
    label: str
