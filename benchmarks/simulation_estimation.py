"""Are estimates unbiased and intervals honest where a fifth of the values lie below the limit? Simulated trials, fitted again.

    python benchmarks/simulation_estimation.py                       # 100 trials, Laplace with M3
    python benchmarks/simulation_estimation.py --method saem --replicates 20
    python benchmarks/simulation_estimation.py --json

A two-compartment model after a bolus, 60 subjects with 8 samples each, random effects on CL and V1, a proportional residual,
and a limit of quantification that 20 % of the values fall below. Every trial is drawn from the truth and fitted from values
20 % off it; its 95 % intervals (by the R matrix, logarithmic for what is positive) either hold the truth or not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import pbpk  # noqa: F401  (64 bits, before JAX)

TRUTH = {"CL": 5.0, "V1": 10.0, "Q": 8.0, "V2": 30.0, "OMEGA_CL": 0.09, "OMEGA_V1": 0.06, "prop": 0.15}
TIMES = (0.25, 0.75, 2.0, 4.0, 8.0, 14.0, 20.0, 26.0)
SUBJECTS, BELOW = 60, 0.20
TOML = """
model = "iv_two_compartment"
data = {{ observable = "cp", dose_into = "central" }}
[parameters]
CL = {{ initial = {CL}, iiv = {OMEGA_CL} }}
V1 = {{ initial = {V1}, iiv = {OMEGA_V1} }}
Q = {{ initial = {Q} }}
V2 = {{ initial = {V2} }}
[error.cp]
model = "proportional"
prop = {prop}
lloq = {lloq}
blq = "M3"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="laplace")
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = run(asked.method, asked.replicates, asked.seed)
    print(json.dumps(found, indent=1) if asked.json else table(found))


def run(name: str, replicates: int, seed: int) -> dict:
    import jax

    from pbpk.estimation.methods import get_method
    from pbpk.estimation.standard_errors import compute_standard_errors
    from pbpk.estimation.state import CONVERGED
    from pbpk.likelihood.parameter_layout import natural_with_jacobian
    from pbpk.likelihood.replicates import draw_replicate, find_censoring_limits, replace_observations

    study, lloq = designed()
    problem, layout = study.problem, study.problem.structure.layout
    truth = np.array([TRUTH[n] for n in layout.names])
    psi_true = layout.to_unconstrained(truth * study.scale)
    method = get_method(name)
    method = method.configure(study.spec.estimation, seed)
    simulate = jax.jit(lambda p, key: draw_replicate(p, psi_true, key)[0])
    lower, upper = find_censoring_limits(problem)
    estimates, inside, failed, share, seconds = [], [], 0, [], []
    for r in range(replicates):
        clock = time.perf_counter()
        key = jax.random.fold_in(jax.random.key(seed), r)
        trial = replace_observations(problem, simulate(problem, key), lower, upper)
        trial = jax.tree.map(np.asarray, trial)
        share.append(float((trial.observed.is_censored & trial.observed_mask).sum() / trial.observed_mask.sum()))
        trial = method.prepare(trial)
        state = method.init(trial)
        while not state.finished:
            state, _ = method.step(trial, state)
        natural = np.asarray(natural_with_jacobian(layout, state.psi, trial.initial)[0]) / study.scale
        sure = compute_standard_errors(method, trial, state)
        seconds.append(time.perf_counter() - clock)
        if state.status != CONVERGED or "R" not in sure.covariance:
            failed += 1
            continue
        se = np.sqrt(np.diag(sure.covariance["R"])) / study.scale
        spread = np.exp(1.959964 * se / natural)
        estimates.append(natural)
        inside.append((natural / spread <= truth) & (truth <= natural * spread))
    estimates, inside = np.array(estimates), np.array(inside)
    bias = estimates.mean(axis=0) / truth - 1
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates)) / truth
    return {
        "method": name,
        "replicates": replicates,
        "failed": failed,
        "below_limit": float(np.mean(share)),
        "lloq": lloq,
        "bias": dict(zip(layout.names, bias.tolist(), strict=True)),
        "bias_standard_error": dict(zip(layout.names, error.tolist(), strict=True)),
        "coverage": dict(zip(layout.names, inside.mean(axis=0).tolist(), strict=True)),
        "seconds_a_trial": float(np.median(seconds)),
        "seconds_first": seconds[0],
    }


def designed():
    """The study with starting values 20 % off, its data a placeholder, and the limit below which a fifth of the truth lies."""
    import jax

    from pbpk.likelihood.replicates import draw_replicate
    from pbpk.study.load import load_study

    folder = Path(tempfile.mkdtemp(prefix="pbpk-sse-"))
    rows = ["ID,TIME,EVID,AMT,DV"]
    for i in range(1, SUBJECTS + 1):
        rows.append(f"{i},0,1,100,.")
        rows += [f"{i},{t},0,0,1.0" for t in TIMES]
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    start = {n: x * (1.2 if k % 2 else 0.8) for k, (n, x) in enumerate(TRUTH.items())}
    (folder / "fit.toml").write_text(TOML.format(**start, lloq=1e-9))
    first = load_study(folder)
    truth = np.array([TRUTH[n] for n in first.problem.structure.layout.names]) * first.scale
    psi = first.problem.structure.layout.to_unconstrained(truth)
    y = np.asarray(jax.jit(lambda p, k: draw_replicate(p, psi, k)[0])(first.problem, jax.random.key(0)))
    lloq = float(np.quantile(y[np.asarray(first.problem.observed_mask)], BELOW))
    either = (",1000", f",{lloq / 2!r}")  # some of each, so that the study has both kinds
    rows = [r.replace(",1.0", either[k % 9 == 8]) if r.endswith(",1.0") else r for k, r in enumerate(rows)]
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    (folder / "fit.toml").write_text(TOML.format(**start, lloq=lloq))
    return load_study(folder), lloq


def table(found: dict) -> str:
    lines = [
        f"{found['method']}: {found['replicates']} trials, {found['failed']} failed,"
        f" {100 * found['below_limit']:.1f} % below the limit,"
        f" {found['seconds_a_trial']:.2f} s each (first {found['seconds_first']:.1f} s)",
        f"{'':10} {'bias %':>8} {'± SE':>6} {'coverage %':>11}",
    ]
    for n, bias in found["bias"].items():
        error, share = found["bias_standard_error"][n], found["coverage"][n]
        lines.append(f"{n:10} {100 * bias:8.2f} {100 * error:6.2f} {100 * share:11.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
