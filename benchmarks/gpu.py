"""How fast is the engine on a CUDA device, in float64 and float32, from a thousand patients to ten million?

Our solvers, by compiled kernels (float64 alone) and by JAX, and diffrax's Kvaerno5 on the two bodies of body.py, each at
the tolerance that meets the error of engine.py in float64; forward and reverse gradient; the best of three sizes of
chunk, then ever more patients until memory or the budget of time ends. `from_cpu` is the largest difference from the
processor's float64 answer for the same first 256 patients, over each compartment's own largest amount: in float64 a
check, in float32 the price.

diffrax's tolerance is ten times looser in float32: at the other, rounding makes its Newton iterations fail, and some
patients take twenty times the steps.

    python benchmarks/gpu.py [--quick] [--json] [--device cpu] [--budget SECONDS]

Exits with 4 when there is no CUDA device, with 1 when a measurement failed otherwise than for memory. `--device cpu
--quick` is a dry run that only shows that the script works.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pbpk  # noqa: F401  before JAX: the cache and float64

# isort: split
import jax
import jax.numpy as jnp
import numpy as np
import ours
import peers
import targets
import truth
from clock import best, figures, machine, versions
from targets import NEEDED, Row

from pbpk.compile.engine import Engine, using_engine
from pbpk.compile.xla import cuda, jit

NO_DEVICE = 4
COMPARED = 256
LADDER = tuple(10**k for k in range(3, 8))


class Case:
    """One solver on one body, by one engine. diffrax need only be as good as 1e-4 on either."""

    def __init__(self, body: str, solver: str, engine: Engine):
        self.body, self.solver, self.engine, self.system = body, solver, engine, truth.bodies()[body]
        self.mine = solver == ours.SOLVERS[body]
        self.rtol = self._tolerance(NEEDED[body] if self.mine else 1e-4)

    def program(self, what: str, chunk: int, rtol: float | None = None) -> Callable[[jax.Array], Any]:
        """p (1, m, N) -> amounts, or the loss and its gradient, by chunk."""
        rtol = rtol or self.rtol
        if self.mine:
            make = {"forward": ours.forward, "gradient": ours.gradient}[what]
            return make(self.system, ours.ours(self.solver, rtol), chunk)
        make = {"forward": peers.forward, "gradient": peers.gradient}[what]
        run = make(self.system, self.solver, chunk)
        return lambda p: run(p[0], rtol, rtol)

    def answer(self, what: str, p: jax.Array, rtol: float | None = None, chunk: int | None = None) -> np.ndarray:
        """Of the first patients, patient first: amounts (N, T, n), or the gradient (N, 1, m)."""
        found = self.program(what, chunk or p.shape[-1], rtol)(p)
        return self.first(what, found, p.shape[-1])

    def first(self, what: str, found: Any, patients: int) -> np.ndarray:
        """(N, T or 1, ...) of the first `patients` in what the program returned."""
        if self.mine:
            return ours.by_patient(found[0] if what == "forward" else found[1], patients)
        return np.asarray(found if what == "forward" else found[1][:, None])[:patients]

    def _tolerance(self, target: float) -> float:
        p, true = jnp.asarray(truth.patients(self.system, truth.CHECKED)), truth.reference(self.system)[0]
        with jax.default_device(jax.devices("cpu")[0]):
            step, first = (0.5, target * 30) if self.mine else (0.25, target)
            rtol, _ = truth.meet(
                lambda r: truth.p95(self.answer("forward", p, r), true), target, step=step, first=first
            )
        return rtol


def measure(case: Case, what: str, dtype: Any, device: Any, run: Run) -> None:
    """Rows for one kind of program and number, from the least patients to the most that fit."""
    ladder, chunks = ((256,), (256,)) if run.quick else (LADDER, (1024, 8192, 65_536))
    base = jax.device_put(truth.patients(case.system, truth.DISTINCT).astype(dtype), device)
    name = f"{case.solver} ({case.engine}), {case.body}, {what}, {np.dtype(dtype).name}"
    rtol = case.rtol if case.mine or dtype == jnp.float64 else 10 * case.rtol

    @cache
    def program(chunk: int) -> Callable:
        return case.program(what, chunk, rtol)

    def once(chunk: int, count: int) -> Row:
        p = jnp.take(base, jnp.arange(count) % truth.DISTINCT, axis=2)
        found = jax.block_until_ready(program(chunk)(p))
        compared = min(COMPARED, count, chunk)
        difference = _difference(case, what, case.first(what, _head(found), compared))
        least = best(lambda: jax.block_until_ready(program(chunk)(p)), 1.0)["wall_s"]
        kind = {"solver": case.solver, "engine": case.engine, "body": case.body, "what": what}
        kind |= {"dtype": np.dtype(dtype).name}
        speed = {"patients": count, "chunk": chunk, "s": figures(least), "patients_per_s": figures(count / least)}
        return kind | {"rtol": rtol} | speed | {"from_cpu": difference}

    tried: list[Row] = []
    for chunk in chunks:
        run.take(f"{name}, chunks of {chunk}", once, tried, chunk, ladder[0] if run.quick else max(chunks))
    if not tried:
        return
    fastest = max(tried, key=lambda r: r["patients_per_s"])["chunk"]
    run.rows += tried
    for count in () if run.quick else ladder:
        before = len(run.rows)
        run.take(f"{name}, {count} patients", once, run.rows, min(fastest, count), count)
        if len(run.rows) == before:  # more will not fit either
            return


def _head(found: Any) -> Any:
    """The first chunk alone (of ours), or the first patients: what is compared need not cross to the host in full."""
    return jax.tree.map(lambda x: x[: 1 if x.ndim > 3 else COMPARED], found)


def _difference(case: Case, what: str, found: np.ndarray) -> float:
    cpu = _on_cpu(case, what)[: len(found)]
    size = np.abs(cpu).max(axis=1 if what == "forward" else (1, 2), keepdims=True)
    return figures(float(np.max(np.abs(found - cpu) / size)), 3)


@cache
def _on_cpu(case: Case, what: str) -> np.ndarray:
    with jax.default_device(jax.devices("cpu")[0]):
        return case.answer(what, jnp.asarray(truth.patients(case.system, COMPARED)), chunk=64)


class Run:
    """Rows and what was left out; no measurement begins after the budget is spent."""

    def __init__(self, quick: bool, budget: float):
        self.quick, self.budget, self.begun = quick, budget, time.perf_counter()
        self.rows: list[Row] = []
        self.skipped: list[str] = []
        self.failed = False

    def take(self, what: str, do: Callable[..., Row], into: list[Row], *arguments: Any) -> None:
        spent = time.perf_counter() - self.begun
        print(f"{spent:6.0f} s  {what} …", file=sys.stderr, flush=True)
        try:
            if spent > self.budget:
                raise ours.Missing(f"the budget of {self.budget:g} s is spent")
            into.append(do(*arguments))
        except ours.Missing as e:
            self.skipped.append(f"{what}: {e}")
        except Exception as e:  # on a borrowed device one failure must not cost the other figures
            memory = "RESOURCE_EXHAUSTED" in str(e) or isinstance(e, MemoryError)
            why = "out of memory" if memory else f"failed, {type(e).__name__}: {str(e).splitlines()[0][:200]}"
            self.failed |= not memory
            self.skipped.append(f"{what}: {why}")
            print(f"  {why}", file=sys.stderr, flush=True)


def locks_up(case: Case, what: str, dtype: Any, device: Any) -> bool:
    """diffrax's float32 gradient on CPU: jaxlib 0.10.2's thread pool then waits for itself for ever, most times."""
    return device.platform == "cpu" and not case.mine and what == "gradient" and dtype == jnp.float32


def ratios(rows: list[Row]) -> dict[str, float]:
    """Of the fastest rows of each kind: ours over diffrax, kernels over JAX, float32 over float64, gradient over forward
    in time."""
    top: dict[tuple[str, str, str, str, str], float] = {}
    for r in rows:
        key = r["body"], r["solver"], r["engine"], r["what"], r["dtype"]
        top[key] = max(top.get(key, 0.0), r["patients_per_s"])
    found = {}
    for (body, solver, engine, what, dtype), value in top.items():
        if solver != ours.SOLVERS[body]:
            continue
        name = f"{body}_{engine}"
        by_jax, whole = top.get((body, solver, "jax", what, dtype)), top.get((body, solver, engine, what, "float64"))
        others = {
            f"{name}_{what}_{dtype}_over_kvaerno5": top.get((body, "kvaerno5", "jax", what, dtype)),
            f"{name}_{what}_over_jax": by_jax if engine == "kernel" else None,
            f"{name}_{what}_float32_over_float64": whole if "32" in dtype else None,
        }
        found |= {k: figures(value / other, 3) for k, other in others.items() if other}
        if what == "gradient" and (forward := top.get((body, solver, engine, "forward", dtype))):
            found[f"{name}_{dtype}_gradient_time_over_forward"] = figures(forward / value, 3)
    return found


def why_not(engine: Engine, dtype: Any, device: Any) -> str:
    """Why an engine cannot be measured."""
    if engine != "kernel":
        return ""
    return (
        "kernels are float64"
        if dtype != jnp.float64
        else jit.explain_no_jit()
        if device.platform == "cpu"
        else cuda.explain_unavailable()
    )


def table(report: dict[str, Any]) -> str:
    columns = (
        "body",
        "solver",
        "engine",
        "what",
        "dtype",
        "rtol",
        "patients",
        "chunk",
        "s",
        "patients_per_s",
        "from_cpu",
    )
    lines = ["".join(f"{c:>15}" for c in columns)]
    lines += ["".join(f"{targets.cell(r[c]):>15}" for c in columns) for r in report["rows"]]
    lines += [f"{name}: {value:.4g}" for name, value in report["ratios"].items()]
    return "\n".join([*lines, *(f"skipped: {s}" for s in report["skipped"])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="256 patients in one chunk")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a dry run of the script")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds after which no measurement begins")
    given = parser.parse_args()
    try:
        device = jax.devices(given.device)[0]
    except RuntimeError:
        print("no CUDA device: nothing was measured (`--device cpu --quick` is a dry run)", file=sys.stderr)
        return NO_DEVICE
    run = Run(given.quick, given.budget)
    for body in truth.bodies():
        mine = ours.SOLVERS[body]
        for solver, engine in ((mine, "kernel"), (mine, "jax"), ("kvaerno5", "jax")):
            try:
                case = Case(body, solver, engine)
            except (ours.Missing, LookupError) as e:
                run.skipped.append(f"{solver} on the {body} body: {e}")
                continue
            with jax.default_device(device):
                for what in ("forward", "gradient"):
                    for dtype in (jnp.float64, jnp.float32):
                        reason = why_not(engine, dtype, device)
                        if locks_up(case, what, dtype, device):
                            reason = "locks up on CPU"
                        if reason:
                            run.skipped.append(f"{solver} ({engine}), {body}, {what}, {np.dtype(dtype).name}: {reason}")
                            continue
                        with using_engine(engine):
                            measure(case, what, dtype, device, run)
    report = {
        "question": "how fast is the engine on a GPU?",
        "rows": run.rows,
        "ratios": ratios(run.rows),
        "skipped": run.skipped,
        "versions": versions("jax", "jaxlib", "diffrax", "numpy"),
        "machine": machine(device.device_kind),
    }
    print(json.dumps(report, indent=2) if given.json else table(report))
    return int(run.failed)


if __name__ == "__main__":
    sys.exit(main())
