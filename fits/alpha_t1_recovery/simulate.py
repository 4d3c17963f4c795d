"""Writes data.csv: a trial of Alpha-T1's size, simulated from `nis_body` with known parameters.

    python fits/alpha_t1_recovery/simulate.py

Eleven patients at 1.25, 2.5 and 3.5 MBq/kg (2, 3 and 6 of them: inferred, see README.md); blood at eight times, urine at
four, SPECT of a lesion, the salivary glands and the stomach wall at 1, 6 and 24 h. The truth is in TRUTH and SPREAD;
nothing here is data of a patient.
"""

from pathlib import Path

import numpy as np
import pandas as pd

import pbpk

LEVELS = [1.25] * 2 + [2.5] * 3 + [3.5] * 6  # MBq/kg
TRUTH = {
    "lesion_1.expression": 0.08,
    "lesion_1.efflux": 0.9,
    "astatide.salivary.Vmax": 25.0,
    "astatide.stomach.Vmax": 6.0,
    "body.gfr": 100.0,
    "astatide.cells": 0.65,
}
SPREAD = {  # SDs of the log
    "lesion_1.expression": 0.7,
    "astatide.salivary.Vmax": 0.3,
    "astatide.stomach.Vmax": 0.3,
    "body.gfr": 0.2,
}
SEEN = {  # hours, and the SD of what is measured as a fraction
    "plasma_concentration": ([0.25, 0.5, 1, 2, 4, 8, 12, 24], 0.10),
    "urine": ([2, 6, 12, 24], 0.10),
    "lesion_1": ([1, 6, 24], 0.15),
    "salivary_glands": ([1, 6, 24], 0.15),
    "stomach_wall": ([1, 6, 24], 0.15),
}


def trial(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    lines = []
    for k, level in enumerate(LEVELS, start=1):
        weight = round(float(70 * np.exp(0.15 * rng.standard_normal())), 1)
        own = {n: v * float(np.exp(SPREAD.get(n, 0.0) * rng.standard_normal())) for n, v in TRUTH.items()}
        model = pbpk.load_model("nis_body", values=own | {"WT": weight})
        dose = round(level * weight, 2)
        times = np.array(sorted({t for at, _ in SEEN.values() for t in at}))
        path = pbpk.simulate(model, pbpk.dose(f"{dose} MBq", into="iv"), times, observe=list(SEEN))
        lines.append((k, 0.0, dose, "injected", "", "", weight))
        for name, (at, sd) in SEEN.items():
            true = np.asarray(path.observables[name]).ravel()
            lines += [
                (k, t, "", "", name, f"{x * (1 + sd * rng.standard_normal()):.5g}", weight)
                for t, x in zip(times, true, strict=True)
                if t in at
            ]
    table = pd.DataFrame(lines, columns=["ID", "TIME", "AMT", "CMT", "DVID", "DV", "WT"])
    return table.sort_values(["ID", "TIME"], kind="stable")


if __name__ == "__main__":
    trial(seed=20251).to_csv(Path(__file__).parent / "data.csv", index=False)
