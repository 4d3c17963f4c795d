"""What engine.py measures in its own process: speed at a measured error, gradients, integrals, and how both scale.

Every function returns rows (dicts). A row of speed has body, solver, target, rtol, atol_over_rtol, error_p95,
error_max, batch, patients, patients_per_s and cpu_ms (processor time per patient, over all cores used).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import ours
import peers
import peers_cpu
import truth
from clock import best, figures, speed

from pbpk.model.system import System

Row = dict[str, Any]

LONG = 3.0  # seconds for each figure that enters a ratio
FIRST_STEP, DENSITIES = 8e-3, (2.0, 2.5, 3.0, 4.0, 5.0, 6.0)  # h, steps for each e-fold of time: shared grids to try
LOOSER = {"resolvent": 100, "rosenbrock": 10}  # rtol over target at which the search for our tolerance begins


def by_ours(body: str, system: System, target: float, chunks: tuple[int, ...], patients: int) -> list[Row]:
    """A row for each size of chunk: all at the loosest of our tolerances, in half decades, that meets the target; and on the
    saturable body again on the coarsest shared grid that meets it without a patient whom its own judge would send back."""
    name = ours.SOLVERS[body]

    @cache
    def amounts(rtol: float, grid: tuple[float, float] | None = None) -> tuple[np.ndarray, ...]:
        run = ours.forward(system, ours.ours(name, rtol, grid), truth.CHECKED)
        return tuple(ours.by_patient(x, truth.CHECKED) for x in run(truth.patients(system, truth.CHECKED)))

    def rows(rtol: float, error: float, grid: tuple[float, float] | None = None) -> list[Row]:
        found = amounts(rtol, grid)
        worst = figures(float(truth.errors(found[0], true(system)).max()), 3)
        accuracy = {"rtol": rtol, "error_p95": error, "error_max": worst, "flagged": int((found[1] != 0).sum())}
        accuracy |= {"grid": list(grid)} if grid else {}
        out = []
        for chunk in chunks:
            timed = speed(warm(ours.forward(system, ours.ours(name, rtol, grid), chunk), p), patients, LONG)
            out.append(_row(body, name, target, accuracy, chunk, patients, timed))
        return out

    p = jax.device_put(truth.patients(system, patients))
    first = target * LOOSER[name]
    measured = rows(*truth.meet(lambda r: truth.p95(amounts(r)[0], true(system)), target, step=0.5, first=first))
    for density in DENSITIES if name == "rosenbrock" else ():
        rtol, grid = 100 * target, (FIRST_STEP, density)
        error = truth.p95(amounts(rtol, grid)[0], true(system))
        if error <= target and not amounts(rtol, grid)[1].any():
            return measured + rows(rtol, figures(error, 3), grid)
    return measured


def by_diffrax(
    body: str,
    system: System,
    method: str,
    targets: tuple[float, ...],
    batches: tuple[int, ...],
    patients: int,
    ratios: tuple[float, ...],
) -> list[Row]:
    """A row for each target and size of batch, with the fastest of the absolute tolerances atol/rtol of `ratios`."""
    search = peers.forward(system, method, truth.CHECKED)
    runs = {n: search if n == truth.CHECKED else peers.forward(system, method, n) for n in batches}
    check, p = (jax.device_put(truth.patients(system, n)[0]) for n in (truth.CHECKED, patients))

    def accuracy(target: float, ratio: float) -> Row:
        return _accuracy(lambda r: np.asarray(search(check, r, ratio * r)), system, target, ratio)

    rows = []
    for target in targets:
        tried = [accuracy(target, ratio) for ratio in ratios]
        costs = [best(warm(search, check, a["rtol"], a["rtol"] * a["atol_over_rtol"]))["wall_s"] for a in tried]
        a = tried[int(np.argmin(costs))]
        for batch, run in runs.items():
            timed = speed(warm(run, p, a["rtol"], a["rtol"] * a["atol_over_rtol"]), patients, LONG)
            rows.append(_row(body, method, target, a, batch, patients, timed))
    return rows


def one_by_one(body: str, system: System, name: str, targets: tuple[float, ...], patients: int) -> list[Row]:
    """A row for each target of a peer that takes one patient after another."""
    solve = {
        "libroadrunner": lambda: peers_cpu.roadrunner(system),
        "lsoda": lambda: peers_cpu.lsoda(system),
        "lsoda_numba": lambda: peers_cpu.lsoda(system, numba=True),
        "bdf": lambda: peers_cpu.bdf(system),
        "bdf_numba": lambda: peers_cpu.bdf(system, numba=True),
    }[name]()
    p, rows = truth.patients(system, patients)[0], []
    for target in targets:
        a = _accuracy(lambda r: solve(p, r, 0.1 * r), system, target, 0.1)
        timed = speed(lambda r=a["rtol"]: solve(p, r, 0.1 * r), patients, LONG)
        rows.append(_row(body, name, target, a, 1, patients, timed))
    return rows


def integrals(
    system: System, chunks: tuple[int, ...], patients: int, batches: tuple[int, ...], theirs: int
) -> list[Row]:
    """Amounts to infinity of every compartment of the linear body: ours, and diffrax over ten half-lives.

    diffrax may be as wrong as what it leaves out after ten half-lives, and a tenth more.
    """
    true_integrals, rows = truth.reference_to_infinity(system), []
    target = 1.1 * truth.lost_after_ten_half_lives(system)
    run, check = peers.integrals(system, "kvaerno5", 64), jax.device_put(truth.patients(system, truth.CHECKED)[0])
    a = _accuracy(lambda r: np.asarray(run(check, r, r)), system, target, 1.0, true_integrals)
    p = jax.device_put(truth.patients(system, theirs)[0])
    for batch in batches:
        timed = speed(warm(peers.integrals(system, "kvaerno5", batch), p, a["rtol"], a["rtol"]), theirs, LONG)
        rows.append(_row("integrals", "kvaerno5", target, a, batch, theirs, timed))
    for chunk in chunks:
        run, p = ours.to_infinity(system, chunk), jax.device_put(truth.patients(system, patients))
        found = ours.by_patient(run(p), truth.CHECKED)[:, None]
        a = {
            "error_p95": truth.p95(found, true_integrals),
            "error_max": float(truth.errors(found, true_integrals).max()),
        }
        rows.append(_row("integrals", "to_infinity", target, a, chunk, patients, speed(warm(run, p), patients, LONG)))
    return rows


def gradient(body: str, system: System, row: Row, chunks: tuple[int, ...], patients: int) -> Row:
    """Value and reverse gradient by all parameters over the value alone, at the tolerance of `row`, each at its fastest of
    our `chunks`; of others at the batch of the row."""
    name, p = row["solver"], jax.device_put(truth.patients(system, patients))
    if name == ours.SOLVERS[body]:
        solver = ours.ours(name, row["rtol"], row.get("grid"))
        ways = [(c, [warm(make(system, solver, c), p) for make in (ours.loss, ours.gradient)]) for c in chunks]
    else:
        tolerances = row["rtol"], row["rtol"] * row["atol_over_rtol"]
        both = [warm(make(system, name, row["batch"]), p[0], *tolerances) for make in (peers.forward, peers.gradient)]
        ways = [(row["batch"], both)]
    finite = all(bool(np.isfinite(x).all()) for x in jax.tree.leaves(ways[0][1][1]()))
    forward, back = (min((best(runs[k], LONG)["wall_s"], chunk) for chunk, runs in ways) for k in (0, 1))
    return {
        **{"gradient": body, "solver": name, "rtol": row["rtol"], "batch": back[1], "patients": patients},
        **({"grid": row["grid"]} if "grid" in row else {}),
        "forward_batch": forward[1],
        "patients_per_s": figures(patients / back[0]),
        "over_forward": figures(back[0] / forward[0], 3),
        "finite": finite,
    }


def by_patients(body: str, system: System, row: Row, counts: tuple[int, ...]) -> list[Row]:
    """Seconds of one call for 1 patient and for many, at the tolerance of `row`, in chunks of at most its size."""
    rows = []
    for count in counts:
        chunk, p = min(row["batch"], count), jax.device_put(truth.patients(system, count))
        if row["solver"] == ours.SOLVERS[body]:
            run = warm(ours.forward(system, ours.ours(row["solver"], row["rtol"], row.get("grid")), chunk), p)
        else:
            tolerances = row["rtol"], row["rtol"] * row["atol_over_rtol"]
            run = warm(peers.forward(system, row["solver"], chunk), p[0], *tolerances)
        seconds = figures(best(run)["wall_s"])
        rows.append({"patients_of": body, "solver": row["solver"], "patients": count, "batch": chunk, "s": seconds})
    return rows


def by_compartments(body: str, row: Row, sizes: tuple[int, ...], patients: int) -> list[Row]:
    """Patients per second and error against the number of compartments, at the tolerance of `row`."""
    rows = []
    for n in sizes:
        system = truth.bodies(n)[body]
        p, checked = jax.device_put(truth.patients(system, patients)), 16
        if row["solver"] == ours.SOLVERS[body]:
            program = ours.forward(
                system, ours.ours(row["solver"], row["rtol"], row.get("grid")), min(row["batch"], patients)
            )
            run, found = warm(program, p), ours.by_patient(program(p)[0], checked)
        else:
            program = peers.forward(system, row["solver"], min(row["batch"], patients))
            tolerances = row["rtol"], row["rtol"] * row["atol_over_rtol"]
            run, found = warm(program, p[0], *tolerances), np.asarray(program(p[0], *tolerances))[:checked]
        error = truth.p95(found, truth.reference(system, checked)[0])
        rows.append(
            {"compartments_of": body, "solver": row["solver"], "compartments": n, "error_p95": error}
            | speed(run, patients)
        )
    return rows


def true(system: System) -> np.ndarray:
    return truth.reference(system)[0]


def warm(program: Callable, *arguments: Any) -> Callable[[], Any]:
    """The call, once made so that it is compiled."""

    def run():
        return jax.block_until_ready(program(*arguments))

    run()
    return run


def _accuracy(
    amounts: Callable[[float], np.ndarray], system: System, target: float, ratio: float, against: Any = None
) -> Row:
    against = true(system) if against is None else against
    rtol, error = truth.meet(lambda r: truth.p95(amounts(r)[: truth.CHECKED], against), target)
    found = amounts(rtol)[: truth.CHECKED]
    worst = figures(float(truth.errors(found, against[: len(found)]).max()), 3)
    return {"rtol": rtol, "atol_over_rtol": ratio, "error_p95": error, "error_max": worst}


def _row(body: str, solver: str, target: float, accuracy: Row, batch: int, patients: int, timed: Row) -> Row:
    return (
        {"body": body, "solver": solver, "target": target} | accuracy | {"batch": batch, "patients": patients} | timed
    )
