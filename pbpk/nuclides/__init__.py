"""Nuclides as sourced data: half-lives and decays here, chains in chains.py, photons in photons.py."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pbpk import units
from pbpk.errors import BadInput, did_you_mean, require_type
from pbpk.tables import read_toml

Evaluation = Literal["ensdf", "icrp107"]


@dataclass(frozen=True)
class DecayBranch:
    """One way in which a nuclide decays: into what, and in what share of all decays. `uncertainty` is standard, 0 if
    none is given."""

    to: str
    mode: str
    branch: float
    source: str
    uncertainty: float = 0.0


@dataclass(frozen=True)
class Nuclide:
    """A nuclide with its decays. `half_life` is in h, infinite if stable, with its standard `uncertainty`; `stated` is
    the half-life as its `source` prints it."""

    name: str
    half_life: float
    source: str
    uncertainty: float = 0.0
    decays: tuple[DecayBranch, ...] = ()
    stated: str = "stable"

    @property
    def decay_constant(self) -> float:
        """ln 2 / half-life, 1/h; 0 where it is stable."""
        return math.log(2) / self.half_life

    @property
    def stable(self) -> bool:
        """Whether it does not decay."""
        return math.isinf(self.half_life)


@cache
def read_nuclides(evaluation: Evaluation = "icrp107") -> dict[str, Nuclide]:
    """All nuclides on file by name. Branches are those of ENSDF whatever the `evaluation` of half-lives (see
    `load_nuclide`)."""
    if evaluation not in get_args(Evaluation):
        raise BadInput(f"no evaluation `{evaluation}`", hint=did_you_mean(evaluation, get_args(Evaluation)))
    rows = read_toml(Path(__file__).parent / "decays.toml")
    return {name: _read_nuclide(name, row, evaluation) for name, row in rows.items()}


def _read_nuclide(name: str, row: dict, evaluation: Evaluation) -> Nuclide:
    if "stable" in row:
        return Nuclide(name, math.inf, row["stable"])
    half_life_row, decays = row["half_life"], tuple(DecayBranch(**d) for d in row["decays"])
    value, uncertainty, source = half_life_row["value"], half_life_row["uncertainty"], half_life_row["source"]
    if evaluation == "icrp107":
        value, uncertainty, source = half_life_row["icrp107"], 0.0, "icrp107"
    half_life, uncertainty = (units.to_internal(x, half_life_row["unit"]) for x in (value, uncertainty))
    return Nuclide(name, half_life, source, uncertainty, decays, f"{value} {half_life_row['unit']}")


def load_nuclide(name: str, evaluation: Evaluation = "icrp107") -> Nuclide:
    """Look up a nuclide by name, spelt `I-131`, `I131`, `131I` or `i-131`.

    `evaluation` says whose half-life: that of ICRP 107, on which published biokinetics and dose coefficients rest, or
    "ensdf": newer, and with an uncertainty. Raises `BadInput` for a nuclide that is not on file.

    >>> pbpk.load_nuclide("211At").half_life  # hours
    7.214
    """
    require_type(name, str, "a nuclide", 'its name, such as "At-211"')
    known = read_nuclides(evaluation)
    match = re.fullmatch(r"\s*(?:(\d+m?)-?([A-Za-z]{1,2})|([A-Za-z]{1,2})-?(\d+m?))\s*", name)
    if match:
        mass, symbol = (match[1], match[2]) if match[1] else (match[4], match[3])
        spelt = f"{symbol.capitalize()}-{mass.lower()}"
        if spelt in known:
            return known[spelt]
    raise BadInput(f"unknown nuclide `{name}`", hint=did_you_mean(name, known))
