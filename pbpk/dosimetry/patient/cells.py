"""From an organ's decays to the nuclei in it: which tissue stands for the organ, and where in it the model puts the activity.

A model says in `[cells]` of its dosimetry.toml which compartments lie in which region of a tissue; what is in none of them,
blood among it, is evenly around. Without that all of it is spread evenly. Both are assumptions: no image shows cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pbpk.dosimetry.cells import tissues
from pbpk.dosimetry.cells.hits import alpha_energy
from pbpk.dosimetry.cells.report import Target
from pbpk.dosimetry.constants import MEV
from pbpk.dosimetry.effect.rbe import split
from pbpk.dosimetry.effect.targets import find_biology
from pbpk.dosimetry.phantom.body import Phantom, load_regions
from pbpk.dosimetry.region_map import BLOOD, RegionMap
from pbpk.errors import BadInput
from pbpk.observe import name_amount
from pbpk.tables import read_toml

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.tissues import Tissue
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.population.simulate import Simulation

MARROW, GLANDS, STOMACH, LESIONS = "red_marrow", "salivary_glands", "stomach_wall", "lesions"
MUCOSA, CONTENTS = "stomach_mucosa", "stomach_contents"


class PlacedTarget(NamedTuple):
    """A target, and in words where in its tissue the decays are."""

    target: Target
    placed: str


def place_cell_targets(
    path: Simulation, dose: AbsorbedDose, placement: RegionMap, phantom: Phantom, protraction: Mapping[str, float]
) -> list[PlacedTarget]:
    """Marrow, salivary ducts, gastric mucosa and each lesion, of the first patient."""
    assert path.model is not None
    file = path.model.folder / "dosimetry.toml"
    rules = read_toml(file).get("cells", {})
    given = float(np.asarray(dose.tiac.administered)[0])
    lesions = [x.name for x in placement.lesions]

    def target(name: str, label: str, tissue: Tissue, alpha: float | None = None, **where: Any) -> Target:
        own, low = (float(x[0]) * given * 1e-3 for x in split(dose.by_radiation, name))
        judged, slow = find_biology(name, lesions).tissue, protraction.get(name, 1.0)
        return Target(label, own if alpha is None else alpha, tissue, judged, low, protraction=slow, **where)

    found = [PlacedTarget(target(MARROW, "marrow", tissues.marrow()), "evenly")]
    blood = (
        load_regions(phantom)[GLANDS].blood
        * _region_mass(dose, load_regions(phantom), GLANDS)
        / load_regions(phantom)[GLANDS].mass
    )
    shares, placed = _glands(path, placement, blood, rules.get(GLANDS), str(file))
    found.append(PlacedTarget(target(GLANDS, "salivary duct", tissues.duct(), shares=shares), placed))
    found.append(_stomach(dose, phantom, given, target))
    for name in lesions:
        shares, placed = _lesion(path, placement, name, rules.get(LESIONS))
        found.append(PlacedTarget(target(name, name, tissues.tumour(), shares=shares), placed))
    return found


def _glands(
    path: Simulation, placement: RegionMap, blood: float, rule: Mapping[str, list[str]] | None, where: str
) -> tuple[dict[str, float] | None, str]:
    if not rule:
        return None, "evenly"
    known = tissues.duct().volume
    for region in rule:
        if region not in known:
            raise BadInput(f"a salivary duct has no region `{region}`", where=where, hint=", ".join(known))
    of = placement.compartments[_simulated_nuclide(path)]
    whole = _count_decays(path, of.get(GLANDS, ()))
    if BLOOD in of and placement.blood_is == "all":
        whole += blood * _count_decays(path, of[BLOOD])
    shares = {
        r: _count_decays(path, _match_names(of.get(GLANDS, ()), p)) / whole if whole else 0.0 for r, p in rule.items()
    }
    return shares, _describe_shares(shares, "evenly around")


def _lesion(
    path: Simulation, placement: RegionMap, name: str, rule: Mapping[str, list[str]] | None
) -> tuple[dict[str, float] | None, str]:
    """What is in cells is spread over nucleus and cytoplasm by volume: an anion that nothing binds."""
    held = placement.compartments[_simulated_nuclide(path)].get(name, ())
    whole = _count_decays(path, held)
    if not rule or not whole:
        return None, "evenly"
    inside = _count_decays(path, _match_names(held, rule.get("cells", []))) / whole
    volume = tissues.tumour().volume
    cell = volume["nucleus"] + volume["cytoplasm"]
    shares = {k: inside * volume[k] / cell for k in ("nucleus", "cytoplasm")} | {"interstitium": 1 - inside}
    return shares, f"{inside:.0%} in cells, evenly within them"


def _stomach(dose: AbsorbedDose, phantom: Phantom, given: float, target: Any) -> PlacedTarget:
    """Of the mucosa's own mean dose where the model has activity in it; else of the wall's."""
    hours, known = dose.tiac.hours[dose.nuclide], load_regions(phantom)
    if MUCOSA not in hours:
        return PlacedTarget(target(STOMACH, "gastric mucosa", tissues.gastric_mucosa()), "evenly in the wall")

    def mean(region: str) -> float:
        """Gy of alphas within it."""
        decays = float(np.asarray(hours[region])[0]) * 3600 * given * 1e6
        return decays * alpha_energy(dose.nuclide) * MEV / (_region_mass(dose, known, region) * 1e-3)

    layer = known[MUCOSA].layer
    assert layer is not None
    tissue, own = tissues.gastric_mucosa(thick=layer[1] * 1e4), mean(MUCOSA)
    beyond = {"contents": mean(CONTENTS) / own} if CONTENTS in hours and own else None
    told = "evenly in the mucosa"
    told += f"; contents with {beyond['contents']:.2g} of its concentration" if beyond else ""
    return PlacedTarget(target(STOMACH, "gastric mucosa", tissue, own, beyond=beyond), told)


def _region_mass(dose: AbsorbedDose, known: Any, region: str) -> float:
    return float(np.asarray(dose.masses.get(region, known[region].mass)).reshape(-1)[0])


def _simulated_nuclide(path: Simulation) -> str:
    assert path.model is not None and path.model.nuclide is not None
    return path.model.nuclide


def _count_decays(path: Simulation, names: Iterable[str]) -> float:
    """Of the first patient: to infinity, or to the last time where that is not known."""
    assert path.integral is not None
    whole = path.to_infinity or {k: v[-1] for k, v in path.integral.items()}
    return sum(float(whole[name_amount(n)][0]) for n in names)


def _match_names(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    return [n for n in names if any(fnmatchcase(n, p) for p in patterns)]


def _describe_shares(shares: Mapping[str, float], rest: str) -> str:
    each = [f"{v:.0%} in the {k}" for k, v in shares.items()]
    return ", ".join([*each, f"{1 - sum(shares.values()):.0%} {rest}"])
