"""How fast is the compiled resolvent against the same algorithm in JAX, and how near to what the processor can do?

The linear body of engine.py (24 compartments, 12 samples), the same windows of samples for both, from the same
parameters; compiled code inside `jit`, from a call to the arrays it returns. The share of the peak is that of additions,
multiplications and divisions (each one operation) in what a probe by the same emitter reaches with fused multiplications
and additions alone (each two), on one thread, at its best in the whole run.

    python benchmarks/kernel.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pbpk  # noqa: F401  before JAX: the cache and float64

# isort: split
import jax
import jax.numpy as jnp
import numpy as np
import ours
import truth
from body import DOSE, body
from clock import figures, machine, versions

from pbpk.compile import compile_linear
from pbpk.compile.backend.base import Buffer
from pbpk.compile.backend.llvm import LlvmBackend
from pbpk.compile.backend.llvm_kernel import write_kernel
from pbpk.compile.programs.linear.layout import LinearWindow
from pbpk.compile.programs.linear.window import LinearWindowForward, propagate_window
from pbpk.compile.xla import jit
from pbpk.compile.xla.bind import write_assembly
from pbpk.compile.xla.handler import CHUNK, write_handler
from pbpk.errors import MissingExtra
from pbpk.linalg.packing import plan_packing
from pbpk.linalg.series import design
from pbpk.model.system import System
from pbpk.solve.resolvent import propagate_reversibly
from pbpk.solve.series_window import ResolventWindow

RTOLS = (1e-4, 1e-9)  # the first gives 1e-6 on this body, the second is the engine's usual
SIZES = (24, 100, 200)  # compartments, for the time to compile
FUSED, TURNS = 16, 4000  # of the probe: sums side by side, and how often


class Count:
    """A machine that only counts: what one patient's additions, multiplications and divisions are."""

    def __init__(self):
        self.flops, self.times = 0, 1

    def read(self, buffer, row):
        return Number(self)

    def write(self, buffer, row, value): ...

    def scratch(self, count):
        return None

    def get(self, room, at):
        return Number(self)

    def put(self, room, at, value): ...

    def loop(self, count, body, carry=()):
        self.times *= count
        after = body(0, *[Number(self) for _ in carry])
        self.times //= count
        return list(after)

    def number(self, *_):
        return Number(self)

    size = root = larger = choose = scale = number


@dataclass(frozen=True, eq=False)
class Number:
    count: Count

    def operation(self, *_):
        self.count.flops += self.count.times
        return self

    def __radd__(self, other):
        return self if other == 0 else self.operation()

    def __neg__(self):
        return self

    __add__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = operation


def windows(system: System) -> tuple[float, list[np.ndarray]]:
    """The span, and window by window the hours from its start to its samples."""
    plan = ours.timeline(system)
    assert plan.windows is not None
    at, found = 0.0, []
    for stops in plan.windows.stop_events[:, :, 0]:
        times = np.unique(plan.time[stops, 0])
        if times[-1] > at:
            found.append(times - at)
            at = times[-1]
    return plan.windows.span, found


def by_kernel(system: System, rtol: float, integrals: bool) -> Callable:
    """p (m, N) -> amounts at all samples (T, n, N), the last integrals and the errors."""
    span, stops = windows(system)
    kernel = compile_linear(system, design(span, rtol * 1e-4), integrals=integrals)

    def crossing(rates: jax.Array, x: jax.Array, own: np.ndarray):
        found = kernel(rates, x, jnp.asarray(own))
        return found.amounts, found.integrals, found.error

    return jax.jit(lambda p: _samples(system, stops, p, system.rate_jacobian, crossing))


def by_jax(system: System, rtol: float, integrals: bool) -> Callable:
    """The same, by the JAX engine's crossing of a window."""
    span, stops = windows(system)
    window = ResolventWindow(system, design(span, rtol * 1e-4), integrals)

    def packed(t, y: jax.Array, p: jax.Array) -> jax.Array:
        return plan_packing(system).pack(system.rate_jacobian(t, y, p))

    def crossing(rates: jax.Array, x: jax.Array, own: np.ndarray):
        return propagate_reversibly(window, rates, x, None, jnp.asarray(own)[:, None])

    return jax.jit(lambda p: _samples(system, stops, p, packed, crossing))


def _samples(system: System, stops: list[np.ndarray], p: jax.Array, rates: Callable, crossing: Callable):
    x = jnp.zeros((len(system.names), p.shape[-1])).at[system.index("plasma")].set(DOSE)
    matrix = rates(0.0, x, p)
    amounts, totals, errors = [], [], []
    for own in stops:
        found, integral, error = crossing(matrix, x, own)
        x = found[-1]
        amounts.append(found)
        totals += [] if integral is None else [integral[-1]]
        errors.append(error)
    return jnp.concatenate(amounts), sum(totals) if totals else None, jnp.stack(errors)


def probe(patients: int) -> tuple[Callable, float]:
    """A program of fused multiplications and additions in registers alone, and how many operations it is (each 2)."""
    given, found = Buffer("given", (1,)), Buffer("found", (1,))
    m = LlvmBackend(jit.host_processor().lanes)

    def write() -> None:
        x = m.read(given, 0)
        sums = m.loop(TURNS, lambda i, *c: [v * x + 0.5 for v in c], [x * (1.0 + k) for k in range(FUSED)])
        m.write(found, 0, sum(sums[1:], start=sums[0]))

    kernel = write_kernel(m, (given, found), write)
    name = jit.register_handler(kernel + "\n" + write_handler((given,), (found,), m.lanes, m.vectors))
    run = jax.jit(jax.ffi.ffi_call(name, jax.ShapeDtypeStruct((1, patients), np.float64)))
    x = jnp.full((1, patients), 0.5)
    return lambda: jax.block_until_ready(run(x)), 2.0 * FUSED * TURNS * patients


def alternately(runs: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Least seconds of each, taken in turns: other work on the machine then disturbs all alike."""
    for run in runs.values():
        run()
    least, begun = dict.fromkeys(runs, np.inf), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def speeds(system: System, rtol: float, integrals: bool, patients: int, seconds: float) -> dict[str, Any]:
    """Patients/s of both: one chunk of the kernel's, on one thread, and all patients on XLA's pool; JAX in its chunks."""
    kernel, plain = by_kernel(system, rtol, integrals), by_jax(system, rtol, integrals)
    p = jnp.asarray(truth.patients(system, patients)[0])
    few, chunk = p[:, :CHUNK], p[:, :128]
    whole_probe, whole_flops = probe(4 * CHUNK)
    one_probe, one_flops = probe(CHUNK)
    least = alternately(
        {
            "kernel one": lambda: jax.block_until_ready(kernel(few)),
            "jax chunk": lambda: jax.block_until_ready(plain(chunk)),
            "kernel all": lambda: jax.block_until_ready(kernel(p)),
            "probe one": one_probe,
            "probe all": whole_probe,
        },
        seconds,
    )
    one, all_, theirs = CHUNK / least["kernel one"], patients / least["kernel all"], 128 / least["jax chunk"]
    count = flops(system, rtol, integrals)
    a, b = kernel(chunk), plain(chunk)
    return {
        "rtol": rtol,
        "integrals": integrals,
        "order": design(windows(system)[0], rtol * 1e-4).order,
        "flops_per_patient": count,
        "kernel_one_thread_patients_per_s": figures(one),
        "kernel_pool_patients_per_s": figures(all_),
        "jax_patients_per_s": figures(theirs),
        "kernel_one_thread_over_jax": figures(one / theirs, 3),
        "kernel_pool_over_jax": figures(max(one, all_) / theirs, 3),
        "kernel_one_thread_gflops": figures(one * count / 1e9, 3),
        "peak_one_thread_gflops": figures(one_flops / least["probe one"] / 1e9, 3),
        "peak_pool_gflops": figures(whole_flops / least["probe all"] / 1e9, 3),
        "difference_of_amount_present": figures(float(jnp.max(jnp.abs(a[0] - b[0])) / DOSE), 2),
        "largest_error_estimate": figures(float(jnp.max(a[2])), 2),
    }


def flops(system: System, rtol: float, integrals: bool) -> int:
    span, stops = windows(system)
    count = Count()
    for own in stops:
        propagate_window(count, LinearWindow(system, design(span, rtol * 1e-4), len(own), True, integrals, False))
    return count.flops


def compiling(size: int) -> dict[str, Any]:
    """Seconds to write the program and to make machine code of it, nothing cached."""
    system = body(nonlinear=False, compartments=size)
    span, stops = windows(system)
    found: dict[str, Any] = {"compartments": size}
    for integrals in (False, True):
        begun = time.perf_counter()
        window = LinearWindowForward(system, design(span, 1e-13), len(stops[0]), True, integrals, False)
        source = write_assembly(window, jit.host_processor())
        written = time.perf_counter()
        jit.generate_code(source)
        said = "with_integrals" if integrals else "amounts"
        found[said] = {"write_s": figures(written - begun, 3), "generate_s": figures(time.perf_counter() - written, 3)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs, one size of body")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    given = parser.parse_args()
    system = truth.bodies()["linear"]
    try:
        compile_linear(system, design(1.0, 1e-9))
    except MissingExtra as e:
        sys.exit(str(e))
    seconds, patients = (2.0, 2048) if given.quick else (10.0, 10_000)
    rows = [speeds(system, rtol, i, patients, seconds) for rtol in RTOLS for i in (False, True)]
    peak = max(row["peak_one_thread_gflops"] for row in rows)
    for row in rows:
        row["share_of_peak_one_thread"] = figures(row["kernel_one_thread_gflops"] / peak, 3)
    report = {
        "schema_version": 1,
        "machine": machine() | {"lanes": jit.host_processor().lanes, "load": figures(os.getloadavg()[0], 2)},
        "versions": versions("jax", "jaxlib", "llvmlite", "numpy"),
        "windows_h": [own.tolist() for own in windows(system)[1]],
        "jax_patients_a_chunk": 128,
        "speed": rows,
        "compile": [compiling(size) for size in (SIZES[:1] if given.quick else SIZES)],
    }
    if given.json:
        print(json.dumps(report, indent=2))
        return
    for row in (*rows, *report["compile"]):
        print(*(f"{name:<36}{value}" for name, value in row.items()), "", sep="\n")


if __name__ == "__main__":
    main()
