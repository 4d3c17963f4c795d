"""What does it cost to judge a design, and are the errors it expects those that refits report?

Evaluation and search of three samples for an oral model (32 subjects), compiled beforehand; and, unless --quick, the relative
standard errors expected of fits/alpha_t1_recovery at its true values beside the medians of its twenty refitted trials.

    python benchmarks/design.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pbpk

# isort: split
import numpy as np
from clock import best, figures, machine, versions

from pbpk.study.load import load_study

ORAL = """
model = "oral_one_compartment"
data = { file = "data.csv", observable = "cp", dose_into = "depot" }
[parameters]
CL = { initial = 0.15, iiv = 0.07 }
V = { initial = 8.0, iiv = 0.02 }
KA = { initial = 1.0, iiv = 0.6 }
[error.cp]
model = "combined2"
prop = 0.1
add = 0.03162277660168379
fixed = ["add"]
"""
TRUTH = {  # fits/alpha_t1_recovery/simulate.py
    "lesion_1.expression": "0.08",
    "lesion_1.efflux": "0.9",
    "astatide.salivary.Vmax": "25",
    "astatide.stomach.Vmax": "6",
    "body.gfr": "100",
    "astatide.cells": "0.65",
    "parameters.lesion_1.expression.iiv": "0.49",
    "parameters.astatide.salivary.Vmax.iiv": "0.09",
    "parameters.astatide.stomach.Vmax.iiv": "0.09",
    "parameters.body.gfr.iiv": "0.04",
    "error.plasma_concentration.prop": "0.1",
    "error.urine.prop": "0.1",
    "error.lesion_1.prop": "0.15",
    "error.salivary_glands.prop": "0.15",
    "error.stomach_wall.prop": "0.15",
}
REFITTED = {  # percent
    "lesion_1.expression": 21,
    "lesion_1.efflux": 18,
    "astatide.stomach.Vmax": 11,
    "astatide.salivary.Vmax": 13,
    "body.gfr": 6,
    "astatide.cells": 2,
    "OMEGA_body.gfr": 46,
    "OMEGA_lesion_1.expression": 44,
    "OMEGA_astatide.stomach.Vmax": 55,
    "OMEGA_astatide.salivary.Vmax": 110,
}


def oral(folder: Path) -> dict[str, Any]:
    (folder / "fit.toml").write_text(ORAL)
    (folder / "data.csv").write_text("ID,TIME,AMT\n1,0,70\n1,1,\n1,4,\n1,8,\n")
    study = load_study(folder, planned=True)
    grid = np.geomspace(0.01, 200, 60)
    runs = {
        "evaluate": lambda: pbpk.design(study, subjects=32),
        "exchange": lambda: pbpk.design(study, subjects=32, samples=3, times=grid),
        "continuous": lambda: pbpk.design(study, subjects=32, samples=3, windows=[(0.01, 200)]),
    }
    found = {}
    for name, run in runs.items():
        found[name] = {"minus_log_det": run().minus_log_det, **{k: figures(v) for k, v in best(run).items()}}
    return found


def recovered() -> dict[str, Any]:
    table = pbpk.design("alpha_t1_recovery", settings=TRUTH).parameters.set_index("name")["rse"]
    return {n: {"expected": figures(table[n], 3), "refitted": r} for n, r in REFITTED.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, Any] = {"oral": oral(Path(folder))}
    if not asked.quick:
        result["alpha_t1_recovery"] = recovered()
    result |= {"machine": machine(), "versions": versions("jax", "numpy", "scipy")}
    if asked.json:
        json.dump(result, sys.stdout, indent=1)
        return
    for name, row in result["oral"].items():
        print(f"{name:12} −ln det {row['minus_log_det']:.6f}  {row['wall_s']} s, {row['cpu_s']} s of processor")
    for name, row in result.get("alpha_t1_recovery", {}).items():
        print(f"{name:32} RSE expected {row['expected']} %, refitted {row['refitted']} %")


if __name__ == "__main__":
    main()
