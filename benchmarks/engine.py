"""How fast, exact and small is the engine on a body of 24 compartments, against diffrax, SciPy and libroadrunner?

Linear and saturable; all at measured equal accuracy: each solver's tolerance is set to the loosest with which the error
(truth.py) meets the target. One process, float64, the best of several repeats each; XLA may use every core, SciPy and
libroadrunner use one (`cpu_ms` is processor time per patient, which says what that makes). Compile time, the start of
a second process and memory are measured in processes of their own.

    python benchmarks/engine.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pbpk  # noqa: F401  before JAX: the cache and float64

# isort: split
import children
import machine_code
import measure
import ours
import targets
import truth
from clock import machine, versions
from targets import NEEDED, Row

PACKAGES = ("jax", "jaxlib", "llvmlite", "diffrax", "numpy", "scipy", "numba", "libroadrunner")
BOTH = (1e-4, 1e-6)
SIZES = (12, 24, 50, 100, 200)
FEWER = (12, 24, 100)  # for diffrax, which takes minutes at 200
LOOSE = 1e-4  # diffrax's rtol where only time to compile and memory are measured


class Run:
    """The rows so far, and what was left out and why."""

    def __init__(self, quick: bool):
        self.quick, self.begun = quick, time.perf_counter()
        self.systems = truth.bodies()
        self.rows: list[Row] = []
        self.skipped: list[str] = []

    def take(self, what: str, do: Callable[..., Row | list[Row]], *arguments: Any, **more: Any) -> None:
        """Add the rows of a measurement, said at once; without the solver or peer that it needs, say so and go on."""
        print(f"{time.perf_counter() - self.begun:6.0f} s  {what} …", file=sys.stderr, flush=True)
        try:
            found = do(*arguments, **more)
        except (ours.Missing, LookupError) as e:
            self.skipped.append(f"{what}: {e}")
            print(f"  skipped: {e}", file=sys.stderr, flush=True)
            return
        found = found if isinstance(found, list) else [found]
        print(*map(json.dumps, found), sep="\n", file=sys.stderr, flush=True)  # a run cut short has not been in vain
        self.rows += found

    def chosen(self, body: str, solver: str) -> Row:
        """The fastest row of a solver at the error its ratios need. Raises `Missing`."""
        row = targets.fastest(self.rows, body, solver, NEEDED[body] if solver == ours.SOLVERS[body] else 1e-4)
        if row is None:
            raise ours.Missing(f"{solver} was not measured on the {body} body")
        return row

    def speeds(self, body: str) -> None:
        quick, system, mine = self.quick, self.systems[body], ours.SOLVERS[body]
        wanted = (NEEDED[body],) if quick else BOTH
        chunks, patients = ((128, 1024, 8192), 8192) if quick else (ours.CHUNKS, 8192)
        for target in wanted:
            self.take(f"{mine}, {body}, {target:g}", measure.by_ours, body, system, target, chunks, patients)
        batches, patients = ((64,), 256) if quick else ((64, 256, 1024), 1024)
        loose, atols = ((1e-4,), (1.0,)) if quick else (BOTH, (1.0, 0.1))
        self.take(f"kvaerno5, {body}", measure.by_diffrax, body, system, "kvaerno5", loose, batches, patients, atols)
        self.take(f"libroadrunner, {body}", measure.one_by_one, body, system, "libroadrunner", wanted, 64)
        if quick:
            return
        for method, batches, patients in (("kvaerno3", (64, 256), 256), ("tsit5", (64,), 64)):
            self.take(f"{method}, {body}", measure.by_diffrax, body, system, method, (1e-4,), batches, patients, (1.0,))
        for name in ("lsoda", "lsoda_numba", "bdf", "bdf_numba"):
            self.take(f"{name}, {body}", measure.one_by_one, body, system, name, BOTH, 32)

    def integrals(self) -> None:
        full = (64, 256, 1024), 65_536, (64, 256), 1024
        sizes = ((256,), 8192, (64,), 256) if self.quick else full
        self.take("integrals", measure.integrals, self.systems["linear"], *sizes)

    def gradients(self, body: str) -> None:
        system, mine, chunks = self.systems[body], ours.SOLVERS[body], (128, 1024, 8192) if self.quick else ours.CHUNKS
        for solver, patients in ((mine, 8192), ("kvaerno5", 256))[: 1 if self.quick else 2]:
            self.take(
                f"gradient by {solver}, {body}",
                lambda s=solver, n=patients: measure.gradient(body, system, self.chosen(body, s), chunks, n),
            )

    def scaling(self, body: str) -> None:
        for solver, powers, sizes, patients in ((ours.SOLVERS[body], 6, SIZES, 1024), ("kvaerno5", 4, FEWER, 64)):
            counts = tuple(10**k for k in range(powers))
            self.take(
                f"patients, {solver}, {body}",
                lambda s=solver, n=counts: measure.by_patients(body, self.systems[body], self.chosen(body, s), n),
            )
            self.take(
                f"compartments, {solver}, {body}",
                lambda s=solver, z=sizes, n=patients: measure.by_compartments(body, self.chosen(body, s), z, n),
            )

    def processes(self, body: str) -> None:
        mine = ours.SOLVERS[body]
        self.compiled(body, mine, "forward", (24, 200) if self.quick else SIZES)
        if self.quick:
            return
        self.compiled(body, mine, "gradient", (24,))
        for what in ("forward", "gradient"):
            self.compiled(body, "kvaerno5", what, (24, 200) if what == "forward" else (24,))
            for solver, patients in ((mine, 1024), (mine, 16_384), ("kvaerno5", 1024)):
                self.take(
                    f"memory, {solver}, {what}, {body}, {patients} patients",
                    lambda s=solver, n=patients, w=what: children.memory(
                        self.case(body, s, w, 24) | {"measure": "memory", "patients": n}
                    ),
                )

    def compiled(self, body: str, solver: str, what: str, sizes: tuple[int, ...]) -> None:
        for n in sizes:
            self.take(
                f"compile, {solver}, {what}, {body}, {n} compartments",
                lambda n=n: children.compiled(
                    self.case(body, solver, what, n) | {"measure": "compile"},
                    second=n == 24,
                    times=1 if self.quick or solver == "kvaerno5" else 3,
                ),
            )

    def kernels(self, body: str) -> None:
        """What is machine code: at the tolerance, and on the grid, that the ratios of speeds are of."""
        for n, what in ((24, "forward"), (24, "gradient"), (200, "forward")):
            self.take(
                f"kernels, {what}, {body}, {n} compartments",
                lambda n=n, w=what: machine_code.compiling(self.case(body, ours.SOLVERS[body], w, n)),
            )
        self.take(
            f"kernels, one core and all, {body}",
            lambda: machine_code.running(self.case(body, ours.SOLVERS[body], "forward", 24)),
        )

    def case(self, body: str, solver: str, what: str, compartments: int) -> Row:
        mine = solver == ours.SOLVERS[body]
        rtol, batch = (self.chosen(body, solver)[k] for k in ("rtol", "batch")) if mine else (LOOSE, 64)
        grid = self.chosen(body, solver).get("grid") if mine else None
        case = {
            "solver": solver,
            "body": body,
            "what": what,
            "compartments": compartments,
            "rtol": rtol,
            "batch": batch,
        }
        return case | ({"grid": grid} if grid else {})

    def report(self) -> dict[str, Any]:
        ratios, errors = targets.between(self.rows)
        return {
            "question": "how fast is the engine, at measured equal accuracy, on a body of 24 compartments?",
            "rows": self.rows,
            "ratios": ratios,
            "errors": errors | {"reference": {b: truth.reference(s)[1] for b, s in self.systems.items()}},
            "targets": {
                name: {"need": f"{sign} {bound:g}", "verdict": targets.verdict(name, ratios)}
                for name, (sign, bound) in targets.TARGETS.items()
            },
            "skipped": self.skipped,
            "versions": versions(*PACKAGES),
            "machine": machine(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="what the ratios need, with fewer patients and repeats")
    given = parser.parse_args()
    run = Run(given.quick)
    if given.quick:
        measure.LONG = 1.5
    for body in run.systems:
        run.speeds(body)
        run.gradients(body)
    run.integrals()
    for body in run.systems:
        if not given.quick:
            run.scaling(body)
        run.kernels(body)
        if not given.quick or body == "saturable":  # whose time to compile has targets
            run.processes(body)
    report = run.report()
    print(json.dumps(report, indent=2) if given.json else targets.table(report))


if __name__ == "__main__":
    main()
