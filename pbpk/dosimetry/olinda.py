"""A case file for OLINDA/EXM 2: time-integrated activities by OLINDA's source organs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pbpk.dosimetry.phantom.body import Phantom, load_regions
from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.dosimetry.tiac import Tiac

_SOURCES = {
    "Adrenals": ("adrenals",),
    "Brain": ("brain",),
    "Breasts": ("breasts",),
    "Esophagus": ("oesophagus_contents",),
    "Eyes": (),
    "Gallbladder Contents": ("gallbladder_contents",),
    "LLI Contents": ("left_colon_contents",),
    "Small Intestine": ("small_intestine_contents",),
    "Stomach Contents": ("stomach_contents", "oral_cavity"),
    "ULI Contents": ("right_colon_contents",),
    "Rectum": ("rectosigmoid_contents",),
    "Heart Contents": ("heart_contents",),
    "Heart Wall": ("heart_wall",),
    "Kidneys": ("kidneys",),
    "Liver": ("liver",),
    "Lungs": ("lungs",),
    "Muscle": ("muscle",),
    "Ovaries": ("ovaries",),
    "Pancreas": ("pancreas",),
    "Prostate": ("prostate",),
    "Salivary Glands": ("salivary_glands",),
    "Red Marrow": ("red_marrow",),
    "Cortical Bone": ("cortical_surface", "cortical_volume"),
    "Trabecular Bone": ("trabecular_surface", "trabecular_volume"),
    "Spleen": ("spleen",),
    "Testes": ("testes",),
    "Thymus": ("thymus",),
    "Thyroid": ("thyroid",),
    "Urinary Bladder Contents": ("bladder_contents",),
    "Uterus": ("uterus",),
    "Fetus": (),
    "Placenta": (),
    "Total Body": (),
}
_REST = "Total Body"  # OLINDA takes what is named here as spread over the body, less what has an organ of its own
_MODEL = {"adult-male": ("ICRP 89 Adult Male", 73000.0), "adult-female": ("ICRP 89 Adult Female", 60000.0)}


def format_olinda_case(tiac: Tiac, phantom: Phantom) -> str:
    """The text of a case file for OLINDA/EXM 2, of the first patient.

    What OLINDA has no source for (walls, blood, other) goes to its `Total Body`. Alphas in walls lose their meaning in that, so
    a case with activity in a wall or mucosa is for photons and betas. Raises `BadInput` for more than one nuclide.
    """
    if len(tiac.hours) > 1:
        raise BadInput(
            "a case file holds one nuclide", hint="daughters that are followed apart need a file of their own"
        )
    hours = {k: float(np.asarray(v)[0]) for k, v in tiac.hours[tiac.nuclide].items()}
    by_source = {name: sum(hours.pop(r, 0.0) for r in regions) for name, regions in _SOURCES.items()}
    by_source[_REST] = sum(hours.values())
    model, body_mass = _MODEL[phantom]
    known = load_regions(phantom)
    mass = {n: sum(known[r].mass for r in regions if r in known) for n, regions in _SOURCES.items()} | {
        _REST: body_mass
    }
    organs = [f"{n}|{mass[n]:.1f}|{v:.6f}" for n, v in by_source.items()]
    targets = [f"{n}|{mass[n]:.1f}" for n in _SOURCES]
    kinetic = [f"{n}|{v:.6f}" for n, v in by_source.items()]
    lines = [
        "Saved by pbpk",
        "[BEGIN CASE FILE]",
        *_format_section("NUCLIDE SETTINGS", ["USE_DECAY_SERIES|false", "USE_LEGACY_DATA|false"]),
        *_format_section("NUCLIDES", [f"{tiac.nuclide}|"]),
        *_format_section("MODEL SETTINGS", []),
        "[BEGIN MODELS]",
        f"[BEGIN {model}]",
        f"{model}|A",
        *_format_section(f"{model} SOURCE ORGANS", organs),
        *_format_section(f"{model} MODEL OPTIONS", ["IS_BONE_ACTIVITY_ON_SURFACE|true"]),
        *_format_section(f"{model} TARGET ORGANS", targets),
        *_format_section(f"{model} MODEL TARGET ORGANS", ["TARGET_ORGAN_MASSES_ARE_FROM_USER_INPUT|FALSE"]),
        *_format_section("KINETIC DATA", kinetic),
        f"[END {model}]",
        "[END MODELS]",
        "[END CASE FILE]",
    ]
    return "\n".join(lines) + "\n"


def _format_section(name: str, rows: list[str]) -> list[str]:
    return [f"[BEGIN {name}]", *rows, f"[END {name}]"]
