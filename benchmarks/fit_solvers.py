"""Does a study end at one OFV whichever solver it is fitted with, and which is fastest?

Each study is fitted by FOCEI with the resolvent, with rodas5p and with Kvaerno5 of diffrax: the OFV reached, the seconds
of the fit (compiled beforehand by one step) and of one evaluation of objective and gradient. `bolus_2cpt` (120 subjects, 2280
observations) needs the reference data: give the folder that holds bolus_2cpt_single_dose.csv.

    python benchmarks/fit_solvers.py [--data FOLDER] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pbpk  # noqa: F401  before JAX: the cache and float64

# isort: split
import numpy as np
from clock import figures, machine, versions

from pbpk.estimation.methods import get_method
from pbpk.study.load import load_study

SOLVERS = ("resolvent", "rodas5p", "kvaerno5")
BOLUS = """
model = "iv_two_compartment"
[data]
file = "bolus_2cpt_single_dose.csv"
observable = "cp"
dose_into = "central"
ignore = ["LNDV", "DOSE", "V1", "CL", "Q", "V2", "SS", "SD"]
[parameters]
CL = { initial = 3.9, iiv = 0.1 }
V1 = { initial = 66, iiv = 0.1 }
Q = { initial = 4.0, iiv = 0.1 }
V2 = { initial = 48, iiv = 0.1 }
[error.cp]
model = "proportional"
prop = 0.2
"""


def measure(study: str | Path, solver: str, quick: bool) -> dict[str, Any]:
    problem = load_study(study, solver=solver).problem
    method = get_method("focei")
    etas = np.zeros((len(problem.structure.layout.etas), problem.subjects))
    begun = time.perf_counter()
    method.evaluate(problem, problem.initial_unconstrained, etas)
    compiled = time.perf_counter() - begun
    state, _ = method.step(problem, method.init(problem))
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        np.asarray(method.evaluate(problem, problem.initial_unconstrained, etas).objective)
        times.append(time.perf_counter() - begun)
    row = {
        "study": Path(study).name,
        "solver": solver,
        "evaluation_s": figures(min(times), 3),
        "first_call_s": figures(compiled, 3),
    }
    if not quick:
        begun = time.perf_counter()
        state = method.init(problem)
        while not state.finished:
            state, _ = method.step(problem, state)
        row |= {
            "ofv": round(float(state.ofv), 9),
            "iterations": state.iteration,
            "fit_s": figures(time.perf_counter() - begun, 3),
        }
    return row


def bolus_study(folder: Path, data: Path) -> Path:
    """A study folder in `folder`, with the records found in `data`."""
    bolus = folder / "bolus_2cpt"
    bolus.mkdir()
    shutil.copy(data / "bolus_2cpt_single_dose.csv", bolus)
    (bolus / "fit.toml").write_text(BOLUS, encoding="utf-8")
    return bolus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of bolus_2cpt_single_dose.csv")
    parser.add_argument("--quick", action="store_true", help="time one evaluation and fit nothing")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        studies: list[str | Path] = ["theophylline", "phenobarbital"]
        if given.data:
            studies.append(bolus_study(Path(folder), given.data))
        rows = []
        for study in studies:
            for solver in SOLVERS:
                rows.append(measure(study, solver, given.quick))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    report = {"question": "one OFV by every solver, and which is fastest", "rows": rows}
    report |= {"versions": versions("jax", "jaxlib", "diffrax", "numpy"), "machine": machine()}
    if given.json:
        print(json.dumps(report, indent=2))
        return
    for row in rows:
        print("  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
