"""What a patient's report rests on, in words, with how well each is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pbpk.dosimetry.patient.cells import CONTENTS, GLANDS, MUCOSA, STOMACH, PlacedTarget
from pbpk.dosimetry.phantom.body import Phantom, load_regions

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.report import AlphaReportRow
    from pbpk.dosimetry.effect.defaults import Radiobiology
    from pbpk.dosimetry.effect.rbe import Rbe
    from pbpk.dosimetry.patient.report import OrganReport
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.model.load import Model


def list_assumptions(
    model: Model,
    dose: AbsorbedDose,
    phantom: Phantom,
    organs: Sequence[OrganReport],
    seen: Sequence[PlacedTarget],
    rows: Sequence[AlphaReportRow],
    lesions: Collection[str],
) -> tuple[str, ...]:
    found = [_kinetics(model), _masses(dose, phantom, lesions), *dose.notes, *_wall(dose, phantom)]
    known = {o.biology.tissue: o.biology for o in organs if o.biology}
    found += _together([(b.tissue, _biology(b)) for b in known.values()]) if seen else []
    if seen:
        found.append(
            "RBE is that on file of an endpoint, its range the 5th to 95th percentile; in BED it is the mean, at low dose "
            "(RBE_max), with RBE_min 1 (assumed)"
        )
    found += _together(
        [
            (s.target.name, f"{s.target.tissue.dimensions.removesuffix(' (assumed)')}; decays {s.placed} (assumed)")
            for s in seen
        ]
    )
    if any(s.target.shares is not None and s.target.biology == GLANDS for s in seen):
        found.append("NIS of salivary glands is taken to be in striated ducts alone (assumed)")
    if rows:
        c = rows[0].target.cell
        found.append(
            f"cells: α₀ {c.alpha0:g}/Gy, β {c.beta:g}/Gy², z0 of a hit {c.z0:g} Gy, domain {c.domain:g} µm, all alike in "
            "uptake and answer (assumed)"
        )
    return tuple(found)


def _together(said: Sequence[tuple[str, str]]) -> list[str]:
    """What is said of several, once."""
    names: dict[str, list[str]] = {}
    for name, words in said:
        names.setdefault(words, []).append(name)
    return [f"{', '.join(of)}: {words}" for words, of in names.items()]


def _kinetics(model: Model) -> str:
    status = Counter(r.status for r in model.parameters.rows.values())
    weak = ", ".join(f"{status[k]} {k}" for k in ("assumed", "surrogate") if status[k])
    return f"kinetics: of {sum(status.values())} numbers in `{model.name}`, {weak or 'none is assumed'}"


def _masses(dose: AbsorbedDose, phantom: Phantom, lesions: Collection[str]) -> str:
    own = [f"{k} {float(np.asarray(v).reshape(-1)[0]):.4g} g" for k, v in dose.masses.items()]
    more = [*own, *(["lesions"] if lesions else [])]
    given = f", but {', '.join(more)} by the model or as given" if more else ""
    return f"masses: the {phantom}'s (ICRP 89, with blood), not scaled to this patient's weight (assumed){given}"


def _wall(dose: AbsorbedDose, phantom: Phantom) -> list[str]:
    """Where the target layer of the stomach gets what the mean over its wall hides."""
    if MUCOSA not in dose.tiac.hours[dose.nuclide]:
        return []
    known, gray = load_regions(phantom), float(np.asarray(dose.tiac.administered)[0]) * 1e-3
    own = float(dose[STOMACH][0]) * gray
    share = known[MUCOSA].mass / known[STOMACH].mass
    layer = known[STOMACH].layer or (0.0, 0.0)
    return [
        f"{STOMACH} is its target layer, {layer[0] * 1e4:.0f} to {layer[1] * 1e4:.0f} µm deep, in a mucosa of "
        f"{known[MUCOSA].mass:.3g} g that holds all the model's activity of `{MUCOSA}` (assumed); spread over the "
        f"{known[STOMACH].mass:.4g} g of the wall that activity gives about {own * share:.2g} Gy. `{CONTENTS}` hardly reach it"
    ]


def _biology(known: Radiobiology) -> str:
    a_b, repair = known.numbers["alpha_beta"], known.numbers["t_repair"]
    return (
        f"RBE {_in_words(known.rbe)} for {known.rbe.endpoint} ({known.rbe_status}); "
        f"α/β {a_b.value:g} Gy ({a_b.status}), half-time of repair {repair.value:g} h ({repair.status})"
    )


def _in_words(rbe: Rbe) -> str:
    return {
        "lognormal": f"{rbe.a:g} ×/÷ {rbe.b:g}",
        "uniform": f"{rbe.a:g} to {rbe.b:g}",
        "fixed": f"{rbe.a:g}",
    }[rbe.distribution]
