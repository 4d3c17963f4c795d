"""From an organ's decays to the nuclei in it: which tissue stands for the organ, and where in it the model puts the activity.

A model says in `[cells]` of its dosimetry.toml which compartments lie in which region of a tissue; what is in none of them,
blood among it, is evenly around. Without that all of it is spread evenly. Both are assumptions: no image shows cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from pbpk.dosimetry.region_map import BLOOD
from pbpk.errors import BadInput
from pbpk.observe.readings import name_amount
from pbpk.tables import read_toml

if TYPE_CHECKING:
    from pbpk.dosimetry.cells.tissues import Tissue
    from pbpk.dosimetry.region_map import RegionMap
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.population.simulate import Simulation

MARROW, GLANDS, STOMACH, LESIONS = "red_marrow", "salivary_glands", "stomach_wall", "lesions"
MUCOSA, CONTENTS = "stomach_mucosa", "stomach_contents"


class PlacedTarget(NamedTuple):
    """A target of alphas, and in words where in its tissue the decays are."""

    target: Target
    where: str


def place_cell_targets(
    simulation: Simulation,
    dose: AbsorbedDose,
    region_map: RegionMap,
    phantom: Phantom,
    protraction: Mapping[str, float],
) -> list[PlacedTarget]:
    """Marrow, salivary ducts, gastric mucosa and each lesion, of the first patient. `protraction` is G by target."""
    assert simulation.model is not None
    file = simulation.model.folder / "dosimetry.toml"
    rules = read_toml(file).get("cells", {})
    gray = float(np.asarray(dose.tiac.administered)[0]) * 1e-3
    lesions = [x.name for x in region_map.lesions]

    def build_target(name: str, label: str, tissue: Tissue, alpha: float | None = None, **sources: Any) -> Target:
        organ_alpha, low = (float(x[0]) * gray for x in split(dose.by_radiation, name))
        biology, g = find_biology(name, lesions).tissue, protraction.get(name, 1.0)
        return Target(label, organ_alpha if alpha is None else alpha, tissue, biology, low, protraction=g, **sources)

    placed = [PlacedTarget(build_target(MARROW, "marrow", tissues.marrow()), "evenly")]
    glands = load_regions(phantom)[GLANDS]
    blood = glands.blood * _region_mass(dose, load_regions(phantom), GLANDS) / glands.mass
    shares, where = _place_in_glands(simulation, region_map, blood, rules.get(GLANDS), str(file))
    placed.append(PlacedTarget(build_target(GLANDS, "salivary duct", tissues.duct(), shares=shares), where))
    placed.append(_place_in_stomach(dose, phantom, build_target))
    for name in lesions:
        shares, where = _place_in_lesion(simulation, region_map, name, rules.get(LESIONS))
        placed.append(PlacedTarget(build_target(name, name, tissues.tumour(), shares=shares), where))
    return placed


def _place_in_glands(
    simulation: Simulation, region_map: RegionMap, blood: float, rule: Mapping[str, list[str]] | None, where: str
) -> tuple[dict[str, float] | None, str]:
    """Shares of decays by region of the duct, and in words. `blood` is the glands' share of all blood."""
    if not rule:
        return None, "evenly"
    known = tissues.duct().volume
    for region in rule:
        if region not in known:
            raise BadInput(f"a salivary duct has no region `{region}`", where=where, hint=", ".join(known))
    compartments = region_map.compartments[_simulated_nuclide(simulation)]
    glands = compartments.get(GLANDS, ())
    total = _count_decays(simulation, glands)
    if BLOOD in compartments and region_map.blood_is == "all":
        total += blood * _count_decays(simulation, compartments[BLOOD])
    decays = {region: _count_decays(simulation, _match_names(glands, p)) for region, p in rule.items()}
    shares = {region: d / total if total else 0.0 for region, d in decays.items()}
    return shares, _describe_shares(shares, "evenly around")


def _place_in_lesion(
    simulation: Simulation, region_map: RegionMap, name: str, rule: Mapping[str, list[str]] | None
) -> tuple[dict[str, float] | None, str]:
    """What is in cells is spread over nucleus and cytoplasm by volume: an anion that nothing binds."""
    compartments = region_map.compartments[_simulated_nuclide(simulation)].get(name, ())
    total = _count_decays(simulation, compartments)
    if not rule or not total:
        return None, "evenly"
    inside = _count_decays(simulation, _match_names(compartments, rule.get("cells", []))) / total
    volume = tissues.tumour().volume
    cell = volume["nucleus"] + volume["cytoplasm"]
    shares = {k: inside * volume[k] / cell for k in ("nucleus", "cytoplasm")} | {"interstitium": 1 - inside}
    return shares, f"{inside:.0%} in cells, evenly within them"


def _place_in_stomach(dose: AbsorbedDose, phantom: Phantom, build_target: Callable[..., Target]) -> PlacedTarget:
    """The target of the stomach: by the mucosa's own mean dose where the model has activity in it, else by the wall's."""
    hours, known = dose.tiac.hours[dose.nuclide], load_regions(phantom)
    if MUCOSA not in hours:
        return PlacedTarget(build_target(STOMACH, "gastric mucosa", tissues.gastric_mucosa()), "evenly in the wall")
    activity = float(np.asarray(dose.tiac.administered)[0])

    def mean_dose(region: str) -> float:
        """Gy of alphas within it."""
        decays = float(np.asarray(hours[region])[0]) * 3600 * activity * 1e6
        return decays * alpha_energy(dose.nuclide) * MEV / (_region_mass(dose, known, region) * 1e-3)

    layer = known[MUCOSA].layer
    assert layer is not None
    tissue, mucosa = tissues.gastric_mucosa(thick=layer[1] * 1e4), mean_dose(MUCOSA)
    beyond, where = None, "evenly in the mucosa"
    if CONTENTS in hours and mucosa:
        beyond = {"contents": mean_dose(CONTENTS) / mucosa}
        where += f"; contents with {beyond['contents']:.2g} of its concentration"
    return PlacedTarget(build_target(STOMACH, "gastric mucosa", tissue, mucosa, beyond=beyond), where)


def _region_mass(dose: AbsorbedDose, known: Any, region: str) -> float:
    """g, of the first patient."""
    return float(np.asarray(dose.masses.get(region, known[region].mass)).reshape(-1)[0])


def _simulated_nuclide(simulation: Simulation) -> str:
    assert simulation.model is not None and simulation.model.nuclide is not None
    return simulation.model.nuclide


def _count_decays(simulation: Simulation, names: Iterable[str]) -> float:
    """Decays (h) of the first patient: to infinity, or to the last time where that is not known."""
    assert simulation.integral is not None
    integrals = simulation.to_infinity or {k: v[-1] for k, v in simulation.integral.items()}
    return sum(float(integrals[name_amount(n)][0]) for n in names)


def _match_names(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    return [n for n in names if any(fnmatchcase(n, p) for p in patterns)]


def _describe_shares(shares: Mapping[str, float], rest: str) -> str:
    parts = [f"{v:.0%} in the {k}" for k, v in shares.items()]
    return ", ".join([*parts, f"{1 - sum(shares.values()):.0%} {rest}"])
