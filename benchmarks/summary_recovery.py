"""What published summaries tell of a known truth: trials are simulated, reduced to a table of summaries, and refitted.

python benchmarks/summary_recovery.py [--replicates 50] [--json]

One compartment, CL and V log-normal. Each trial: 24 patients with a dose of 100 mg, of whom mean and SD of the concentration
at 1 and 6 h and of AUC are printed (two decimals), and 12 others with 50 mg, median and range of AUC. Measurements have an
error of 10 %.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import pbpk

TRUTH = {"CL": 3.0, "V": 20.0, "OMEGA_CL": 0.09, "OMEGA_V": 0.04}
NOISE = 0.1
TOML = """
model = "iv_one_compartment"
[parameters.CL]
initial = 2.0
iiv = 0.2
[parameters.V]
initial = 30.0
iiv = 0.1
[summary.groups.first]
n = 24
dose = "100 mg iv"
[summary.groups.second]
n = 12
dose = "50 mg iv"
[summary.quantities.auc]
kind = "integral"
observable = "cp"
noise = 0.1
[summary.quantities.c1]
kind = "value"
observable = "cp"
time = "1 h"
noise = 0.1
[summary.quantities.c6]
kind = "value"
observable = "cp"
time = "6 h"
noise = 0.1
"""


def table(rng: np.random.Generator) -> str:
    """The summaries of one simulated trial."""
    lines = ["group,quantity,statistic,value,unit,status,source"]
    for group, n, dose in (("first", 24, 100.0), ("second", 12, 50.0)):
        cl = TRUTH["CL"] * np.exp(np.sqrt(TRUTH["OMEGA_CL"]) * rng.normal(size=n))
        v = TRUTH["V"] * np.exp(np.sqrt(TRUTH["OMEGA_V"]) * rng.normal(size=n))
        patients = {"auc": dose / cl, "c1": dose / v * np.exp(-cl / v), "c6": dose / v * np.exp(-6 * cl / v)}
        size = np.sqrt(np.log1p(NOISE**2))
        seen = {k: x * np.exp(size * rng.normal(size=n) - size**2 / 2) for k, x in patients.items()}
        for name, x in seen.items():
            unit = "mg*h/L" if name == "auc" else "mg/L"
            if group == "first":
                found = {"mean": x.mean(), "sd": x.std(ddof=1)}
            elif name == "auc":
                found = {"min": x.min(), "median": np.median(x), "max": x.max()}
            else:
                continue
            lines += [f"{group},{name},{k},{y:.2f},{unit},assumed,simulated" for k, y in found.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rng = np.random.default_rng(20)
    estimates, inside, failed = [], [], 0
    for _ in range(asked.replicates):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "fit.toml").write_text(TOML)
            (Path(folder) / "summary.csv").write_text(table(rng))
            fit = pbpk.fit(folder)
        rows = fit.parameters.set_index("name").loc[list(TRUTH)]
        if not fit.successful or not np.isfinite(rows["se"]).all():
            failed += 1
            continue
        estimates.append(rows["estimate"].to_numpy())
        truth = np.array(list(TRUTH.values()))
        inside.append((rows["ci_low"].to_numpy() <= truth) & (truth <= rows["ci_high"].to_numpy()))
    ratio = np.array(estimates) / np.array(list(TRUTH.values())) - 1
    found = {
        name: {"bias": float(ratio[:, k].mean()), "spread": float(ratio[:, k].std(ddof=1)),
               "coverage": float(np.mean([i[k] for i in inside]))}
        for k, name in enumerate(TRUTH)
    }  # fmt: skip
    if asked.json:
        print(json.dumps({"replicates": asked.replicates, "failed": failed, "parameters": found}))
        return
    print(f"{asked.replicates} trials, {failed} not minimised or without standard errors")
    for name, f in found.items():
        bias, spread, coverage = (100 * f[k] for k in ("bias", "spread", "coverage"))
        print(f"{name:10} bias {bias:+6.1f} %   spread {spread:5.1f} %   coverage {coverage:.0f} %")


if __name__ == "__main__":
    main()
