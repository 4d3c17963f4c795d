"""Are NUTS's posteriors calibrated? Parameters are drawn from the prior and data from them; the rank of the truth among the
draws of the posterior is uniform, or the sampler is wrong.

Talts, Betancourt, Simpson, Vehtari & Gelman 2018 (arXiv:1804.06788). Theophylline's design, variances held; 50 replicates.

    python benchmarks/nuts_calibration.py [--replicates 50] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from typing import Any

import pbpk  # noqa: F401  before JAX: the cache and float64

# isort: split
import jax
import numpy as np
from clock import figures, machine, versions
from scipy import stats

from pbpk.estimation.bayes.nuts import Nuts
from pbpk.likelihood.replicates import draw_replicate, replace_observations
from pbpk.study.load import load_study

PRIORS = {"KA": 1.5, "CL": 2.5, "V": 30.0, "add": 1.0}  # log-normal, SD 0.2 of the logarithm
SETTINGS = {f"parameters.{n}.iiv_fixed": "true" for n in ("KA", "CL", "V")} | {
    f"priors.{n}.{k}": v
    for n, value in PRIORS.items()
    for k, v in (("distribution", "lognormal"), ("value", str(value)), ("sd", "0.2"))
}
AT = [0, 1, 2, 6]  # of KA, CL, V and add among the parameters


def ranks(replicates: int) -> tuple[np.ndarray, float]:
    """(replicates, 4) ranks 0 … 33 of the truth among 33 draws, thinned by three; seconds each after the first."""
    problem = load_study("theophylline", settings=SETTINGS).problem
    method = Nuts(chains=1, warmup=200, draws=99)
    layout, initial = problem.structure.layout, np.asarray(problem.initial)
    found, draws_of, begun = [], jax.jit(draw_replicate), 0.0
    for k in range(replicates):
        rng, natural = np.random.default_rng([9, k]), initial.copy()
        natural[AT] = initial[AT] * np.exp(0.2 * rng.standard_normal(len(AT)))
        y, _ = draws_of(problem, layout.to_unconstrained(natural), jax.random.key(k))
        none = np.full(problem.observed_mask.shape, np.inf)
        own = replace(problem, observed=replace_observations(problem, y, -none, none).observed)
        seeded = replace(method, seed=k)
        state = seeded.init(own)
        while not state.finished:
            state, _ = seeded.step(own, state)
        found.append((state.more["psi"][0, ::3] < np.log(natural[AT])).sum(axis=0))
        print(f"{k + 1} of {replicates}", file=sys.stderr, flush=True)
        begun = begun or time.perf_counter()
    return np.array(found), (time.perf_counter() - begun) / max(replicates - 1, 1)


def measure(replicates: int) -> dict[str, Any]:
    of, each = ranks(replicates)
    p = {
        n: figures(float(stats.kstest((c + 0.5) / 34, "uniform").pvalue), 3) for n, c in zip(PRIORS, of.T, strict=True)
    }
    return {
        "replicates": replicates,
        "kolmogorov_smirnov_p": p,
        "mean_rank": (of.mean(0) / 33).tolist(),
        "seconds_each": each,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    found = measure(given.replicates)
    if given.json:
        found |= {
            "benchmark": "nuts_calibration",
            "machine": machine(),
            "versions": versions("jax", "numpyro", "numpy"),
        }
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(f"{k}: {v}" for k, v in found.items()))


if __name__ == "__main__":
    main()
