"""S values of spheres and ellipsoids of any mass and tissue: lesions, nodules, remnants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pbpk.dosimetry.charged.bodies import absorbed_fraction, ellipsoid_radius, sphere_radius
from pbpk.dosimetry.constants import GY_PER_MEV_G
from pbpk.dosimetry.progeny import count_in_situ_decays
from pbpk.dosimetry.saf import sphere_photon_fraction
from pbpk.errors import BadInput
from pbpk.nuclides.emissions import ELECTRONS, PHOTONS, load_emissions

if TYPE_CHECKING:
    from pbpk.nuclides import Evaluation


def sphere_s(
    nuclide: str,
    mass: float,
    *,
    tissue: str = "water",
    density: float = 1.0,
    axes: Sequence[float] = (1.0, 1.0, 1.0),
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
) -> dict[str, float]:
    """Self-dose of a body filled evenly, Gy/(Bq·s), by radiation: alpha, electron, photon, and their `total`.

    `mass` in g, `density` in g/cm³, `axes` the ratio of an ellipsoid's half axes. Daughters that decay where the parent
    does are in it (`in_situ`). `tissue` is that of the ranges: water, muscle, adipose or bone for alphas; electrons in
    muscle and adipose have water's range per g/cm². Surroundings are vacuum, as in OLINDA's spheres.
    """
    if not (np.isfinite(mass) and mass > 0 and density > 0):
        raise BadInput(f"a sphere of {mass:g} g and {density:g} g/cm³ has no dose", hint="give a mass above 0, in g")
    round_ = tuple(axes) == (1.0, 1.0, 1.0)
    radius = float(sphere_radius(mass, density) if round_ else ellipsoid_radius(mass, axes, density))
    absorbed = sphere_absorbed_energy(nuclide, radius, tissue, recoil, evaluation)
    by_radiation = {k: v * GY_PER_MEV_G / mass for k, v in absorbed.items()}
    return {**by_radiation, "total": sum(by_radiation.values())}


def sphere_absorbed_energy(
    nuclide: str,
    radius: float,
    tissue: str = "water",
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
    followed: Iterable[str] = (),
) -> dict[str, float]:
    """Energy absorbed per decay of the parent in a sphere of areal `radius` g/cm², MeV, by radiation.

    Daughters that decay in place are counted, but those in `followed`; `recoil` adds the energy of recoils to the alphas.
    """
    energy = {"alpha": 0.0, "electron": 0.0, "photon": 0.0}
    electron_tissue = "bone" if tissue == "bone" else "water"
    for name, share in count_in_situ_decays(nuclide, followed).items():
        lines = load_emissions(name, evaluation)
        e, n = lines.discrete("alpha")
        if len(e):
            energy["alpha"] += share * float(
                (e * n) @ np.asarray(absorbed_fraction(e, _broadcast_radius(e, radius), "alpha", tissue))
            )
        if recoil:
            energy["alpha"] += share * lines.energy("recoil")
        e, n = lines.discrete(*ELECTRONS)
        if len(e):
            fraction = np.asarray(absorbed_fraction(e, _broadcast_radius(e, radius), "electron", electron_tissue))
            energy["electron"] += share * float((e * n) @ fraction)
        e, n = lines.discrete(*PHOTONS)
        if len(e):
            energy["photon"] += share * float((e * n) @ sphere_photon_fraction(e, radius))
    return energy


def _broadcast_radius(e: np.ndarray, radius: float) -> np.ndarray:
    return np.full(e.shape, radius)
