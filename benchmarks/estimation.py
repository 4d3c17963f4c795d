"""How long does a population fit take, by method, beside other programs on the same data in the same run?

Theophylline (12 subjects, 132 samples) by each likelihood method, with standard errors apart; 500 bootstrap replicates; with
`--data`, bolus_2cpt (120 subjects, 2280 observations) as differential equations (rodas5p) and by the exact solver, with
standard errors. The first call, which compiles, stands apart. Peers: pynlme where it is installed, and FOCE of the same model
as a modeller would write it with SciPy: closed form, modes by least squares, BFGS outside, differences for slopes.

    python benchmarks/estimation.py [--data FOLDER] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pbpk  # noqa: F401  before JAX: the cache and float64

# isort: split
import numpy as np
import pandas as pd
from bootstrap import fitted
from clock import best, figures, machine, versions
from fit_solvers import bolus_study
from scipy.optimize import least_squares, minimize

from pbpk.estimation.methods import get_method
from pbpk.estimation.standard_errors import compute_standard_errors
from pbpk.study.load import load_study
from pbpk.uncertainty.bootstrap import BootstrapOptions, run_bootstrap
from pbpk.uncertainty.fit_objective import FitObjective

METHODS = ("fo", "foce", "focei", "laplace", "agq", "saem", "imp")
START = (1.5, 2.5, 30.0)  # KA (1/h), CL (L/h), V (L); variances 0.5, 0.1, 0.1; residual SD 1 mg/L


def ours(study: str | Path, method_name: str, solver: str | None = None) -> dict[str, Any]:
    loaded, method = load_study(study, solver=solver), get_method(method_name)
    problem = method.prepare(loaded.problem)
    kept: dict[str, Any] = {}

    def fit() -> None:
        state = method.init(problem)
        while not state.finished:
            state, _ = method.step(problem, state)
        kept["state"] = state

    def errors() -> None:
        kept["errors"] = compute_standard_errors(method, problem, kept["state"])

    row: dict[str, Any] = {"study": Path(study).name, "program": "pbpk", "method": method_name}
    row |= {"solver": solver or problem.structure.solver.name, "first_s": figures(seconds(fit), 3)}
    taken = best(fit)
    row |= {"fit_s": figures(taken["wall_s"], 3), "fit_cpu_s": figures(taken["cpu_s"], 3)}
    if hasattr(method, "evaluate") and method_name not in ("saem", "imp"):
        row |= {"errors_first_s": figures(seconds(errors), 3), "errors_s": figures(best(errors)["wall_s"], 3)}
    return row | {"ofv": round(float(kept["state"].ofv), 4), "status": kept["state"].status}


def seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def theophylline() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(132, 2) of time and dose, concentrations, subjects."""
    data = pd.read_csv(Path(__file__).parents[1] / "fits" / "theophylline" / "data.csv", na_values=".")
    dose = data[data["EVID"] == 1].set_index("ID")["AMT"]
    seen = data[data["EVID"] == 0]
    return np.column_stack([seen["TIME"], dose[seen["ID"]]]), seen["DV"].to_numpy(), seen["ID"].to_numpy()


def oral(phi: np.ndarray, x: np.ndarray) -> np.ndarray:
    ka, cl, v = phi
    k = cl / v
    return x[:, 1] * ka / (v * (ka - k)) * (np.exp(-k * x[:, 0]) - np.exp(-ka * x[:, 0]))


def by_scipy() -> dict[str, Any]:
    """FOCE with SciPy. Additive error, so that interaction changes nothing."""
    x, y, group = theophylline()
    each = [(x[group == g], y[group == g]) for g in np.unique(group)]
    modes = {g: np.zeros(3) for g in range(len(each))}

    def ofv(psi: np.ndarray) -> float:
        typical, spread, sigma = np.exp(psi[:3]), np.exp(psi[3:6] / 2), np.exp(psi[6])
        total = 0.0
        for g, (xs, ys) in enumerate(each):

            def rest(z, xs=xs, ys=ys):
                return np.concatenate([(ys - oral(typical * np.exp(spread * z), xs)) / sigma, z])

            found = least_squares(rest, modes[g], method="lm", xtol=1e-10)
            modes[g] = found.x
            total += 2 * found.cost + np.linalg.slogdet(found.jac.T @ found.jac)[1] + 2 * len(ys) * psi[6]
        return total

    start = np.array([*np.log(START), *np.log([0.5, 0.1, 0.1]), 0.0])
    begun = time.perf_counter()
    found = minimize(ofv, start, method="BFGS", options={"gtol": 1e-2, "eps": 1e-4})
    taken = time.perf_counter() - begun
    row = {"study": "theophylline", "program": "scipy", "method": "focei", "fit_s": figures(taken, 3)}
    return row | {"ofv": round(float(found.fun), 4), "evaluations": found.nfev, "status": "no standard errors"}


def by_pynlme(what: str) -> dict[str, Any] | None:
    try:
        import pynlme
    except ImportError:
        return None
    x, y, group = theophylline()
    given = {"ParamTransform": [1, 1, 1], "ComputeStdErrors": False}
    begun = time.perf_counter()
    if what == "saem":
        more = {"LogLikMethod": "is", "random_state": 1}
        _, _, stats, _ = pynlme.nlmefitsa(x, y, group, None, oral, np.log(START), **given, **more)
    else:
        _, _, stats, _ = pynlme.nlmefit(x, y, group, None, oral, np.log(START), ApproximationType=what.upper(), **given)
    taken = time.perf_counter() - begun
    ofv = -2 * float(stats.logl) - len(y) * np.log(2 * np.pi)
    row = {"study": "theophylline", "program": "pynlme", "method": what, "fit_s": figures(taken, 3)}
    return row | {"ofv": round(ofv, 4), "status": "no standard errors"}


def replicates(count: int) -> dict[str, Any]:
    fit, _ = fitted("theophylline")
    objective = FitObjective.compile(fit)
    taken = best(lambda: run_bootstrap(fit, BootstrapOptions(count, "case"), objective=objective))
    row = {"study": "theophylline", "program": "pbpk", "method": f"bootstrap of {count}"}
    return row | {"first_s": figures(objective.compile_seconds, 3), "fit_s": figures(taken["wall_s"], 3)}


def measure(data: Path | None, quick: bool) -> list[dict[str, Any]]:
    rows = [ours("theophylline", m) for m in (("focei", "saem") if quick else METHODS)]
    rows += [r for m in (("fo",) if quick else ("fo", "foce", "saem")) if (r := by_pynlme(m)) is not None]
    rows += [] if quick else [by_scipy(), replicates(500)]
    if data:
        with tempfile.TemporaryDirectory() as folder:
            bolus = bolus_study(Path(folder), data)
            rows += [ours(bolus, "focei", solver) for solver in ("rodas5p", "resolvent")]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of bolus_2cpt_single_dose.csv")
    parser.add_argument("--quick", action="store_true", help="FOCEI and SAEM only, with pynlme's FO")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    rows = measure(given.data, given.quick)
    if given.json:
        found = {"benchmark": "estimation", "rows": rows, "machine": machine()}
        print(json.dumps(found | {"versions": versions("jax", "numpy", "scipy", "pynlme")}, indent=1))
    else:
        print(pd.DataFrame(rows).to_string(index=False, na_rep=""))


if __name__ == "__main__":
    sys.exit(main())
