"""What can only be measured in a process of its own: time to compile, start of a second process, and memory.

A child is this file run with one case as JSON; it prints one JSON object. engine.py calls `compiled` and `memory`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Case = dict[str, Any]


def compiled(case: Case, *, second: bool, times: int = 1) -> Case:
    """Trace and compile seconds with an empty cache, the least of `times` runs, and of a second process if wanted."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_child(case, Path(folder) / str(i)) for i in range(times)]
        row = case | {k: min(r[k] for r in runs) for k in runs[0]}
        row["total_s"] = round(row["trace_s"] + row["compile_s"], 3)
        if second:
            again = [_child(case, Path(folder) / "0") for _ in range(times)]
            least = min(again, key=lambda r: r["trace_s"] + r["compile_s"])
            row |= {"second_trace_s": least["trace_s"], "second_compile_s": least["compile_s"]}
            row["second_total_s"] = round(least["trace_s"] + least["compile_s"], 3)
    return row


def memory(case: Case) -> Case:
    """Peak memory of one run beyond that of a process which has done the same for one patient.

    In a second process with the programs in its cache: compiling takes far more memory than running.
    """
    with tempfile.TemporaryDirectory() as folder:
        _child(case, Path(folder))
        return case | _child(case, Path(folder))


def _child(case: Case, cache: Path) -> Case:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PBPK_"))}
    env |= {"PBPK_CACHE": str(cache), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0" if case["measure"] == "memory" else "0.1"
    done = subprocess.run([sys.executable, __file__, json.dumps(case)], env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the child for {case} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _program(case: Case, batch: int):
    """(compiled-to-be, its arguments after p): p is (1, m, N) for ours, (m, N) for diffrax."""
    import ours
    import peers
    from body import body

    system = body(nonlinear=case["body"] == "saturable", compartments=case["compartments"])
    if case["solver"] in peers.METHODS:
        make = {"forward": peers.forward, "gradient": peers.gradient}[case["what"]]
        return system, make(system, case["solver"], batch), (case["rtol"], case["rtol"])
    make = {"forward": ours.forward, "gradient": ours.gradient}[case["what"]]
    return system, make(system, ours.ours(case["solver"], case["rtol"], case.get("grid")), batch), ()


def _measure_compile(case: Case) -> Case:
    import jax
    import truth

    batch = case["batch"]
    system, program, more = _program(case, batch)
    p = truth.patients(system, 4 * batch)
    jax.jit(lambda x: x + 1)(p).block_until_ready()  # start-up is not compile time
    clocks = [(time.perf_counter(), time.process_time())]
    lowered = program.lower(p[0] if more else p, *more)
    clocks.append((time.perf_counter(), time.process_time()))
    lowered.compile()
    clocks.append((time.perf_counter(), time.process_time()))
    (t0, c0), (t1, _), (t2, c2) = clocks
    return {"trace_s": round(t1 - t0, 3), "compile_s": round(t2 - t1, 3), "cpu_s": round(c2 - c0, 3)}


def _measure_memory(case: Case) -> Case:
    import jax
    import truth

    def run(batch: int, patients: int) -> float:
        system, program, more = _program(case, batch)
        p = truth.patients(system, patients)
        out = jax.block_until_ready(program(p[0] if more else p, *more))
        return sum(x.nbytes for x in jax.tree.leaves(out)) / 2**20

    run(1, 1)
    before = _peak()
    answer = run(case["batch"], case["patients"])
    return {"peak_mb": round(_peak() - before, 1), "before_mb": round(before, 1), "answer_mb": round(answer, 1)}


def _peak() -> float:
    """MiB. Not `getrusage`, where Linux counts what the parent held when it started this process."""
    try:
        with open("/proc/self/status", encoding="utf-8") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    import pbpk  # noqa: F401  before JAX: the cache and float64

    given = json.loads(sys.argv[1])
    print(json.dumps({"compile": _measure_compile, "memory": _measure_memory}[given["measure"]](given)))
