"""Specific absorbed fractions of photons: our tables, between their energies log-log."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.body import Phantom

_TABLES = Path(__file__).parent / "tables"
LOCAL_BELOW = 0.010  # MeV; photons of less stay where they are set free


@dataclass(frozen=True, eq=False)
class PhotonFractions:
    """Specific absorbed fractions of photons in one phantom.

    `saf` (sources, targets, energies), 1/g; `relative_error` its statistical standard error; `energy` in MeV; `mass`
    (targets,) of the phantom's own regions, g; `histories` for each source and energy.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    energy: np.ndarray
    saf: np.ndarray
    relative_error: np.ndarray
    mass: np.ndarray
    histories: int

    def interpolate(self, energies: np.ndarray) -> np.ndarray:
        """SAF (sources, targets, energies asked for), 1/g: between the table's log-log, and in proportion where one is 0."""
        smallest = 1e-30
        x, y = np.log(self.energy), np.log(np.maximum(self.saf, smallest))
        log_energy = np.clip(np.log(energies), x[0], x[-1])
        k = np.clip(np.searchsorted(x, log_energy) - 1, 0, len(x) - 2)
        w = (log_energy - x[k]) / (x[k + 1] - x[k])
        log_log = np.exp(y[..., k] * (1 - w) + y[..., k + 1] * w)
        linear = self.saf[..., k] * (1 - w) + self.saf[..., k + 1] * w
        return np.where((self.saf[..., k] > smallest) & (self.saf[..., k + 1] > smallest), log_log, linear)

    def between(self, target: str, source: str) -> np.ndarray:
        """SAF to a target from a source at the table's energies, 1/g. Raises `BadInput` for a name it lacks."""
        for name, known in ((target, self.targets), (source, self.sources)):
            if name not in known:
                raise BadInput(f"no `{name}` in this table of photons", hint=did_you_mean(name, known))
        return self.saf[self.sources.index(source), self.targets.index(target)]


@cache
def load_photon_fractions(phantom: Phantom) -> PhotonFractions:
    """Read the table of a bundled phantom, which tables/make_saf.py made. Raises `BadInput` where it has not been made."""
    path = _TABLES / f"saf_{phantom}.npz"
    if not path.exists():
        hint = f"python -m pbpk.dosimetry.tables.make_saf {phantom}"
        raise BadInput(f"the photon table of the {phantom} has not been made", where=str(path), hint=hint)
    t = np.load(path)
    return PhotonFractions(
        tuple(map(str, t["sources"])),
        tuple(map(str, t["targets"])),
        t["energy"],
        t["saf"].astype(float),
        t["relative_error"].astype(float),
        t["mass"],
        int(t["histories"]),
    )


@cache
def _load_sphere_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areal radii (g/cm²), energies (MeV) and absorbed fractions (radii, energies)."""
    table = pd.read_csv(_TABLES / "sphere_photons.csv").pivot(
        index="radius_g_cm2", columns="MeV", values="absorbed_fraction"
    )
    return table.index.to_numpy(float), table.columns.to_numpy(float), table.to_numpy(float)


def sphere_photon_fraction(energy: np.ndarray, radius: float) -> np.ndarray:
    """Absorbed fractions of photons (MeV) in an isolated sphere of areal `radius` g/cm²; all of what is below 5 keV.

    Bilinear in logarithms; beyond the table's radii, in proportion to the radius below and as at its end above.
    """
    radii, energies, table = _load_sphere_table()
    log = np.log(table)
    log_energy = np.clip(np.log(np.maximum(energy, 1e-6)), np.log(energies[0]), np.log(energies[-1]))
    r = np.clip(radius, radii[0], radii[-1])
    by_radius = np.array([np.interp(np.log(r), np.log(radii), log[:, k]) for k in range(len(energies))])
    fraction = np.exp(np.interp(log_energy, np.log(energies), by_radius)) * min(radius / radii[0], 1.0)
    return np.where(energy < energies[0], 1.0, fraction)
