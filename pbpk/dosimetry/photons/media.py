"""What photons meet: interaction coefficients of the phantom's tissues on one fine grid, and Compton's angles."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pbpk.dosimetry.phantom.grid import DENSITY, MATERIALS

ELECTRON_MASS = 0.51099895  # MeV
LOWEST, HIGHEST, _CELLS = 1e-3, 10.0, 2048
_ROWS, _QUANTILES = 512, 129
_TABLES = Path(__file__).resolve().parent.parent / "tables"


class PhotonMedia(NamedTuple):
    """Coefficients per cm, by material (rows as MATERIALS, then a vacuum) and energy cell.

    `deposit` counts the fraction of the energy that an interaction leaves where it happens, so that E · deposit · path is the
    energy left behind; `in_soft` is that of soft tissue at the material's own density, for the marrow in bone; `majorant` the
    largest `total` of any material. `angle` (rows of energy, quantiles): cos θ.
    """

    total: np.ndarray
    scatter: np.ndarray
    pair: np.ndarray
    deposit: np.ndarray
    in_soft: np.ndarray
    majorant: np.ndarray
    angle: np.ndarray


def energy_cell(energy):
    """Where an energy (MeV) lies on the grid, as a real number."""
    import jax.numpy as jnp

    return (jnp.log(energy) - np.log(LOWEST)) * ((_CELLS - 1) / np.log(HIGHEST / LOWEST))


def angle_row(energy):
    """Where an energy (MeV) lies among the rows of `angle`, as a real number."""
    return energy_cell(energy) * ((_ROWS - 1) / (_CELLS - 1))


def klein_nishina(energy: float, cosine: np.ndarray) -> np.ndarray:
    """Cross-section per solid angle, in units of r_e²/2 (Klein and Nishina 1929)."""
    left = 1 / (1 + energy / ELECTRON_MASS * (1 - cosine))
    return left**2 * (left + 1 / left - 1 + cosine**2)


def transferred_share(energy: float) -> float:
    """Mean fraction of the photon's energy that the electron gets."""
    x, w = np.polynomial.legendre.leggauss(200)
    density = klein_nishina(energy, x) * w
    return float((density * (1 - 1 / (1 + energy / ELECTRON_MASS * (1 - x)))).sum() / density.sum())


def mass_coefficients(tissue: str, energy: np.ndarray) -> np.ndarray:
    """Compton, photoelectric and pair coefficients of a tissue, (3, energies) cm²/g: between XCOM's energies log-log."""
    table = _load_coefficients()[tissue]
    log_energy = np.log(energy)
    out = [np.exp(np.interp(log_energy, np.log(table["MeV"]), np.log(table[c]))) for c in table.columns[2:4]]
    last = table[table.columns[4]].to_numpy()
    above = last > 0
    first = float(np.interp(1.022, table["MeV"], last))  # nothing below the threshold, and linear from there
    pair = np.interp(energy, [1.022, *table["MeV"][above]], [first, *last[above]])
    return np.array([*out, np.where(energy > 1.022, pair, 0.0)])


@cache
def _load_coefficients() -> dict[str, pd.DataFrame]:
    return {str(k): part for k, part in pd.read_csv(_TABLES / "photons.csv").groupby("tissue")}


@cache
def build_media() -> PhotonMedia:
    """The media of the phantom's tissues, by XCOM's coefficients."""
    energy = np.geomspace(LOWEST, HIGHEST, _CELLS)
    transferred = np.interp(np.log(energy), np.log(energy[::16]), [transferred_share(e) for e in energy[::16]])
    after_pair = np.where(energy > 1.022, 1 - 1.022 / energy, 0.0)
    per_gram = {m: mass_coefficients(m, energy) for m in MATERIALS}

    def rows(of) -> np.ndarray:
        return np.array([*(DENSITY[m] * of(m) for m in MATERIALS), np.zeros(_CELLS)], np.float32)

    def deposit_per_gram(m: str) -> np.ndarray:
        compton, photoelectric, pair = per_gram[m]
        return compton * transferred + photoelectric + pair * after_pair

    total = rows(lambda m: per_gram[m].sum(axis=0))
    cosine = np.linspace(-1, 1, 2001)
    quantiles = np.linspace(0, 1, _QUANTILES)
    angle = np.empty((_ROWS, _QUANTILES), np.float32)
    for i, e in enumerate(np.geomspace(LOWEST, HIGHEST, _ROWS)):
        density = klein_nishina(e, cosine)
        below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
        angle[i] = np.interp(quantiles, below / below[-1], cosine)
    return PhotonMedia(
        total,
        rows(lambda m: per_gram[m][0] + per_gram[m][2]),
        rows(lambda m: per_gram[m][2]),
        rows(deposit_per_gram),
        rows(lambda m: deposit_per_gram("soft")),
        total.max(axis=0),
        angle,
    )
