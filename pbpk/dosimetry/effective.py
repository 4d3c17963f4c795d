"""Effective dose of ICRP 103: for the protection of a reference person, never for a patient's therapy.

It weighs alphas by 20 for stochastic effects. What an alpha does to a patient's glands or tumour is a matter of RBE, which is
smaller and depends on the effect; the two must not be mixed, and nothing else here uses w_R.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.dosimetry.target_doses import AbsorbedDose

ALPHA_WEIGHT = 20.0
TISSUE_WEIGHTS = {
    "red_marrow": 0.12,
    "lung": 0.12,
    "stomach_wall": 0.12,
    "breasts": 0.12,
    "colon": 0.12,
    "gonads": 0.08,
    "bladder_wall": 0.04,
    "oesophagus_wall": 0.04,
    "liver": 0.04,
    "thyroid": 0.04,
    "endosteum": 0.01,
    "brain": 0.01,
    "salivary_glands": 0.01,
    "skin": 0.01,
}
# Remainder, w = 0.12 in all; extrathoracic airways, lymph nodes and oral mucosa, which the phantom lacks, are left out of
# the mean.
REMAINDER = (
    *("adrenals", "gallbladder_wall", "heart_wall", "kidneys", "muscle", "pancreas", "small_intestine_wall"),
    *("spleen", "thymus"),
)
_SEX = {"adult-male": ("testes", "prostate"), "adult-female": ("ovaries", "uterus")}


def equivalent_dose(dose: AbsorbedDose) -> dict[str, Any]:
    """Equivalent dose by tissue of ICRP 103, mSv/MBq (N,): alphas by w_R = 20, all else by 1."""
    gonads, sex_organ = _SEX[dose.phantom]

    def h(target: str) -> Any:
        parts = {k: v[target] for k, v in dose.by_radiation.items()}
        return ALPHA_WEIGHT * parts["alpha"] + parts["electron"] + parts["photon"]

    doses = {t: h(t) for t in TISSUE_WEIGHTS if t not in ("lung", "colon", "gonads")}
    # lungs: airways 2/3 (bronchial and bronchiolar), alveoli 1/3; colon: by the masses of its walls, ICRP 133
    doses["lung"] = (2 * h("airways") + h("lungs")) / 3
    doses["colon"] = 0.4 * h("right_colon_wall") + 0.4 * h("left_colon_wall") + 0.2 * h("rectosigmoid_wall")
    doses["gonads"] = h(gonads)
    doses["remainder"] = sum(h(t) for t in (*REMAINDER, sex_organ)) / (len(REMAINDER) + 1)
    return doses


def effective_dose(male: AbsorbedDose, female: AbsorbedDose) -> Any:
    """Effective dose of a reference person, mSv/MBq (N,): tissues weighted, the mean of both sexes.

    Raises `BadInput` for doses that are not an adult male's and an adult female's, in this order.
    """
    if (male.phantom, female.phantom) != ("adult-male", "adult-female"):
        raise BadInput(
            "effective dose is the mean of an adult male's and an adult female's", hint="give both, in this order"
        )
    a, b = equivalent_dose(male), equivalent_dose(female)
    weights = {**TISSUE_WEIGHTS, "remainder": 0.12}
    return sum(w * (a[t] + b[t]) / 2 for t, w in weights.items())
