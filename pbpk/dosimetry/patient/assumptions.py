"""What a patient's report rests on, in words, with how well each assumption is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pbpk.dosimetry.patient.cells import CONTENTS, GLANDS, MUCOSA, STOMACH
from pbpk.dosimetry.phantom.body import load_regions

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.report import AlphaReportRow
    from pbpk.dosimetry.effect.defaults import Radiobiology
    from pbpk.dosimetry.effect.rbe import Rbe
    from pbpk.dosimetry.patient.cells import PlacedTarget
    from pbpk.dosimetry.patient.organs import OrganReport
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.model.load import Model


def list_assumptions(
    model: Model,
    dose: AbsorbedDose,
    organs: Sequence[OrganReport],
    placed: Sequence[PlacedTarget],
    rows: Sequence[AlphaReportRow],
    lesions: Collection[str],
) -> tuple[str, ...]:
    """One sentence for each: kinetics, masses, what is left out of the dose, radiobiology, tissues, cells.

    `placed` and `rows` are the cells' targets and results, empty for a nuclide without alphas.
    """
    notes = [_describe_kinetics(model), _describe_masses(dose, lesions), *dose.notes, *_describe_target_layer(dose)]
    biologies = {o.biology.tissue: o.biology for o in organs if o.biology}
    if placed:
        notes += _group([(b.tissue, _describe_biology(b)) for b in biologies.values()])
        notes.append(
            "RBE is that on file of an endpoint, its range the 5th to 95th percentile; in BED it is the mean, at low dose "
            "(RBE_max), with RBE_min 1 (assumed)"
        )
    dimensions = [(p, p.target.tissue.dimensions.removesuffix(" (assumed)")) for p in placed]
    notes += _group([(p.target.name, f"{size}; decays {p.where} (assumed)") for p, size in dimensions])
    if any(p.target.shares is not None and p.target.biology == GLANDS for p in placed):
        notes.append("NIS of salivary glands is taken to be in striated ducts alone (assumed)")
    if rows:
        c = rows[0].target.cell
        notes.append(
            f"cells: α₀ {c.alpha0:g}/Gy, β {c.beta:g}/Gy², z0 of a hit {c.z0:g} Gy, domain {c.domain:g} µm, all alike in "
            "uptake and answer (assumed)"
        )
    return tuple(notes)


def _group(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Say what is true of several names once, of (name, note)."""
    names: dict[str, list[str]] = {}
    for name, note in notes:
        names.setdefault(note, []).append(name)
    return [f"{', '.join(several)}: {note}" for note, several in names.items()]


def _describe_kinetics(model: Model) -> str:
    status = Counter(r.status for r in model.parameters.rows.values())
    weak = ", ".join(f"{status[k]} {k}" for k in ("assumed", "surrogate") if status[k])
    return f"kinetics: of {sum(status.values())} numbers in `{model.name}`, {weak or 'none is assumed'}"


def _describe_masses(dose: AbsorbedDose, lesions: Collection[str]) -> str:
    masses = [f"{k} {float(np.asarray(v).reshape(-1)[0]):.4g} g" for k, v in dose.masses.items()]
    masses += ["lesions"] if lesions else []
    exceptions = f", but {', '.join(masses)} by the model or as given" if masses else ""
    return (
        f"masses: the {dose.phantom}'s (ICRP 89, with blood), not scaled to this patient's weight (assumed){exceptions}"
    )


def _describe_target_layer(dose: AbsorbedDose) -> list[str]:
    """Where the target layer of the stomach gets what the mean over its wall hides."""
    if MUCOSA not in dose.tiac.hours[dose.nuclide]:
        return []
    known, gray = load_regions(dose.phantom), float(np.asarray(dose.tiac.administered)[0]) * 1e-3
    layer_dose = float(dose[STOMACH][0]) * gray
    share = known[MUCOSA].mass / known[STOMACH].mass
    layer = known[STOMACH].layer or (0.0, 0.0)
    return [
        f"{STOMACH} is its target layer, {layer[0] * 1e4:.0f} to {layer[1] * 1e4:.0f} µm deep, in a mucosa of "
        f"{known[MUCOSA].mass:.3g} g that holds all the model's activity of `{MUCOSA}` (assumed); spread over the "
        f"{known[STOMACH].mass:.4g} g of the wall that activity gives about {layer_dose * share:.2g} Gy. `{CONTENTS}` hardly "
        "reach it"
    ]


def _describe_biology(biology: Radiobiology) -> str:
    alpha_beta, repair = biology.numbers["alpha_beta"], biology.numbers["t_repair"]
    return (
        f"RBE {_describe_rbe(biology.rbe)} for {biology.rbe.endpoint} ({biology.rbe_status}); "
        f"α/β {alpha_beta.value:g} Gy ({alpha_beta.status}), half-time of repair {repair.value:g} h ({repair.status})"
    )


def _describe_rbe(rbe: Rbe) -> str:
    return {
        "lognormal": f"{rbe.a:g} ×/÷ {rbe.b:g}",
        "uniform": f"{rbe.a:g} to {rbe.b:g}",
        "fixed": f"{rbe.a:g}",
    }[rbe.distribution]
