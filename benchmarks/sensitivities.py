"""What derivatives forward of a saturable model cost, as fits take them: by compiled kernels, by the same solver in JAX, by
diffrax (Kvaerno5) in this project's event loop.

The saturable body of engine.py (24 compartments, 12 samples), `--patients` patients; one derivative along all parameters at
once, and the second along them, each with the value it needs; steps of each patient's own at rtol 1e-6. The first call
compiles, on an empty cache. On one core: with more, jaxlib's thread pool may wait for itself for ever in diffrax's second
derivatives. The error is that of the derivative, against the kernel's at 1e-9, relative to the largest of its
compartment and time.

    python benchmarks/sensitivities.py [--patients 256] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
EMPTY = tempfile.TemporaryDirectory()
os.environ["PBPK_CACHE"] = EMPTY.name  # before pbpk: nothing is compiled already

import pbpk  # noqa: E402, F401  before JAX: the cache and float64

# isort: split
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import ours  # noqa: E402
import truth  # noqa: E402
from body import TIMES, body  # noqa: E402
from clock import best, figures, machine, versions  # noqa: E402

from pbpk.compile.engine import using_engine  # noqa: E402
from pbpk.model.system import System  # noqa: E402
from pbpk.solve.base import Solver  # noqa: E402
from pbpk.solve.general import General  # noqa: E402
from pbpk.solve.rosenbrock import Rosenbrock  # noqa: E402

RTOL, TRUE = 1e-6, 1e-9
SOLVERS: dict[str, tuple[str, Solver]] = {
    "kernel": ("kernel", Rosenbrock(rtol=RTOL)),
    "jax": ("jax", Rosenbrock(rtol=RTOL)),
    "diffrax": ("diffrax", General(rtol=RTOL, atol=1e-4 * RTOL)),
}


def derivative(system: System, solver: Solver, order: int) -> Callable:
    """(p, direction) (1, m, N) -> the derivative of that order of all amounts (T, n, N)."""
    forward, plan, seen = solver.forward_mode(), ours.timeline(system), len(TIMES)

    def along(p: jax.Array, direction: jax.Array) -> jax.Array:
        f: Callable = lambda q: forward.solve(system, plan, q).amounts[:seen]  # noqa: E731
        for _ in range(order):
            f = lambda q, f=f: jax.jvp(f, (q,), (direction,))[1]  # noqa: E731
        return f(p)

    return jax.jit(along)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    system = body(nonlinear=True)
    p = jnp.asarray(truth.patients(system, given.patients))
    direction = 0.1 * p * np.random.default_rng(0).standard_normal(p.shape)
    rows: list[dict[str, Any]] = []
    for order in (0, 1, 2):
        with using_engine("kernel"):
            true = derivative(system, Rosenbrock(rtol=TRUE), order)(p, direction)
        largest = jnp.maximum(jnp.abs(true).max(axis=-1, keepdims=True), 1e-9)
        for name, (engine, solver) in SOLVERS.items():
            with using_engine(engine):
                run = derivative(system, solver, order)
                begun = time.perf_counter()
                found = jax.block_until_ready(run(p, direction))
                first = time.perf_counter() - begun
                warm = best(lambda run=run: jax.block_until_ready(run(p, direction)), 2.0)
            row = {"engine": name, "order": order, "patients": given.patients, "first_s": figures(first, 3)}
            row |= {"s": figures(warm["wall_s"], 3), "cpu_s": figures(warm["cpu_s"], 3)}
            rows.append(row | {"error_p95": figures(float(jnp.percentile(jnp.abs(found - true) / largest, 95)), 3)})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    by = {(r["engine"], r["order"]): r["s"] for r in rows}
    ratios = {
        f"{peer}_over_kernel_order_{k}": figures(by[peer, k] / by["kernel", k], 3)
        for k in (0, 1, 2)
        for peer in ("jax", "diffrax")
    }
    report = {"question": "derivatives forward of a saturable body", "rows": rows, "ratios": ratios}
    report |= {
        "versions": versions("jax", "jaxlib", "diffrax", "llvmlite", "numpy"),
        "machine": machine() | {"cpus": 1},
    }
    if given.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{'engine':>10}{'order':>7}{'first s':>10}{'warm s':>10}{'error':>11}")
    for r in rows:
        print(f"{r['engine']:>10}{r['order']:>7}{r['first_s']:>10.3g}{r['s']:>10.3g}{r['error_p95']:>11.2e}")
    for name, value in ratios.items():
        print(f"  {name:<32}{value:>8.3g}")


if __name__ == "__main__":
    main()
