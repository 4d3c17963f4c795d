"""How long does a first answer take to compile, and does it grow with the number of compartments?

The field's tools trace each compartment by itself and compile in time proportional to their number (7.5 s at 62 in the
sketch that this library began with). Here fluxes are grouped by law and pivots by level, and 200 compartments should
cost little more than 6. Each case runs in a fresh process without the compile cache.

    python benchmarks/compile.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from itertools import pairwise

SIZES = (6, 24, 62, 200)
SOLVERS = ("general", "resolvent")


def body(n: int):
    """A body of n compartments: half of them hang on the blood, half on their neighbour; exchange, clearance, decay."""
    import random

    from pbpk.model import OUT, Block, Compartment, clearance, conc, flow, flux, physical_decay
    from pbpk.model.system import build_system

    chance = random.Random(0)
    cells = [Compartment(f"c{i}", "mg", volume=f"V{i}") for i in range(n)]
    fluxes = [flux(cells[0] >> OUT, clearance, c=conc(cells[0]), cl="CL"), *physical_decay(*cells)]
    for i in range(1, n):
        near = cells[0] if chance.random() < 0.5 else cells[i - 1]
        for a, b in ((near, cells[i]), (cells[i], near)):
            fluxes.append(flux(a >> b, flow, c=conc(a), q=f"Q{i}"))
    return build_system(Block(tuple(cells), tuple(fluxes)))


def measure(kind: str, n: int) -> dict[str, float]:
    """Seconds to trace and to compile one dose and ten observations of one patient, in this process."""
    import jax
    import numpy as np
    import pandas as pd

    from pbpk.solve.general import General
    from pbpk.solve.resolvent import Resolvent
    from pbpk.solve.timeline import build_timeline

    empty = {"RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "c0"}
    rows = [{"TIME": 0.0, "EVID": 1, "AMT": 100.0, "MDV": 1, **empty}]
    rows += [{"TIME": float(t), "EVID": 0, "AMT": 0.0, "MDV": 0, **empty} for t in range(1, 11)]
    system = body(n)
    timeline = build_timeline([pd.DataFrame(rows)], system)
    p = np.ones((1, len(system.parameter_names), 1))
    solver = General() if kind == "general" else Resolvent()
    assert not solver.unsupported_reason(system)
    jax.jit(lambda x: x + 1)(p).block_until_ready()  # start-up is not compile time

    clocks = [(time.perf_counter(), time.process_time())]
    lowered = jax.jit(lambda q: solver.solve(system, timeline, q)).lower(p)
    clocks.append((time.perf_counter(), time.process_time()))
    lowered.compile()
    clocks.append((time.perf_counter(), time.process_time()))
    (trace, trace_cpu), (xla, xla_cpu) = ((b[0] - a[0], b[1] - a[1]) for a, b in pairwise(clocks))
    return {"trace_s": trace, "compile_s": xla, "trace_cpu_s": trace_cpu, "compile_cpu_s": xla_cpu}


def in_fresh_process(kind: str, n: int, times: int) -> dict:
    """The least of `times` runs: other work on the machine only ever adds."""
    env = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, "--one", kind, str(n)]
    runs = [
        json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
        for _ in range(times)
    ]
    least = {k: round(min(r[k] for r in runs), 3) for k in runs[0]}
    cpu = round(least["trace_cpu_s"] + least["compile_cpu_s"], 3)
    return {"solver": kind, "compartments": n, **least, "cpu_s": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="6 and 200 compartments only, once each")
    parser.add_argument("--one", nargs=2, metavar=("SOLVER", "N"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], int(given.one[1]))))
        return

    sizes, times = ((6, 200), 1) if given.quick else (SIZES, 3)
    rows = [in_fresh_process(kind, n, times) for kind in SOLVERS for n in sizes]
    # The ratios are of processor time, which a busy machine disturbs less than the clock on the wall.
    total = {(r["solver"], r["compartments"]): r["cpu_s"] for r in rows}
    report = {
        "question": "how does compile time grow with the number of compartments?",
        "rows": rows,
        "ratios": {f"{kind}_200_over_6": round(total[kind, 200] / total[kind, 6], 3) for kind in SOLVERS},
        "runs_each": times,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("jax", "jaxlib", "diffrax")},
        "machine": {"processor": _processor(), "cpus": os.cpu_count(), "system": platform.system(), "device": "cpu"},
    }
    print(json.dumps(report, indent=2) if given.json else _table(report))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _table(report: dict) -> str:
    lines = [f"{'solver':<12}{'compartments':>14}{'trace s':>10}{'compile s':>11}{'cpu s':>10}"]
    for r in report["rows"]:
        lines.append(
            f"{r['solver']:<12}{r['compartments']:>14}{r['trace_s']:>10.2f}{r['compile_s']:>11.2f}{r['cpu_s']:>10.2f}"
        )
    lines += [f"{name}: {value:.2f}" for name, value in report["ratios"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
