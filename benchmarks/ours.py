"""Our side of the benchmarks: which solver at which tolerance, and the program that maps it over chunks of patients.

Chunks (`lax.map` over groups of lanes) keep the working set in the processor's cache and memory bounded at any number of
patients; the last chunk is filled up with copies of its last patient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from body import DOSE, TIMES
from targets import SOLVERS as SOLVERS  # the one that each body is solved by

from pbpk.model.system import System
from pbpk.solve.base import Solver
from pbpk.solve.timeline import Timeline, build_timeline

CHUNKS = (64, 256, 1024, 8192)


class Missing(Exception):
    """A solver or a peer that is not there: its rows are left out, with a line that says so."""


def ours(name: str, rtol: float, grid: list[float] | None = None) -> Solver:
    """Our solver at a tolerance: the one place to change when their arguments do. `grid`: a shared one, judged by `rtol`."""
    module, kind = {
        "resolvent": ("pbpk.solve.resolvent", "Resolvent"),
        "rosenbrock": ("pbpk.solve.rosenbrock", "Rosenbrock"),
    }[name]
    try:
        more = {"grid": tuple(grid)} if grid else {}
        return getattr(import_module(module), kind)(rtol=rtol, **more)
    except ImportError as e:
        raise Missing(f"our {name}: {e}") from None


@cache
def timeline(system: System) -> Timeline:
    """The dose into plasma at 0, observed at TIMES; one for all patients."""
    no = {"RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "plasma"}
    rows = [{"TIME": 0.0, "EVID": 1, "AMT": DOSE, "MDV": 1, **no}]
    rows += [{"TIME": float(t), "EVID": 0, "AMT": 0.0, "MDV": 0, **no} for t in TIMES]
    return build_timeline([pd.DataFrame(rows)], system)


def weights(system: System) -> np.ndarray:
    """(T, n, 1) of the loss whose gradient is timed: every amount counts, none like another."""
    return np.random.default_rng(1).standard_normal((len(TIMES), len(system.names), 1))


def _amounts(system: System, solver: Solver) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    plan, seen = timeline(system), len(TIMES)

    def solve(p: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = solver.solve(system, plan, p)
        return found.amounts[:seen], found.result

    return solve


def _loss(system: System, solver: Solver) -> Callable[[jax.Array], jax.Array]:
    solve, w = _amounts(system, solver), weights(system)
    return lambda p: jnp.sum(w.astype(p.dtype) * solve(p)[0])


def forward(system: System, solver: Solver, chunk: int) -> Callable:
    """p (1, m, N) -> amounts (chunks, T, n, chunk) and result codes (chunks, chunk), compiled."""
    return jax.jit(_mapped(_amounts(system, solver), chunk))


def loss(system: System, solver: Solver, chunk: int) -> Callable:
    """p -> the loss of each chunk (chunks,): what `gradient` is measured over."""
    return jax.jit(_mapped(_loss(system, solver), chunk))


def gradient(system: System, solver: Solver, chunk: int) -> Callable:
    """p -> the loss of each chunk and its derivatives by every parameter of every patient (chunks, 1, m, chunk)."""
    return jax.jit(_mapped(jax.value_and_grad(_loss(system, solver)), chunk))


def to_infinity(system: System, chunk: int) -> Callable:
    """p -> the integral of every amount from the dose to infinity (chunks, n, chunk). Raises `Missing`."""
    try:
        exact = import_module("pbpk.solve.resolvent").integrate_to_infinity
    except (ImportError, AttributeError) as e:
        raise Missing(f"to_infinity: {e}") from None
    first = DOSE * np.eye(len(system.names))[system.index("plasma")]

    def integral(p: jax.Array) -> jax.Array:
        start = jnp.broadcast_to(jnp.asarray(first, p.dtype)[:, None], (len(first), p.shape[-1]))
        return exact(system, p[0], start)

    return jax.jit(_mapped(integral, chunk))


def _mapped(one: Callable, chunk: int) -> Callable:
    def run(p: jax.Array):
        m, patients = p.shape[1:]
        if patients == chunk:  # nothing to map over, and no copy of it to make
            return jax.tree.map(lambda a: a[None], one(p))
        filled = jnp.pad(p, ((0, 0), (0, 0), (0, -patients % chunk)), mode="edge")
        return jax.lax.map(one, jnp.moveaxis(filled.reshape(1, m, -1, chunk), 2, 0))

    return run


def by_patient(chunks: jax.Array, patients: int) -> np.ndarray:
    """(chunks, ..., chunk) as (N, ...), in numpy: the layout in which all solvers are compared."""
    a = np.moveaxis(np.asarray(chunks), -1, 1)
    return a.reshape(-1, *a.shape[2:])[:patients]
