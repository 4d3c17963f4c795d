"""Is SAEM's residual standard deviation biased, with and without values below a limit of quantification?

    python benchmarks/saem_bias.py [--trials 20] [--limit 2.0] [--json]

Trials of theophylline's design are drawn at its own estimates, values below the limit are censored (M3), and each is fitted
by SAEM and, on the same data, by maximising the likelihood by importance sampling. Maximum likelihood is itself a little
biased in twelve subjects, so the question is what SAEM adds: the mean of ln(σ by SAEM / σ by maximum likelihood).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import jax
import numpy as np

from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.methods import get_method
from pbpk.likelihood.problem import Problem
from pbpk.likelihood.replicates import draw_replicate, replace_observations
from pbpk.study.load import find_study, load_study

TRUE = {"KA": 1.583, "CL": 2.750, "V": 31.62, "OMEGA_KA": 0.405, "OMEGA_CL": 0.0703, "OMEGA_V": 0.0185, "add": 0.696}


def study_with_limit(limit: float) -> Problem:
    """Theophylline with an error model that knows a limit of quantification."""
    source = find_study("theophylline")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        text = (source / "fit.toml").read_text().replace("add = 1.0", f"add = 1.0\nlloq = {limit}")
        (folder / "fit.toml").write_text(text)
        (folder / "data.csv").write_text((source / "data.csv").read_text())
        return load_study(folder).problem


def sigma(method: EstimationMethod, problem: Problem) -> float | None:
    """The estimated residual SD; None where the fit did not converge."""
    state = method.init(problem)
    while not state.finished:
        state, _ = method.step(problem, state)
    natural = problem.structure.layout.to_natural(state.psi, problem.initial)
    return float(natural[problem.structure.layout.names.index("add")]) if state.status == "converged" else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--limit", type=float, default=2.0, help="mg/L; below it values are censored")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    problem = study_with_limit(asked.limit)
    psi = problem.structure.layout.to_unconstrained(np.array([TRUE[n] for n in problem.structure.layout.names]))
    simulate = jax.jit(lambda p, x, k: draw_replicate(p, x, k)[0])
    lower, upper = np.full(problem.y.shape, asked.limit), np.full(problem.y.shape, np.inf)
    pairs, censored = [], []
    for trial in range(asked.trials):
        y = simulate(problem, psi, jax.random.key(trial))
        given = jax.tree.map(np.asarray, replace_observations(problem, y, lower, upper))
        censored.append(float(np.asarray(given.observed.is_censored)[np.asarray(given.observed_mask)].mean()))
        pairs.append([sigma(get_method(m), given) for m in ("saem", "imp")])
    both = np.array([p for p in pairs if None not in p], float)
    of_true, of_ml = np.log(both[:, 0] / TRUE["add"]), np.log(both[:, 0] / both[:, 1])
    found = {
        "trials": len(pairs),
        "converged": len(both),
        "censored": round(float(np.mean(censored)), 3),
        "saem_over_true": round(float(np.exp(of_true.mean())), 4),
        "its_error": round(float(of_true.std(ddof=1) / np.sqrt(len(both))), 4),
        "saem_over_ml": round(float(np.exp(of_ml.mean())), 5),
        "that_error": round(float(of_ml.std(ddof=1) / np.sqrt(len(both))), 5),
    }
    print(json.dumps(found) if asked.json else "\n".join(f"{k:>15}  {v}" for k, v in found.items()))


if __name__ == "__main__":
    main()
