"""One patient's doses and what they do: every organ with RBE and BED, cells hit by hit, and beside both what the formalism of
beta emitters, the mean dose with an RBE of 1, makes of the same dose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.dosimetry.cells.report import alpha_report
from pbpk.dosimetry.curves import compute_protractions, stack_dose_rates
from pbpk.dosimetry.effect.targets import find_biology
from pbpk.dosimetry.patient.assumptions import list_assumptions
from pbpk.dosimetry.patient.cells import place_cell_targets
from pbpk.dosimetry.patient.organs import OrganReport, report_organ
from pbpk.dosimetry.patient.text import render_page
from pbpk.dosimetry.phantom.body import check_phantom
from pbpk.dosimetry.region_map import read_region_map
from pbpk.dosimetry.svalues import BODY
from pbpk.dosimetry.treatment import simulate_treatment
from pbpk.dosimetry.treatment_plan import default_regimen
from pbpk.dosimetry.uncertain.doses import dose_uncertainty
from pbpk.model.load import Model, load_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbpk.dosimetry.cells.report import AlphaReportRow
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.dosimetry.treatment import SimulatedTreatment
    from pbpk.dosimetry.uncertain.result import DoseUncertainty, UncertaintyMethod
    from pbpk.population.patients import Patients
    from pbpk.regimen.regimen import Regimen


@dataclass(frozen=True, eq=False)
class PatientReport:
    """What `patient_report` gives: `report["thyroid"]` is an organ's line.

    `activity` MBq; `weight` kg where the model has one; `organs` by target of dose; `cells` by tissue, empty for a nuclide
    without alphas, and `placed` where in each the decays are; `assumed` what all of it rests on; `integrates_to` what the
    sampled dose rate integrates to over the dose, where it is farthest from 1; `treatment` the simulation and its doses.
    """

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
        """The page, of fixed width or as Markdown."""
        per_kg = f" in {self.weight:g} kg ({self.activity / self.weight:.3g} MBq/kg)" if self.weight else ""
        title = f"{self.activity:.4g} MBq of {self.nuclide}{per_kg}: {self.model}, {self.phantom}, typical kinetics"
        check = f"check: dose rates, sampled, integrate to within {abs(self.integrates_to - 1):.1g} of the doses"
        return render_page(title, self.organs, self.cells, self.uncertainty, (*self.assumed, check), markdown)

    def to_dict(self) -> dict[str, Any]:
        """The page as one JSON object."""
        return {
            "model": self.model,
            "nuclide": self.nuclide,
            "phantom": self.phantom,
            "activity": {"value": self.activity, "unit": "MBq"},
            "weight": None if self.weight is None else {"value": self.weight, "unit": "kg"},
            "unit": "Gy",
            "organs": {o.name: o.to_dict() for o in self.organs},
            "cells": [{**r.to_dict(), "decays": p} for r, p in zip(self.cells, self.placed, strict=True)],
            "dose_rate_integrates_to": self.integrates_to,
            "uncertainty": self.uncertainty.to_dict() if self.uncertainty else None,
            "assumed": list(self.assumed),
        }


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
    """Report a model's typical patient, or the first of `patients`, given `regimen` (1 MBq by the first route).

    `masses` (g) as in `absorbed_dose`. `uncertainty` adds intervals over all that is not known, with `options` of
    `dose_uncertainty`; those are of the typical patient. Raises `BadInput` as `absorbed_dose` does.
    """
    body = check_phantom(phantom)
    model = model if isinstance(model, Model) else load_model(model)
    regimen = regimen or default_regimen(model)
    treatment = simulate_treatment(
        *(model, regimen, body), masses=masses, recoil=recoil, patients=patients and patients[:1]
    )
    assert treatment.course is not None
    simulation, dose, region_map = treatment.simulation, treatment.dose, read_region_map(model, body)
    lesions = {x.name: x for x in region_map.lesions}
    irradiated = [t for t in dose.targets if t != BODY and float(dose[t][0]) > 0]
    protractions = compute_protractions(treatment.course, {t: find_biology(t, lesions)["t_repair"] for t in irradiated})
    protraction = {t: float(v[0]) for t, v in protractions.items()}
    organs = tuple(report_organ(t, dose, lesions, simulation, protraction) for t in dose.targets)
    has_alphas = any(o.alpha > 0 for o in organs)
    placed = place_cell_targets(simulation, dose, region_map, body, protraction) if has_alphas else []
    rows = alpha_report([p.target for p in placed], dose.nuclide) if placed else []
    spreads = None
    if uncertainty:
        spreads = dose_uncertainty(
            *(model, regimen), phantom=body, method=uncertainty, masses=masses, recoil=recoil, **options
        )
    covariates = simulation.patients.covariates
    return PatientReport(
        model.name,
        dose.nuclide,
        body,
        float(np.asarray(dose.tiac.administered)[0]),
        float(covariates["WT"].iloc[0]) if "WT" in covariates else None,
        organs,
        tuple(rows),
        tuple(p.where for p in placed),
        list_assumptions(model, dose, organs, placed, rows, tuple(lesions)),
        _worst_integral(treatment, irradiated),
        spreads,
        treatment,
    )


def _worst_integral(treatment: SimulatedTreatment, targets: Sequence[str]) -> float:
    """What the sampled dose rate integrates to over the dose from exact integrals, where it is farthest from 1."""
    assert treatment.course is not None
    doses, integrals = treatment.dose.gray(), np.asarray(stack_dose_rates(treatment.course, targets).dose())
    ratios = [float(integrals[i, 0] / doses[t][0]) for i, t in enumerate(targets)]
    return max(ratios, key=lambda r: abs(r - 1))
