"""Tables that a user owns: SAF files of ICRP 133, S values of OpenDose, of OLINDA or of one's own. None is shipped.

    absorbed_dose(simulation, table=icrp133_s_values("I-131", "adult-male", "folder with the .SAF files"))

Files name regions in their own way: `ICRP133` has the names of its files, `names` of `table_of` those of other tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pbpk import units
from pbpk.dosimetry.constants import GY_PER_MEV_G
from pbpk.dosimetry.phantom.body import Phantom, check_phantom
from pbpk.dosimetry.progeny import count_in_situ_decays
from pbpk.dosimetry.svalues import BODY, LUNG_BLOOD, SValues, list_sources, list_targets, s_values
from pbpk.errors import BadInput, nearest_names
from pbpk.nuclides.emissions import ELECTRONS, PHOTONS, load_emissions
from pbpk.tables import read_csv, read_text

if TYPE_CHECKING:
    from pbpk.nuclides import Evaluation

ICRP133 = {
    "adrenals": "Adrenals",
    "adipose": "Adipose",
    "bladder_contents": "UB-cont",
    "bladder_wall": "UB-wall",
    "brain": "Brain",
    "breasts": "Breast",
    "cartilage": "Cartilage",
    "cortical_surface": "C-bone-S",
    "cortical_volume": "C-bone-V",
    "endosteum": "Endost-BS",
    "gallbladder_contents": "GB-cont",
    "gallbladder_wall": "GB-wall",
    "heart_wall": "Ht-wall",
    "kidneys": "Kidneys",
    "left_colon_contents": "LC-cont",
    "left_colon_mucosa": "LC-mucosa",
    "left_colon_wall": "LC-wall",
    "liver": "Liver",
    "lungs": "Lung-Tis",
    "lymph_nodes": "LN-Sys",
    "muscle": "Muscle",
    "oesophagus_contents": "Oesophag-f",
    "oesophagus_wall": "Oesophag-w",
    "oral_cavity": "O-cavity",
    "ovaries": "Ovaries",
    "pancreas": "Pancreas",
    "prostate": "Prostate",
    "rectosigmoid_contents": "RS-cont",
    "rectosigmoid_mucosa": "RS-mucosa",
    "rectosigmoid_wall": "RS-wall",
    "red_marrow": "R-marrow",
    "right_colon_contents": "RC-cont",
    "right_colon_mucosa": "RC-mucosa",
    "right_colon_wall": "RC-wall",
    "salivary_glands": "S-glands",
    "skin": "Skin",
    "small_intestine_contents": "SI-cont",
    "small_intestine_mucosa": "SI-mucosa",
    "small_intestine_wall": "SI-wall",
    "spleen": "Spleen",
    "stomach_contents": "St-cont",
    "stomach_mucosa": "St-mucosa",
    "stomach_wall": "St-wall",
    "testes": "Testes",
    "thymus": "Thymus",
    "thyroid": "Thyroid",
    "trabecular_surface": "T-bone-S",
    "trabecular_volume": "T-bone-V",
    "uterus": "Uterus",
    "yellow_marrow": "Y-marrow",
}
_LAYERS = {
    "stomach_wall": "St-stem",
    "small_intestine_wall": "SI-stem",
    "right_colon_wall": "RC-stem",
    "left_colon_wall": "LC-stem",
    "rectosigmoid_wall": "RS-stem",
    "oesophagus_wall": "Oesophagus",
    "lungs": "AI",
    "airways": "Bronch-bas",
}


def read_icrp133(path: Path | str) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Read one SAF file of ICRP 133: energies (MeV) and SAF (1/g) by (target, source).

    Five lines of head, the energies in the fourth. Raises `BadInput` for any other file.
    """
    lines = read_text(Path(path)).split("\n")
    if len(lines) < 6 or "<-" not in lines[5]:
        raise BadInput(
            "is not a SAF file of ICRP 133", where=str(path), hint="rcp-am_photon_2016-08-12.SAF, for example"
        )
    head = lines[3].split()[2:]
    energy = np.array([float(x) for x in head if _number(x)])
    fractions = {}
    for k, line in enumerate(lines[5:], 6):
        if "<-" not in line:
            continue
        target, _, rest = line.partition("<-")
        words = rest.split()
        values = [float(x) for x in words[1:] if _number(x)][: len(energy)]
        if len(values) != len(energy):
            raise BadInput(f"{len(values)} values for {len(energy)} energies", where=f"{path} row {k}")
        fractions[target.strip(), words[0]] = np.array(values) / 1e3
    return energy, fractions


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def icrp133_s_values(
    nuclide: str, phantom: str, folder: Path | str, recoil: bool = False, evaluation: Evaluation = "ensdf"
) -> SValues:
    """Make S values from a user's SAF files of alphas, electrons and photons in `folder`, under our names of regions.

    Ours stand in where ICRP 133 has no such region. Raises `BadInput` for a missing file.
    """
    body = check_phantom(phantom)
    sex = {"adult-male": "am", "adult-female": "af"}[body]
    files = {}
    for particle in ("alpha", "electron", "photon"):
        names = sorted(Path(folder).glob(f"*{sex}_{particle}*.SAF"))
        if not names:
            raise BadInput(f"no file *{sex}_{particle}*.SAF", where=str(folder))
        files[particle] = read_icrp133(names[-1])
    ours = s_values(nuclide, body, recoil, evaluation)
    s = np.zeros_like(ours.s)
    beams = {"alpha": ("alpha",), "electron": ELECTRONS, "photon": PHOTONS}
    for share, name in ((w, n) for n, w in count_in_situ_decays(nuclide).items()):
        lines = load_emissions(name, evaluation)
        for i, (particle, kinds) in enumerate(beams.items()):
            e, n = lines.discrete(*kinds)
            energy, saf = files[particle]
            for j, source in enumerate(ours.sources):
                for k, target in enumerate(ours.targets):
                    row = saf.get((_LAYERS.get(target, ICRP133.get(target, "")), ICRP133.get(source, "")))
                    if row is not None and len(e):
                        s[i, k, j] += share * float((e * n) @ np.interp(e, energy, row)) * GY_PER_MEV_G
    # ours where ICRP has no such region: blood in vessels and organs, the mean over the body
    filled = np.where(s.sum(axis=(0, 1), keepdims=True) > 0, s, ours.s)
    filled[:, ours.targets.index(BODY)] = ours.s[:, ours.targets.index(BODY)]
    j, lungs = ours.sources.index(LUNG_BLOOD), ours.sources.index("lungs")
    filled[:, :, j] = np.where(ours.s[:, :, j] > 0, ours.s[:, :, j], filled[:, :, lungs] * 0)
    return SValues(
        body, nuclide, ours.targets, ours.sources, filled, ours.mass, ours.self_irradiation, np.zeros_like(ours.error)
    )


def read_opendose(path: Path | str, source: str) -> dict[tuple[str, str], float]:
    """Read S in Gy/(Bq·s) by (target, source) of a JSON file of OpenDose, one source: rows [target, mGy/(MBq·s), sd, mass]."""
    try:
        rows = json.loads(read_text(Path(path)))
        return {(str(r[0]), source): float(r[1]) * 1e-9 for r in rows}
    except (ValueError, TypeError, IndexError) as e:
        raise BadInput(f"is not an OpenDose file ({e})", where=str(path)) from None


def read_s_table(path: Path | str) -> dict[tuple[str, str], float]:
    """Read S in Gy/(Bq·s) by (target, source) of a CSV file.

    Long (target, source, S, unit), or wide as OLINDA prints it: a first column of targets and one column for each source, in
    mGy/(MBq·s).
    """
    rows = read_csv(Path(path))
    columns = list(rows.columns)
    s: dict[tuple[str, str], float] = {}

    def value(text: str, row: int) -> float:
        if not _number(text):
            raise BadInput(f'"{text}" is no number', where=f"{path} row {row}")
        return float(text)

    if {"target", "source", "S"} <= set(columns):
        for row, r in zip(rows.index, rows.to_dict("records"), strict=True):
            unit = r.get("unit") or "mGy/(MBq*s)"
            factor = units.require_dimension(unit, "Gy/(Bq*s)", f"S in {unit}", where=f"{path} row {row}")
            s[r["target"], r["source"]] = value(r["S"], row) * factor / units.unit_factor("Gy/(Bq*s)")
        return s
    for row, r in zip(rows.index, rows.to_dict("records"), strict=True):
        for source in columns[1:]:
            s[r[columns[0]], source] = value(r[source], row) * 1e-9
    return s


def table_of(
    s: Mapping[tuple[str, str], float], nuclide: str, phantom: str, names: Mapping[str, str] | None = None
) -> SValues:
    """Make a user's S values a table for `absorbed_dose`. `names` says what is ours: {"Urinary bladder wall": "bladder_wall"}.

    Regions of neither name are refused; what the table lacks is 0. The table says nothing of radiations: all of it counts as
    `electron`, so it is not for alpha emitters.
    """
    body: Phantom = check_phantom(phantom)
    translation, targets, sources = names or {}, list_targets(body), list_sources(body)
    out = np.zeros((3, len(targets), len(sources)))
    for (target, source), value in s.items():
        t, u = translation.get(target, _ours(target)), translation.get(source, _ours(source))
        for name, known in ((t, targets), (u, sources)):
            if name not in known:
                close = "".join(f"did you mean `{n}`? " for n in nearest_names(name, known, count=1))
                raise BadInput(f"no region `{name}`", hint=f"{close}names={{theirs: ours}} translates")
        out[1, targets.index(t), sources.index(u)] = value
    ours = s_values(nuclide, body)
    if ours.s[0].any():
        raise BadInput("a table without radiations cannot be used for an alpha emitter", hint="icrp133_s_values")
    return SValues(
        body, nuclide, targets, sources, out, ours.mass, ours.self_irradiation & False, np.zeros_like(ours.error)
    )


def _ours(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
