"""One organ's dose and what it does: RBE-weighted dose, BED and EQD2, with the radiobiology on file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.dosimetry.effect.bed import bed, eqd2, rbe_bed
from pbpk.dosimetry.effect.rbe import split
from pbpk.dosimetry.effect.targets import find_biology
from pbpk.dosimetry.phantom.body import load_regions
from pbpk.dosimetry.svalues import RADIATIONS
from pbpk.dosimetry.uncertain.inputs import rbe_at

if TYPE_CHECKING:
    from pbpk.dosimetry.effect.defaults import Radiobiology
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.population.simulate import Simulation

_Z = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class OrganEffect:
    """What an organ's dose does.

    `rbe` its mean, `rbe_90` its 90 % range; `weighted` the RBE-weighted dose, `bed` of the beta formalism (RBE 1), `rbe_bed`
    with RBE, `eqd2` of the latter, Gy; `protraction` G.
    """

    rbe: float
    rbe_90: tuple[float, float]
    weighted: float
    protraction: float
    bed: float
    rbe_bed: float
    eqd2: float


@dataclass(frozen=True)
class OrganReport:
    """One organ's line: Gy by radiation and in all; `mass` g, None where a target has none of its own; `biology` and `effect`
    None for the whole body and for what gets no dose."""

    name: str
    mass: float | None
    alpha: float
    electron: float
    photon: float
    biology: Radiobiology | None
    effect: OrganEffect | None

    @property
    def dose(self) -> float:
        """What the beta formalism uses, Gy: all radiations alike."""
        return self.alpha + self.electron + self.photon

    def to_dict(self) -> dict[str, Any]:
        """The organ's JSON object."""
        row: dict[str, Any] = {"mass_g": self.mass, "alpha": self.alpha, "electron": self.electron}
        row |= {"photon": self.photon, "absorbed_dose": self.dose}
        if self.effect and self.biology:
            row |= {"endpoint": self.biology.rbe.endpoint, "rbe_status": self.biology.rbe_status, **vars(self.effect)}
            row |= {"rbe_90": list(self.effect.rbe_90), "alpha_beta": self.biology["alpha_beta"]}
            row["t_repair"] = self.biology["t_repair"]
        return row


def report_organ(
    name: str,
    dose: AbsorbedDose,
    lesions: Mapping[str, Lesion],
    simulation: Simulation,
    protraction: Mapping[str, float],
) -> OrganReport:
    """Report one target of the first patient. `protraction` has G of every target whose effect is wanted."""
    gray = float(np.asarray(dose.tiac.administered)[0]) * 1e-3
    parts = {r: float(dose.by_radiation[r][name][0]) * gray for r in RADIATIONS}
    mass = _find_mass(name, dose, lesions, simulation)
    if name not in protraction:
        return OrganReport(name, mass, **parts, biology=None, effect=None)
    biology, g = find_biology(name, lesions), protraction[name]
    alpha, low = (float(x[0]) * gray for x in split(dose.by_radiation, name))
    rbe, alpha_beta = biology.rbe.mean(), biology["alpha_beta"]
    with_rbe = float(rbe_bed(alpha, low, rbe, alpha_beta, g))
    effect = OrganEffect(
        rbe,
        (float(rbe_at(biology.rbe, -_Z, False)), float(rbe_at(biology.rbe, _Z, False))),
        rbe * alpha + low,
        g,
        float(bed(alpha + low, alpha_beta, g)),
        with_rbe,
        float(eqd2(with_rbe, alpha_beta)),
    )
    return OrganReport(name, mass, **parts, biology=biology, effect=effect)


def _find_mass(name: str, dose: AbsorbedDose, lesions: Mapping[str, Lesion], simulation: Simulation) -> float | None:
    """g, of the first patient: a lesion's is a row of the model."""
    if name in lesions:
        assert simulation.model is not None
        index = simulation.model.system.parameter_index(str(lesions[name].mass))
        return float(np.asarray(simulation.patients.values)[index, 0]) / 1e3
    known = load_regions(dose.phantom)
    value = dose.masses.get(name, known[name].mass if name in known else None)
    return None if value is None else float(np.asarray(value).reshape(-1)[0])
