"""What a nuclide emits, per decay: alphas, recoils, betas, electrons of conversion and Auger, photons.

`emissions.csv` was made by make_emissions.py from ENSDF. Where the package icrp107-database is installed (extra `icrp107`; the
data are © 2008 A. Endo and K. F. Eckerman, for educational, research and not-for-profit purposes) `evaluation="icrp107"`
reads ICRP Publication 107 instead.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, MissingExtra, did_you_mean
from pbpk.nuclides import Evaluation, load_nuclide
from pbpk.nuclides.betas import beta_spectrum

KINDS = ("alpha", "recoil", "beta-", "beta+", "ce", "auger", "gamma", "xray")
ELECTRONS, PHOTONS = ("beta-", "beta+", "ce", "auger"), ("gamma", "xray")
_SYMBOLS = {
    "Y": 39,
    "Tc": 43,
    "I": 53,
    "Xe": 54,
    "Lu": 71,
    "Tl": 81,
    "Pb": 82,
    "Bi": 83,
    "Po": 84,
    "At": 85,
    "Rn": 86,
    "Fr": 87,
    "Ra": 88,
    "Ac": 89,
}


@dataclass(frozen=True, eq=False)
class Emissions:
    """`lines`: one row each, with kind, MeV (the mean of a beta's spectrum), endpoint, per_decay, uncertainty, about,
    source.
    """

    name: str
    evaluation: Evaluation
    lines: pd.DataFrame

    def energy(self, *kinds: str) -> float:
        """MeV per decay in these kinds; in all but recoils when none are named."""
        rows = self.lines[self.lines["kind"].isin(kinds or [k for k in KINDS if k != "recoil"])]
        return float((rows["MeV"] * rows["per_decay"]).sum())

    def discrete(self, *kinds: str) -> tuple[np.ndarray, np.ndarray]:
        """Energies (MeV) and yields per decay; betas as the cells of their spectra."""
        energies, yields = [np.zeros(0)], [np.zeros(0)]
        for row in self.lines[self.lines["kind"].isin(kinds)].to_dict("records"):
            mean, number = float(row["MeV"]), float(row["per_decay"])
            if row["endpoint"] > 0:
                e, share = _beta_lines(self.name, row["kind"], float(row["endpoint"]), str(row["about"]))
                energies.append(e * (mean / float(e @ share)))  # so that the mean is the evaluation's
                yields.append(share * number)
            else:
                energies.append(np.array([mean]))
                yields.append(np.array([number]))
        return np.concatenate(energies), np.concatenate(yields)


def _beta_lines(name: str, kind: str, endpoint: float, about: str) -> tuple[np.ndarray, np.ndarray]:
    symbol, mass = name.split("-")
    positron = kind == "beta+"
    z = _SYMBOLS[symbol] + (-1 if positron else 1)
    e, share = beta_spectrum(endpoint * 1e3, z, int(mass.rstrip("m")), "UF" in about, positron, points=60)
    return e / 1e3, share


def load_emissions(nuclide: str, evaluation: Evaluation = "ensdf") -> Emissions:
    """By name, as `load_nuclide` takes it. Raises `BadInput` where no emissions are on file."""
    name = load_nuclide(nuclide).name
    if evaluation not in get_args(Evaluation):
        raise BadInput(f"no evaluation `{evaluation}`", hint=did_you_mean(evaluation, get_args(Evaluation)))
    if evaluation == "icrp107":
        return _read_icrp107(name)
    rows = _read_emissions()
    lines = rows[rows["nuclide"] == name]
    if lines.empty:
        if load_nuclide(name).stable:
            raise BadInput(f"{name} is stable and emits nothing")
        raise BadInput(f"no emissions are on file for {name}", hint=did_you_mean(name, set(rows["nuclide"])))
    return Emissions(name, evaluation, lines.drop(columns="nuclide").reset_index(drop=True))


@cache
def _read_emissions() -> pd.DataFrame:
    rows = pd.read_csv(Path(__file__).parent / "emissions.csv", keep_default_na=False)
    return rows.assign(MeV=rows["keV"] / 1e3, endpoint=rows["endpoint_keV"] / 1e3).drop(columns=["keV", "endpoint_keV"])


_ICRP107 = {
    "alpha": "alpha",
    "alpha recoil": "recoil",
    "IE": "ce",
    "auger": "auger",
    "gamma": "gamma",
    "annihilation": "gamma",
    "X": "xray",
}


@cache
def _read_icrp107(name: str) -> Emissions:
    spec = importlib.util.find_spec("icrp107_database")
    if spec is None or spec.origin is None:
        raise MissingExtra(
            "ICRP 107's data are not installed", hint="pip install 'pbpk[icrp107]', or evaluation='ensdf'"
        )
    path = Path(spec.origin).parent / "icrp107" / f"{name}.json"
    if not path.exists():
        raise BadInput(f"ICRP 107 has no {name}")
    data = json.loads(path.read_text(encoding="utf-8"))
    data = json.loads(data) if isinstance(data, str) else data
    listed = data["emissions"]
    rows = [
        (_ICRP107[kind], e, 0.0, n, 0.0, "", "icrp107")
        for kind, lines in listed.items()
        if kind in _ICRP107 and not kind.startswith("beta")
        for e, n in lines
    ]
    rows += [(kind, e, 0.0, n, 0.0, "", "icrp107") for kind, e, n in _beta_cells(listed)]
    columns = ["kind", "MeV", "endpoint", "per_decay", "uncertainty", "about", "source"]
    return Emissions(name, "icrp107", pd.DataFrame(rows, columns=columns))


def _beta_cells(listed: dict) -> list[tuple[str, float, float]]:
    """The spectrum of all betas together, per MeV at some energies, as cells that keep the energy of the listed means."""
    kinds = [k for k in ("beta-", "beta+") if listed[k]]
    if not kinds:
        return []
    at, density = np.array(listed["b-spectra"]).T
    middle, number = (at[1:] + at[:-1]) / 2, np.diff(at) * (density[1:] + density[:-1]) / 2
    means = {k: sum(e * n for e, n in listed[k]) for k in kinds}
    scale = sum(means.values()) / float(middle @ number)
    kind = max(means, key=lambda k: means[k])
    return [(kind, e * scale, n) for e, n in zip(middle.tolist(), number.tolist(), strict=True) if n > 0]
