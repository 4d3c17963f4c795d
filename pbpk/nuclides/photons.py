"""Photons as sourced data: the lines a camera counts, and the air kerma rate constant of a point source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pbpk import units
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide
from pbpk.tables import read_toml


@dataclass(frozen=True)
class PhotonLine:
    """A photon line: its energy in keV, its yield per decay, and the source of both."""

    energy: float
    per_decay: float
    about: str
    source: str


@dataclass(frozen=True)
class PhotonRecord:
    """`imaged` (keV) is the range that is counted, None where the nuclide is not imaged; `kerma` in coherent units
    (Gy·dm² per decay), of photons above `kerma_above` keV."""

    name: str
    lines: tuple[PhotonLine, ...]
    imaged: tuple[float, float] | None
    kerma: float
    kerma_above: float
    kerma_status: str
    kerma_source: str

    @property
    def imaged_lines(self) -> tuple[PhotonLine, ...]:
        """The lines within the imaged range."""
        if self.imaged is None:
            return ()
        low, high = self.imaged
        return tuple(line for line in self.lines if low <= line.energy <= high)

    @property
    def imaged_per_decay(self) -> float:
        """Photons of the imaged range per decay."""
        return sum(line.per_decay for line in self.imaged_lines)


@cache
def read_photons() -> dict[str, PhotonRecord]:
    """The records of all nuclides by name."""
    rows = read_toml(Path(__file__).parent / "photons.toml")
    return {name: _read_record(name, row) for name, row in rows.items()}


def _read_record(name: str, row: dict) -> PhotonRecord:
    kerma, imaged = row["kerma"], row.get("imaged")
    return PhotonRecord(
        name,
        tuple(PhotonLine(**line) for line in row["lines"]),
        (imaged["from"], imaged["to"]) if imaged else None,
        units.to_internal(kerma["value"], kerma["unit"]),
        kerma["above"],
        kerma["status"],
        kerma["source"],
    )


def load_photons(nuclide: str) -> PhotonRecord:
    """The photons of a nuclide, spelt as `load_nuclide` takes it. Raises `BadInput` where none are on file."""
    name, known = load_nuclide(nuclide).name, read_photons()
    if name not in known:
        hint = "give the number yourself; photons are on file for " + ", ".join(known)
        raise BadInput(f"no photons are on file for {name}", hint=hint)
    return known[name]
