"""What is measured of the compiled kernels alone, in a process of its own: time to compile, share of the processor's peak,
and what the second core adds. engine.py calls `measured`; a child is this file run with one case as JSON.
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
PATIENTS = 10_000
Case = dict[str, Any]


def compiling(case: Case) -> Case:
    """Processor seconds to write and to compile the kernels of a solution, `what` forward or gradient, nothing cached."""
    return _child(case | {"measure": "kernel_compile"}, None)


def running(case: Case) -> Case:
    """Patients/s at 10⁴ patients on all cores and on one; the share of the peak that one core's is."""
    every = _child(case | {"measure": "kernel_speed"}, None)
    one = _child(case | {"measure": "kernel_speed"}, 1)
    return every | {
        "one_core_patients_per_s": one["patients_per_s"],
        "all_cores_over_one": _short(every["patients_per_s"] / one["patients_per_s"]),
        "one_core_gflops": one["gflops"],
        "one_core_peak_gflops": one["peak_gflops"],
        "share_of_peak": _short(one["gflops"] / one["peak_gflops"]),
    }


def _child(case: Case, cores: int | None) -> Case:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PBPK_"))}
    with tempfile.TemporaryDirectory() as folder:
        env |= {"PBPK_CACHE": folder, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "PBPK_ENGINE": "kernel"}
        line = [sys.executable, __file__, json.dumps(case | ({} if cores is None else {"cores": cores}))]
        done = subprocess.run(line, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the child for {case} failed:\n{done.stderr[-2000:]}")
    return case | json.loads(done.stdout)


def _compile(case: Case) -> Case:
    import jax
    import ours
    import truth
    from body import body

    from pbpk.compile.xla import bind, jit

    spent = {"write_s": 0.0, "generate_s": 0.0}

    def timed(name: str, function):
        def run(*arguments):
            begun = time.process_time()
            try:
                return function(*arguments)
            finally:
                spent[name] += time.process_time() - begun

        return run

    bind.write_assembly, jit.generate_code = (
        timed("write_s", bind.write_assembly),
        timed("generate_s", jit.generate_code),
    )
    system = body(nonlinear=case["body"] == "saturable", compartments=case["compartments"])
    solver = ours.ours(case["solver"], case["rtol"], case.get("grid"))
    make = {"forward": ours.forward, "gradient": ours.gradient}[case["what"]]
    jax.block_until_ready(make(system, solver, 64)(truth.patients(system, 64)))
    return {k: _short(v) for k, v in spent.items()} | {"kernel_s": _short(sum(spent.values()))}


def _speed(case: Case) -> Case:
    import jax
    import ours
    import truth
    from clock import best
    from flops import of_solution
    from kernel import probe

    from pbpk.compile.xla import jit

    system = truth.bodies()[case["body"]]
    solver = ours.ours(case["solver"], case["rtol"], case.get("grid"))
    run, p = ours.forward(system, solver, PATIENTS), jax.device_put(truth.patients(system, PATIENTS))
    jax.block_until_ready(run(p))
    seconds = best(lambda: jax.block_until_ready(run(p)), 5.0)["wall_s"]
    flops = of_solution(system, solver, ours.timeline(system), p[..., : jit.host_processor().lanes])
    peak, operations = probe(4 * 256)
    peak()
    speed = PATIENTS / seconds
    return {
        "patients": PATIENTS,
        "patients_per_s": _short(speed),
        "flops_per_patient": round(flops),
        "gflops": _short(speed * flops / 1e9),
        "peak_gflops": _short(operations / best(peak, 2.0)["wall_s"] / 1e9),
    }


def _short(x: float) -> float:
    return float(f"{x:.4g}")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if given.get("cores") and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given["cores"]])
    import pbpk  # noqa: F401  before JAX: the cache and float64

    print(json.dumps({"kernel_compile": _compile, "kernel_speed": _speed}[given["measure"]](given)))
