"""One patient's doses and what they do: every organ with RBE and BED, cells hit by hit, and beside both what the formalism of
beta emitters, the mean dose with an RBE of 1, makes of the same dose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.dosimetry.cells.report import AlphaReportRow, alpha_report
from pbpk.dosimetry.effect.bed import bed, eqd2, rbe_bed
from pbpk.dosimetry.effect.rbe import split
from pbpk.dosimetry.effect.targets import find_biology
from pbpk.dosimetry.patient.assumptions import list_assumptions
from pbpk.dosimetry.patient.cells import place_cell_targets
from pbpk.dosimetry.patient.course import (
    SimulatedTreatment,
    compute_protractions,
    default_regimen,
    simulate_treatment,
    stack_dose_rates,
)
from pbpk.dosimetry.phantom.body import Phantom, check_phantom, load_regions
from pbpk.dosimetry.region_map import Lesion, read_region_map
from pbpk.dosimetry.svalues import BODY, RADIATIONS
from pbpk.dosimetry.uncertain.doses import DoseUncertainty, UncertaintyMethod, dose_uncertainty
from pbpk.dosimetry.uncertain.inputs import rbe_at
from pbpk.model.load import Model, load_model

if TYPE_CHECKING:
    from pbpk.dosimetry.absorbed import Dose
    from pbpk.dosimetry.effect.defaults import Radiobiology
    from pbpk.population.patients import Patients
    from pbpk.regimen.regimen import Regimen

_Z = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class OrganEffect:
    """`rbe` its mean, `rbe_90` its 90 % range; RBE-weighted dose, BED of the beta formalism (RBE 1) and with RBE, EQD2 of the
    latter, Gy; `protraction` G."""

    rbe: float
    rbe_90: tuple[float, float]
    weighted: float
    protraction: float
    bed: float
    rbe_bed: float
    eqd2: float


@dataclass(frozen=True)
class OrganReport:
    """Gy by radiation and in all; `mass` g, None where a target has none of its own; `judged` None for the whole body."""

    name: str
    mass: float | None
    alpha: float
    electron: float
    photon: float
    biology: Radiobiology | None
    effect: OrganEffect | None

    @property
    def dose(self) -> float:
        """What the beta formalism uses: all radiations alike."""
        return self.alpha + self.electron + self.photon


@dataclass(frozen=True, eq=False)
class PatientReport:
    """`activity` MBq; `weight` kg where the model has one. `cells` are empty for a nuclide without alphas."""

    model: str
    nuclide: str
    phantom: Phantom
    activity: float
    weight: float | None
    organs: tuple[OrganReport, ...]
    cells: tuple[AlphaReportRow, ...]
    placed: tuple[str, ...]
    assumed: tuple[str, ...]
    integrates_to: float
    uncertainty: DoseUncertainty | None
    treatment: SimulatedTreatment

    def __getitem__(self, name: str) -> OrganReport:
        return {o.name: o for o in self.organs}[name]

    def text(self, markdown: bool = False) -> str:
        from pbpk.dosimetry.patient.text import render_report

        return render_report(self, markdown)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "nuclide": self.nuclide,
            "phantom": self.phantom,
            "activity": {"value": self.activity, "unit": "MBq"},
            "weight": None if self.weight is None else {"value": self.weight, "unit": "kg"},
            "unit": "Gy",
            "organs": {o.name: _organ(o) for o in self.organs},
            "cells": [{**r.to_dict(), "decays": p} for r, p in zip(self.cells, self.placed, strict=True)],
            "dose_rate_integrates_to": self.integrates_to,
            "uncertainty": self.uncertainty.to_dict() if self.uncertainty else None,
            "assumed": list(self.assumed),
        }


def _organ(o: OrganReport) -> dict[str, Any]:
    row: dict[str, Any] = {"mass_g": o.mass, "alpha": o.alpha, "electron": o.electron, "photon": o.photon}
    row["absorbed_dose"] = o.dose
    if o.effect and o.biology:
        row |= {"endpoint": o.biology.rbe.endpoint, "rbe_status": o.biology.rbe_status, **vars(o.effect)}
        row |= {"rbe_90": list(o.effect.rbe_90), "alpha_beta": o.biology["alpha_beta"]}
        row["t_repair"] = o.biology["t_repair"]
    return row


def patient_report(
    model: Model | str | Path,
    regimen: Regimen | None = None,
    *,
    phantom: str = "adult-male",
    masses: Mapping[str, float] | None = None,
    recoil: bool = False,
    patients: Patients | None = None,
    uncertainty: UncertaintyMethod | None = None,
    **options: Any,
) -> PatientReport:
    """Of a model's typical patient, or the first of `patients`, given `regimen` (1 MBq by the first route).

    `masses` (g) as in `absorbed_dose`. `uncertainty` adds intervals over all that is not known, with `options` of
    `dose_uncertainty`; those are of the typical patient. Raises `BadInput` as `absorbed_dose` does.
    """
    body = check_phantom(phantom)
    model = model if isinstance(model, Model) else load_model(model)
    given = regimen or default_regimen(model)
    whole = simulate_treatment(model, given, body, masses=masses, recoil=recoil, patients=patients and patients[:1])
    assert whole.course is not None
    placement, dose = read_region_map(model, body), whole.dose
    lesions = {x.name: x for x in placement.lesions}
    hit = [t for t in dose.targets if t != BODY and float(dose[t][0]) > 0]
    slow = compute_protractions(whole.course, {t: find_biology(t, lesions)["t_repair"] for t in hit})
    g = {t: float(v[0]) for t, v in slow.items()}
    organs = tuple(_judge(t, dose, body, lesions, whole, g) for t in dose.targets)
    alphas = any(o.alpha > 0 for o in organs)
    seen = place_cell_targets(whole.path, dose, placement, body, g) if alphas else []
    rows = alpha_report([s.target for s in seen], dose.nuclide) if seen else []
    found = (
        dose_uncertainty(*(model, given), phantom=body, method=uncertainty, masses=masses, recoil=recoil, **options)
        if uncertainty
        else None
    )
    who = whole.path.patients.covariates
    return PatientReport(
        model.name,
        dose.nuclide,
        body,
        float(np.asarray(dose.tiac.administered)[0]),
        float(who["WT"].iloc[0]) if "WT" in who else None,
        organs,
        tuple(rows),
        tuple(s.placed for s in seen),
        list_assumptions(model, dose, body, organs, seen, rows, tuple(lesions)),
        _worst(whole, hit),
        found,
        whole,
    )


def _judge(
    name: str,
    dose: Dose,
    phantom: Phantom,
    lesions: Mapping[str, Lesion],
    whole: SimulatedTreatment,
    g: Mapping[str, float],
) -> OrganReport:
    gray = float(np.asarray(dose.tiac.administered)[0]) * 1e-3
    parts = {r: float(dose.by_radiation[r][name][0]) * gray for r in RADIATIONS}
    mass = _mass(name, dose, phantom, lesions, whole)
    if name not in g:
        return OrganReport(name, mass, **parts, biology=None, effect=None)
    known = find_biology(name, lesions)
    alpha, low = (float(x[0]) * gray for x in split(dose.by_radiation, name))
    rbe, a_b = known.rbe.mean(), known["alpha_beta"]
    ends = tuple(float(rbe_at(known.rbe, z, False)) for z in (-_Z, _Z))
    whole_bed = float(rbe_bed(alpha, low, rbe, a_b, g[name]))
    judged = OrganEffect(
        rbe,
        (ends[0], ends[1]),
        rbe * alpha + low,
        g[name],
        float(bed(alpha + low, a_b, g[name])),
        whole_bed,
        float(eqd2(whole_bed, a_b)),
    )
    return OrganReport(name, mass, **parts, biology=known, effect=judged)


def _mass(
    name: str, dose: Dose, phantom: Phantom, lesions: Mapping[str, Lesion], whole: SimulatedTreatment
) -> float | None:
    known = load_regions(phantom)
    if name in lesions:
        model, patients = whole.path.model, whole.path.patients
        assert model is not None
        return float(np.asarray(patients.values)[model.system.parameter_index(str(lesions[name].mass)), 0]) / 1e3
    value = dose.masses.get(name, known[name].mass if name in known else None)
    return None if value is None else float(np.asarray(value).reshape(-1)[0])


def _worst(whole: SimulatedTreatment, targets: list[str]) -> float:
    """What the sampled dose rate integrates to over the dose from exact integrals, where it is farthest from 1."""
    assert whole.course is not None
    doses, found = whole.dose.gray(), np.asarray(stack_dose_rates(whole.course, targets).dose())
    ratios = [float(found[i, 0] / doses[t][0]) for i, t in enumerate(targets)]
    return max(ratios, key=lambda r: abs(r - 1))
