"""A published whole-body PBPK fitted to real data: mavoglurant, 120 subjects, by FOCEI with standard errors.

    python benchmarks/mavoglurant/run.py --data mavoglurant.csv [--out RUN] [--subjects 20] [--set NAME=VALUE] [--priors]

Prints one JSON object: OFV, estimates, standard errors, seconds of compiling and of running; the run's folder, with its
report and figures, is `--out`. The data are nlmixr2data's `mavoglurant` as CSV and are not part of this project.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

# What Elmokadem et al. 2023 held about the six estimated numbers beforehand: medians and SDs of their logarithms.
PRIORS = {"CLint": 7.1, "brain.Kb": 1.1, "muscle.Kb": 0.3, "adipose.Kb": 2.0, "bone.Kb": 0.03, "rest.Kb": 0.3}
PRIOR_SD = 0.25


def write_study(folder: Path, data: Path, subjects: int | None = None, priors: bool = False) -> Path:
    """The study with its records: each occasion starts at time 0 again, so every dose but a subject's first resets the body
    (EVID 4); doses go into venous blood. `subjects`: that many from the first."""
    import pandas as pd

    frame = pd.read_csv(data)
    if subjects is not None:
        frame = frame[frame["ID"].isin(frame["ID"].unique()[:subjects])]
    dosed = frame["EVID"] == 1
    first = ~frame["ID"].where(dosed).duplicated()
    frame = frame.assign(EVID=frame["EVID"].mask(dosed & ~first, 4), CMT="venous")
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "data.csv", index=False)
    text = (HERE / "fit.toml").read_text(encoding="utf-8")
    if priors:
        from math import exp

        rows = [
            f'"{n}" = {{ distribution = "lognormal", value = {exp(m)!r}, sd = {PRIOR_SD} }}' for n, m in PRIORS.items()
        ]
        text += "\n[priors]\n" + "\n".join(rows) + "\n"
    (folder / "fit.toml").write_text(text, encoding="utf-8")
    shutil.copytree(HERE / "model", folder / "model", dirs_exist_ok=True)
    return folder


def measure(data: Path, out: Path | None, subjects: int | None, priors: bool, settings: dict[str, str]) -> dict:
    from pbpk import __version__
    from pbpk.commands.fit import fit_study

    with tempfile.TemporaryDirectory() as t:
        study = write_study(Path(t) / "mavoglurant", data, subjects, priors)
        clock = Clock()
        evaluate = objective(study, settings)
        clock.lap("reading")
        evaluate()
        clock.lap("compiling the objective, and one evaluation")
        for _ in range(3):
            evaluate()
        clock.lap("one evaluation", 3)
        with contextlib.redirect_stdout(sys.stderr):  # its table; stdout is for the JSON
            folder, code = fit_study(str(study), settings=settings, out=out or Path(t) / "run")
        clock.lap("the fit, its standard errors, diagnostics and report")
        result = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    clock.wall |= {f"of that, {k}": result["seconds"][k] for k in ("iterations", "standard errors")}
    return {
        "benchmark": "mavoglurant",
        "converged": code == 0,
        **{k: result[k] for k in ("subjects", "observations", "method", "solver", "ofv", "minus2ll", "verdict")},
        "parameter_estimates": result["parameter_estimates"],
        "standard_errors": result["standard_errors"],
        "standard_errors_sandwich": result["standard_errors_by_matrix"].get("sandwich", {}),
        "eta_shrinkage": result["eta_shrinkage"],
        "iterations": result["iterations"],
        "evaluations": result["function_evaluations"],
        "seconds": clock.wall,
        "processor_seconds": clock.processor,
        "settings": settings,
        "priors": priors,
        "run": str(folder) if out else None,
        "versions": {"pbpk": __version__, "python": platform.python_version()} | _versions(),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load": [LOAD, os.getloadavg()[0]]},
    }


class Clock:
    """Wall and processor seconds of one thing after another."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self.at = time.perf_counter(), time.process_time()

    def lap(self, what: str, times: int = 1) -> None:
        now = time.perf_counter(), time.process_time()
        self.wall[what], self.processor[what] = ((b - a) / times for a, b in zip(self.at, now, strict=True))
        self.at = now


def objective(study: Path, settings: dict[str, str]):
    """The objective with its gradient at the starting values, for all subjects; the fit then uses the same program."""
    import numpy as np

    from pbpk.estimation.methods import get_method
    from pbpk.study.load import load_study

    loaded = load_study(study, settings=settings)
    problem, method = loaded.problem, get_method(loaded.spec.estimation.method)
    eta = np.zeros((len(problem.structure.layout.etas), problem.columns))
    return lambda: np.asarray(method.evaluate(problem, problem.initial_unconstrained, eta).objective)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {p: version(p) for p in ("jax", "jaxlib", "numpy")}


LOAD = os.getloadavg()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="nlmixr2data's mavoglurant as CSV")
    parser.add_argument("--out", type=Path, help="the run folder, with the report; none is kept without it")
    parser.add_argument("--subjects", type=int, help="that many from the first, instead of all")
    parser.add_argument("--priors", action="store_true", help="with the priors of Elmokadem et al. 2023")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in options.settings)
    with tempfile.TemporaryDirectory() as empty:  # so that what compiles is seen
        os.environ["PBPK_CACHE"] = empty
        found = measure(options.data, options.out, options.subjects, options.priors, settings)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
