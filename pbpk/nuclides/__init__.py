"""Floor 1: nuclides as sourced data. Half-lives here; emissions come with the dosimetry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.tables import read_toml


@dataclass(frozen=True)
class Nuclide:
    """`half_life` in h; `source` is the evaluation it was read from."""

    name: str
    half_life: float
    source: str

    @property
    def decay_constant(self) -> float:
        """ln 2 / half-life, 1/h."""
        return math.log(2) / self.half_life


@cache
def nuclides() -> dict[str, Nuclide]:
    rows = read_toml(Path(__file__).parent / "half_lives.toml")
    return {n: Nuclide(n, units.to_internal(r["half_life"], r["unit"]), r["source"]) for n, r in rows.items()}


def load_nuclide(name: str) -> Nuclide:
    """By name, spelt `I-131`, `I131`, `131I` or `i-131`."""
    import re

    known = nuclides()
    found = re.fullmatch(r"\s*(?:(\d+m?)-?([A-Za-z]{1,2})|([A-Za-z]{1,2})-?(\d+m?))\s*", name)
    if found:
        mass, symbol = (found[1], found[2]) if found[1] else (found[4], found[3])
        spelt = f"{symbol.capitalize()}-{mass.lower()}"
        if spelt in known:
            return known[spelt]
    raise BadInput(f"unknown nuclide `{name}`", hint=did_you_mean(name, known))
