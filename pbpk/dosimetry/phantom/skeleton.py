"""Where active marrow, cortical and trabecular bone lie among the phantom's bones."""

from __future__ import annotations

# Of all active marrow, in the adult: Cristy 1981, Phys. Med. Biol. 26:389; sacrum with the pelvis.
MARROW_SHARES = {
    "cranium": 0.076,
    "face": 0.007,
    "scapulae": 0.028,
    "clavicles": 0.008,
    "ribs": 0.161,
    "sternum": 0.031,
    "cervical_spine": 0.039,
    "thoracic_spine": 0.161,
    "lumbar_spine": 0.123,
    "pelvis": 0.274,
    "femur_head": 0.067,
    "humerus_head": 0.023,
}
SHAFTS = ("leg_bones", "arm_bones")


def share_among_bones(part: str, mass: dict[str, float]) -> dict[str, float]:
    """Shares of `red_marrow`, `cortical_bone` or `trabecular_bone` by bone; `mass` (g) of the bones.

    Cortical bone is spread by mass, trabecular bone by mass outside the shafts: both assumed.
    """
    if part == "red_marrow":
        weights = {k: v for k, v in MARROW_SHARES.items() if k in mass}
    elif part == "cortical_bone":
        weights = mass
    else:
        weights = {k: m for k, m in mass.items() if k not in SHAFTS}
    total = sum(weights.values())
    return {k: v / total for k, v in weights.items()}
