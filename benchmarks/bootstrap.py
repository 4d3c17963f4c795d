"""How long a bootstrap takes: replicates of theophylline by FOCEI, compiled beforehand, and one after another as fits.

    python benchmarks/bootstrap.py [--json] [--quick]

Seconds of the wall and of the processor for N replicates, of compiling, and of a refit by the ordinary fit from the study's
initial values, without standard errors, which is what a replicate costs one at a time. Profiles and SIR of the same run are
timed beside.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pbpk.runtime  # noqa: F401
from pbpk.estimation.methods import get_method
from pbpk.estimation.standard_errors import compute_standard_errors
from pbpk.study.load import load_study
from pbpk.uncertainty.bootstrap import BootstrapOptions, run_bootstrap
from pbpk.uncertainty.finished_fit import FinishedFit, build_finished_fit
from pbpk.uncertainty.fit_objective import FitObjective
from pbpk.uncertainty.profile import profile_likelihood
from pbpk.uncertainty.sir import SirOptions as Draws
from pbpk.uncertainty.sir import run_sir


def fitted(name: str) -> tuple[FinishedFit, Callable[[], Any]]:
    """A finished FOCEI fit, and the same fit again as a function."""
    study, method = load_study(name), get_method("focei")

    def again():
        state = method.init(study.problem)
        while not state.finished:
            state, _ = method.step(study.problem, state)
        return state

    state = again()
    free = ~study.problem.structure.layout.fixed_mask
    errors = compute_standard_errors(method, study.problem, state).covariance["R"][np.ix_(free, free)]
    return build_finished_fit(study, method, state, errors), again


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - processor


def measure(quick: bool) -> dict[str, float]:
    count = 100 if quick else 500
    fit, again = fitted("theophylline")
    refit = min(timed(again)[2] for _ in range(5))
    objective = FitObjective.compile(fit)
    figures = {
        "compile_s": objective.compile_seconds,
        "lanes": objective.width,
        "refit_processor_s": refit,
        "replicates": count,
    }
    for kind in ("case", "parametric"):
        found, wall, processor = timed(
            lambda kind=kind: run_bootstrap(fit, BootstrapOptions(count, kind), objective=objective)
        )
        figures |= {f"{kind}_s": wall, f"{kind}_processor_s": processor, f"{kind}_converged": found.kept}
        figures[f"{kind}_over_refits"] = count * refit / processor
        figures[f"{kind}_evaluations"] = float(found.table["evaluations"].mean())
    found, wall, processor = timed(lambda: profile_likelihood(fit, objective=objective))
    figures |= {"profile_s": wall, "profile_processor_s": processor, "profile_points": len(found.points)}
    draws = Draws((500, 1000), (200, 500)) if quick else Draws()
    found, wall, processor = timed(lambda: run_sir(fit, draws, objective=objective))
    figures |= {"sir_s": wall, "sir_processor_s": processor, "sir_samples": sum(draws.samples)}
    return figures | {"sir_effective": float(found.iterations["effective"].iloc[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="100 replicates, 1500 vectors")
    options = parser.parse_args()
    begun = os.getloadavg()[0]
    figures = measure(options.quick)
    from importlib.metadata import version

    result = {
        "benchmark": "bootstrap",
        "figures": figures,
        "versions": {"python": platform.python_version(), "jax": version("jax"), "diffrax": version("diffrax")},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load_before": begun},
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in figures.items():
            print(f"{name:<28}{value:>12.4f}")


if __name__ == "__main__":
    main()
