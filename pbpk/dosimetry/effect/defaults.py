"""Radiobiology on file: α/β, half-time of repair, NTCP parameters and RBEs, each with its source and how well it is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pbpk.dosimetry.effect.rbe import Rbe
from pbpk.errors import BadInput, did_you_mean
from pbpk.tables import read_toml


@dataclass(frozen=True)
class RadiobiologyNumber:
    """A number with its source.

    `status`: "published", read at the source; "recalled", the source is named but was not read again for this file; "assumed",
    no such source.
    """

    value: float
    unit: str
    source: str
    status: Literal["published", "recalled", "assumed"]


@dataclass(frozen=True)
class Radiobiology:
    """Radiobiology of one tissue.

    `numbers` by name: alpha_beta (Gy), t_repair (h); td50 (Gy, EQD2), m, n of `endpoint` where there is one. `rbe` of alphas,
    known as well as `rbe_status` says.
    """

    tissue: str
    endpoint: str
    numbers: dict[str, RadiobiologyNumber]
    rbe: Rbe
    rbe_status: str

    def __getitem__(self, name: str) -> float:
        if name not in self.numbers:
            what = f"no {name} on file for {self.tissue}"
            raise BadInput(what, hint=did_you_mean(name, self.numbers))
        return self.numbers[name].value


@cache
def load_radiobiology() -> dict[str, Radiobiology]:
    """All that defaults.toml has, by tissue."""
    return {name: _read_tissue(name, row) for name, row in read_toml(Path(__file__).parent / "defaults.toml").items()}


def radiobiology(tissue: str) -> Radiobiology:
    """Look up one tissue on file. Raises `BadInput` for another."""
    known = load_radiobiology()
    if tissue not in known:
        raise BadInput(f"no radiobiology on file for `{tissue}`", hint=did_you_mean(tissue, known))
    return known[tissue]


def _read_tissue(name: str, row: dict) -> Radiobiology:
    numbers = dict(row)
    rbe, endpoint = dict(numbers.pop("rbe")), numbers.pop("endpoint")
    status = rbe.pop("status")
    return Radiobiology(name, endpoint, {k: RadiobiologyNumber(**v) for k, v in numbers.items()}, Rbe(**rbe), status)
