"""How long a visual predictive check takes, and how much memory: 1,000 replicates of 100 subjects, warm and from cold.

    python benchmarks/vpc.py [--json] [--quick] [--subjects 100] [--replicates 1000]

The study is theophylline's twelve subjects repeated, 11 samples each, at its fitted parameters (resolvent). Seconds are wall
time, processor time beside them, of replicates, percentiles and intervals together; memory is the process's greatest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ESTIMATES = {
    "KA": 1.5898,
    "CL": 2.7516,
    "V": 31.809,
    "OMEGA_KA": 0.4024,
    "OMEGA_CL": 0.0691,
    "OMEGA_V": 0.01916,
    "add": 0.6944,
}


def repeated(folder: Path, subjects: int) -> Path:
    """Theophylline's study with as many subjects."""
    source = ROOT / "fits" / "theophylline"
    head, *lines = (source / "data.csv").read_text().splitlines()
    by: dict[str, list[str]] = {}
    for line in lines:
        who, rest = line.split(",", 1)
        by.setdefault(who, []).append(rest)
    own = list(by.values())
    many = [f"{i + 1},{rest}" for i in range(subjects) for rest in own[i % len(own)]]
    (folder / "fit.toml").write_text((source / "fit.toml").read_text())
    (folder / "data.csv").write_text("\n".join([head, *many]) + "\n")
    return folder


def measure(subjects: int, replicates: int, repeats: int) -> dict[str, float]:
    import pbpk  # noqa: F401
    from pbpk.diagnostics.fitted_model import build_fitted_study
    from pbpk.diagnostics.npde import compute_npde
    from pbpk.diagnostics.options import NpdeOptions, VpcOptions
    from pbpk.diagnostics.vpc import run_vpc
    from pbpk.study.load import load_study

    with tempfile.TemporaryDirectory() as place:
        study = load_study(repeated(Path(place), subjects))
    fit = build_fitted_study(study, study.problem, ESTIMATES)
    figures: dict[str, float] = {"subjects": subjects, "replicates": replicates}
    plan = VpcOptions(replicates=replicates)
    for name, run in {
        "vpc": lambda: run_vpc(fit, plan),
        "npde": lambda: compute_npde(fit, NpdeOptions(replicates)),
    }.items():
        begun = time.perf_counter()
        run()
        figures[f"{name}_first_s"] = time.perf_counter() - begun
        walls, cpus = [], []
        for _ in range(repeats):
            begun, cpu = time.perf_counter(), time.process_time()
            run()
            walls.append(time.perf_counter() - begun)
            cpus.append(time.process_time() - cpu)
        figures[f"{name}_warm_s"], figures[f"{name}_warm_cpu_s"] = statistics.median(walls), statistics.median(cpus)
    figures["peak_memory_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one repeat")
    parser.add_argument("--subjects", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args()
    begun = os.getloadavg()[0]
    result = {
        "benchmark": "vpc",
        "figures": measure(options.subjects, options.replicates, 1 if options.quick else 5),
        "versions": {"python": platform.python_version(), "jax": version("jax")},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load_before": begun},
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in result["figures"].items():
            print(f"{name:<24}{value:>12.4f}")


if __name__ == "__main__":
    main()
