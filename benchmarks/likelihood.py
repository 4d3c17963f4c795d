"""What a population's likelihood and its gradient cost: in one call of machine code, by kernels with the likelihood in JAX, by
the JAX engine, by diffrax (Kvaerno5) in this project's event loop.

The bodies of engine.py (24 compartments, 12 concentrations of each patient with a combined error, a tenth of them below a
limit, M3), `--patients` patients; the gradient is by every parameter of every patient and both residual SDs. Steps of each
patient's own at rtol 1e-6. The error is that of the gradient, against the one call's at 1e-9, relative to each parameter's
largest; its 95th percentile.

    python benchmarks/likelihood.py [--patients 1024] [--without diffrax] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import pbpk  # noqa: F401  before JAX: the cache and float64

# isort: split
import jax
import jax.numpy as jnp
import numpy as np
import ours
import truth
from body import TIMES, body
from clock import best, figures, machine, versions

from pbpk.compile.engine import using_engine
from pbpk.likelihood.endpoints.base import Observed
from pbpk.likelihood.endpoints.compiled_terms import make_likelihood_data, make_likelihood_terms
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.model.system import System
from pbpk.solve.base import Solver
from pbpk.solve.general import General
from pbpk.solve.likelihood import minus2ll_of_readings
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock

RTOL, TRUE = 1e-6, 1e-9
NAMES = (("add", "add"), ("prop", "prop"))
SD = jnp.array([0.02, 0.15])


def observed(system: System, p: jax.Array) -> Observed:
    """One draw of what the patients' concentrations are measured as."""
    plasma = system.index("plasma")
    cp = Resolvent().solve if not system.nonlinear else Rosenbrock().solve
    exact = np.asarray(cp(system, ours.timeline(system), p, readings=((plasma,),)).amounts[:, 0])
    exact = exact / np.asarray(p)[0, system.parameter_index("V")]
    rng = np.random.default_rng(2)
    y = exact * (1 + 0.15 * rng.standard_normal(exact.shape)) + 0.02 * rng.standard_normal(exact.shape)
    limit = np.quantile(y, 0.1)
    below = y < limit
    low, high, floor = np.where(below, -np.inf, y), np.where(below, limit, y), np.full_like(y, -np.inf)
    return Observed(y, low, high, floor, np.broadcast_to(TIMES[:, None], y.shape), np.full(y.shape, -1))


def objective(system: System, solver: Solver, o: Observed, *, judged: bool) -> Callable:
    """(p (1, m, N), SDs) -> −2 ln likelihood of all."""
    endpoints = (GaussianEndpoint("cp", "cp", NAMES, "combined2", has_limits=True),)
    judge, plan = make_likelihood_terms(system, endpoints), ours.timeline(system)
    assert judge is not None
    seen = np.ones((len(TIMES), o.y.shape[1]), bool)

    def run(p: jax.Array, sd: jax.Array) -> jax.Array:
        facts = make_likelihood_data(system, endpoints, p, np.zeros(seen.shape), seen, o, {"add": sd[0], "prop": sd[1]})
        if judged:
            found = solver.solve_likelihood(system, plan, p, judge, facts)  # type: ignore[attr-defined]
            return jnp.sum(found.minus2ll)
        return jnp.sum(
            minus2ll_of_readings(judge, facts, solver.solve(system, plan, p, readings=judge.readings).amounts)
        )

    return run


def solvers(nonlinear: bool, without: list[str]) -> dict[str, tuple[str, Solver, bool]]:
    own: Solver = Rosenbrock(rtol=RTOL) if nonlinear else Resolvent()
    rows = {
        "one call": ("kernel", own, True),
        "kernels": ("kernel", own, False),
        "jax": ("jax", own, False),
        "diffrax": ("diffrax", General(rtol=RTOL, atol=1e-4 * RTOL), False),
    }
    return {k: v for k, v in rows.items() if k not in without}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1024)
    parser.add_argument("--without", nargs="*", default=[], help="rows to leave out")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for nonlinear in (False, True):
        system = body(nonlinear=nonlinear)
        p = jnp.asarray(truth.patients(system, given.patients))
        o = observed(system, p)
        exact: Solver = Rosenbrock(rtol=TRUE) if nonlinear else Resolvent(rtol=1e-12)
        with using_engine("kernel"):
            true = jax.jit(jax.grad(objective(system, exact, o, judged=True)))(p, SD)
        largest = jnp.maximum(jnp.abs(true).max(axis=-1, keepdims=True), 1e-300)  # of some parameters nothing follows
        for name, (engine, solver, judged) in solvers(nonlinear, given.without).items():
            with using_engine(engine):
                f = objective(system, solver, o, judged=judged)
                value, slope = jax.jit(f), jax.jit(jax.value_and_grad(f, (0, 1)))
                _, (found, _) = jax.block_until_ready(slope(p, SD))
                jax.block_until_ready(value(p, SD))
                alone = best(lambda value=value, p=p: jax.block_until_ready(value(p, SD)), 2.0)
                warm = best(lambda slope=slope, p=p: jax.block_until_ready(slope(p, SD)), 2.0)
            error = float(jnp.percentile(jnp.abs(found - true) / largest, 95))
            row = {"body": "saturable" if nonlinear else "linear", "engine": name, "patients": given.patients}
            row |= {"value_s": figures(alone["wall_s"], 3), "gradient_s": figures(warm["wall_s"], 3)}
            rows.append(row | {"error_p95": figures(error, 3)})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    by = {(r["body"], r["engine"]): r for r in rows}
    ratios = {
        f"{kind}_{what}_{peer.replace(' ', '_')}_over_one_call": figures(
            r[f"{what}_s"] / by[kind, "one call"][f"{what}_s"], 3
        )
        for (kind, peer), r in by.items()
        if peer != "one call"
        for what in ("value", "gradient")
    }
    for kind in ("linear", "saturable"):
        one = by[kind, "one call"]
        ratios[f"{kind}_gradient_over_value"] = figures(one["gradient_s"] / one["value_s"], 3)
    report = {"question": "a population's likelihood and its gradient", "rows": rows, "ratios": ratios}
    report |= {"versions": versions("jax", "jaxlib", "diffrax", "llvmlite", "numpy"), "machine": machine()}
    if given.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{'body':>10}{'engine':>10}{'value s':>11}{'gradient s':>12}{'error':>11}")
    for r in rows:
        print(f"{r['body']:>10}{r['engine']:>10}{r['value_s']:>11.3g}{r['gradient_s']:>12.3g}{r['error_p95']:>11.2e}")
    for name, value in ratios.items():
        print(f"  {name:<48}{value:>8.3g}")


if __name__ == "__main__":
    main()
