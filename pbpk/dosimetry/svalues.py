"""S values of a phantom: dose to each target per decay in each region, by radiation.

Charged particles stay in their region, but for what a small or thin one lets out (charged/bodies.py, slabs.py): from
contents and mucosa they reach the wall's target layer, from bone what ICRP 30 says of marrow and endosteum. Photons go by
our Monte Carlo. Charged particles from one solid organ to its neighbour are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import jax
import numpy as np

from pbpk.dosimetry.charged.bodies import absorbed_fraction, sphere_radius
from pbpk.dosimetry.charged.slabs import dose_from_contents, dose_from_layer
from pbpk.dosimetry.constants import GY_PER_MEV_G
from pbpk.dosimetry.phantom.body import BLOOD_MASS, ENDOSTEUM_MASS, Phantom, PhantomRegion, load_regions
from pbpk.dosimetry.progeny import count_in_situ_decays
from pbpk.dosimetry.saf import LOCAL_BELOW, PhotonFractions, load_photon_fractions
from pbpk.nuclides import Evaluation, load_nuclide
from pbpk.nuclides.emissions import ELECTRONS, PHOTONS, load_emissions

RADIATIONS = ("alpha", "electron", "photon")
AIRWAYS, BODY, LUNG_BLOOD = "airways", "total_body", "lungs_blood"
_BRONCHIAL = 0.02  # of all blood, in the airways' walls: ICRP 89
# Compiled once for spectra of many lengths: operation by operation, each length would be dozens of programs.
_absorbed_fraction = jax.jit(absorbed_fraction, static_argnums=2)
_from_contents = jax.jit(dose_from_contents, static_argnums=2)
_from_layer = jax.jit(dose_from_layer, static_argnums=3)
_THICK = 0.5  # g/cm², of a wall as a source: any depth that charged particles do not cross
# Of what is emitted on or in bone, the share that reaches it: ICRP 30, part 1, table 7.4 (alphas; electrons of 0.2 MeV and
# more)
_FROM_BONE = {
    ("red_marrow", "trabecular_surface"): (0.5, 0.5),
    ("red_marrow", "trabecular_volume"): (0.05, 0.35),
    ("endosteum", "trabecular_surface"): (0.25, 0.025),
    ("endosteum", "trabecular_volume"): (0.025, 0.025),
    ("endosteum", "cortical_surface"): (0.25, 0.015),
    ("endosteum", "cortical_volume"): (0.01, 0.015),
}


@dataclass(frozen=True, eq=False)
class SValues:
    """A table of S values at reference masses.

    `s` (radiations, targets, sources), Gy/(Bq·s); `mass` (sources,) g that charged particles from a source are diluted in, NaN
    where a patient's mass changes nothing; `self_irradiation` (targets, sources) marks a region's own photons, which go with
    m^(−2/3); `error` (targets, sources) the relative statistical error of the photons.
    """

    phantom: Phantom
    nuclide: str
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    s: np.ndarray
    mass: np.ndarray
    self_irradiation: np.ndarray
    error: np.ndarray


def list_targets(phantom: Phantom) -> tuple[str, ...]:
    """Names of the targets, in MIRDcalc's order, which is the alphabet's, the whole body last."""
    kinds = ("tissue", "wall", "marrow")
    hidden = ("adipose", "cartilage", "lymph_nodes", "yellow_marrow")
    named = [n for n, r in load_regions(phantom).items() if r.kind in kinds and n not in hidden]
    return (*sorted([*named, AIRWAYS, "endosteum"]), BODY)


def list_sources(phantom: Phantom) -> tuple[str, ...]:
    """Names of the sources: all regions, and the blood in the lungs apart."""
    return (*load_regions(phantom), LUNG_BLOOD)


def s_values(
    nuclide: str,
    phantom: Phantom,
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
    apart: frozenset[str] = frozenset(),
) -> SValues:
    """S values of a nuclide with the daughters that decay where it does and are not followed by the model itself (`apart`).

    Energy of recoils is counted only if asked for. Made once in a process, which takes up to half a minute.
    """
    with jax.ensure_compile_time_eval():  # numbers, even where the activities they meet are traced
        return _s_values(load_nuclide(nuclide).name, phantom, recoil, evaluation, apart)


@cache
def _s_values(
    nuclide: str, phantom: Phantom, recoil: bool, evaluation: Evaluation, followed: frozenset[str]
) -> SValues:
    known, targets, sources = load_regions(phantom), list_targets(phantom), list_sources(phantom)
    s = np.zeros((3, len(targets), len(sources)))
    lines = [
        (share, load_emissions(name, evaluation)) for name, share in count_in_situ_decays(nuclide, followed).items()
    ]
    beams = {"alpha": [], "electron": [], "photon": []}
    for share, emissions in lines:
        for radiation, kinds in (("alpha", ("alpha",)), ("electron", ELECTRONS), ("photon", PHOTONS)):
            e, n = emissions.discrete(*kinds)
            beams[radiation].append((e, n * share))
        if recoil:
            beams["alpha"].append((np.array([1e-3]), np.array([share * emissions.energy("recoil") / 1e-3])))
    spectra = {k: (np.concatenate([e for e, _ in v]), np.concatenate([n for _, n in v])) for k, v in beams.items()}
    energy, number = spectra["photon"]
    soft = energy < LOCAL_BELOW  # these go with the electrons, as electrons of no range
    spectra["photon"] = (energy[~soft], number[~soft])
    stays = float(energy[soft] @ number[soft])
    e, n = spectra["electron"]
    spectra["electron"] = (np.append(e, 1e-3), np.append(n, stays / 1e-3))

    for i, particle in enumerate(("alpha", "electron")):
        e, n = _pad_spectrum(*spectra[particle])
        if (n > 0).any():
            for j, source in enumerate(sources):
                for target, dose in _charged_doses(known, source, e, n, particle, phantom).items():
                    s[i, targets.index(target), j] = dose * GY_PER_MEV_G
    table = load_photon_fractions(phantom)
    energy, number = spectra["photon"]
    per_gram = table.interpolate(energy) @ (energy * number) if len(energy) else np.zeros(table.saf.shape[:2])
    s[2], itself = _photon_doses(known, targets, sources, table, per_gram)
    s[2] *= GY_PER_MEV_G
    mean = np.exp(np.log(energy) @ (energy * number) / (energy @ number)) if len(energy) else 1.0
    near = int(np.argmin(abs(np.log(table.energy / mean))))
    error = _select_pairs(known, targets, sources, table, table.relative_error[..., near])
    mass = np.array([_diluting_mass(known, n) for n in sources])
    return SValues(phantom, nuclide, targets, sources, s, mass, itself, error)


def _pad_spectrum(e: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With lines of no particles, up to a multiple of 32: spectra of one length share a program."""
    more = -len(e) % 32
    return np.pad(e, (0, more), constant_values=1.0), np.pad(n, (0, more))


def _diluting_mass(known: dict[str, PhantomRegion], source: str) -> float:
    """g; NaN for bone surfaces and volumes, blood and such."""
    name = "lungs" if source == LUNG_BLOOD else source
    region = known[name]
    return region.mass if region.kind in ("tissue", "wall", "marrow", "contents", "mucosa") else np.nan


def _charged_doses(
    known: dict[str, PhantomRegion], source: str, e: np.ndarray, n: np.ndarray, particle, phantom: Phantom
) -> dict[str, float]:
    """MeV/g by target, per decay."""
    name = "lungs" if source == LUNG_BLOOD else source
    region, energy = known[name], float(e @ n)
    body_mass = sum(r.mass for r in known.values() if r.kind not in ("contents", "mucosa"))
    doses = {BODY: energy / body_mass}
    if region.kind in ("tissue", "marrow"):
        radius = float(sphere_radius(region.mass / region.parts))
        inside = float((e * n) @ np.asarray(_absorbed_fraction(e, np.full(e.shape, radius), particle)))
        if name in list_targets(phantom):
            doses[name] = inside / region.mass
        if name == "lungs":
            blood = BLOOD_MASS[phantom]
            tissue = region.mass - region.blood * blood
            share = 1.0 if source == "lungs" else _BRONCHIAL / region.blood
            doses[AIRWAYS] = share * energy / (tissue + _BRONCHIAL * blood)
        if name == "red_marrow":
            doses["endosteum"] = doses[name]
    elif region.kind == "wall":
        layer = region.layer or (0.0, _THICK)
        depth = layer[1] if layer[0] == 0 else _THICK
        doses[name] = float((e * n) @ np.asarray(_from_layer(e, (0.0, depth), layer, particle))) / region.mass
    elif region.kind == "mucosa":
        thick = region.layer or (0.0, _THICK)
        layer = known[region.wall].layer or (0.0, _THICK)
        doses[region.wall] = float((e * n) @ np.asarray(_from_layer(e, thick, layer, particle))) / region.mass
    elif region.kind == "contents" and region.wall in known:
        layer = known[region.wall].layer or (0.0, _THICK)
        doses[region.wall] = float((e * n) @ np.asarray(_from_contents(e, layer, particle))) / region.mass
    elif region.kind == "bone":
        grams = {"red_marrow": known["red_marrow"].mass, "endosteum": ENDOSTEUM_MASS[phantom]}
        for (target, bone), share in _FROM_BONE.items():
            if bone == name:
                doses[target] = share[particle != "alpha"] * energy / grams[target]
    return doses


def _photon_target(known: dict[str, PhantomRegion], target: str) -> str:
    """The photon table's target that stands for one of ours."""
    if target in ("endosteum", BODY):
        return target
    return "lungs" if target == AIRWAYS else known[target].photons


def _photon_source(known: dict[str, PhantomRegion], source: str) -> str:
    """The photon table's source that stands for one of ours."""
    return "lungs" if source == LUNG_BLOOD else known[source].photons


def _select_pairs(known, targets, sources, table: PhotonFractions, of: np.ndarray) -> np.ndarray:
    """Pick ours, (targets, sources), from an array over the photon table's sources and targets."""
    rows = [table.sources.index(_photon_source(known, n)) for n in sources]
    columns = [table.targets.index(_photon_target(known, n)) for n in targets]
    return of[np.ix_(rows, columns)].T


def _photon_doses(
    known, targets, sources, table: PhotonFractions, per_gram: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """MeV/g (targets, sources), with a region's own photons carried from the phantom's mass to the reference mass."""
    doses = _select_pairs(known, targets, sources, table, per_gram)
    itself = np.zeros(doses.shape, bool)
    for j, source in enumerate(sources):
        name = "lungs" if source == LUNG_BLOOD else source
        if name in targets and known[name].kind in ("tissue", "wall") and known[name].photons != "other":
            i = targets.index(name)
            itself[i, j] = True
            doses[i, j] *= (table.mass[table.targets.index(known[name].photons)] / known[name].mass) ** (2 / 3)
    return doses, itself
