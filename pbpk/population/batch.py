"""Any number of patients by a solver: in chunks, padded to a few sizes, and those that failed once more by a stricter one.

A chunk's working set should fit the cache; the last chunk is padded by repeating a patient, so that nothing compiles
twice. No patient's numbers depend on who its neighbours are: a lane sees only itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pbpk.population.lanes import Batch, BatchResult, OutputRequest, solve_batch
from pbpk.results import ResultCode
from pbpk.solve.base import Solver

if TYPE_CHECKING:
    from pbpk.model.system import System

CHUNK = 1024  # a call costs 0.15 ms, and a kernel takes 256 patients to a core; 512 to 4,096 are as good
_HOPELESS = ResultCode.NEGATIVE_RATE | ResultCode.BAD_DOSE | ResultCode.OVERLAPS  # these are wrong whoever solves it

BatchTask = tuple[Solver, OutputRequest, Batch]
BatchRunner = Callable[[Iterable[BatchTask]], Iterator[BatchResult]]
"""Solves tasks, and gives their results in the same order."""


def solve_in_this_process(system: System) -> BatchRunner:
    return lambda tasks: (solve_batch(system, *task) for task in tasks)


def solve_in_chunks(
    system: System,
    solver: Solver,
    asked: OutputRequest,
    lanes: Callable[[np.ndarray], Batch],
    patients: int,
    *,
    times: int,
    run: BatchRunner,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[BatchResult, np.ndarray]:
    """The first `times` observations of every patient, and how often each was solved again (N,).

    `lanes` takes the numbers (from 0) of the patients wanted. Where JAX is tracing, results have no values yet, and nobody
    is solved again.
    """
    found = _solve_chunks(solver, asked, lanes, np.arange(patients), times, run, chunk, progress)
    again = np.zeros(patients, int)
    stricter = solver.fallback()
    while stricter is not None and not is_traced(found):
        ill = np.flatnonzero(_is_curable(found.code))
        ill = ill[_is_finite(system, lanes(ill))] if len(ill) else ill
        if not len(ill):
            break
        retried = _solve_chunks(stricter, asked, lanes, ill, times, run, chunk, lambda done, of: None)
        again[ill] += 1
        cured = np.asarray(retried.code) == 0
        for old, new in zip(found, retried, strict=True):
            if old is not None and new is not None:
                old[..., ill[cured]] = new[..., cured]
        stricter = stricter.fallback()
    return found, again


def is_traced(tree: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def choose_width(patients: int, chunk: int) -> int:
    """Lanes of a program: few sizes, so few programs."""
    return min(chunk, patients if patients == 1 else max(16, 1 << (patients - 1).bit_length()))


def _solve_chunks(
    solver, asked, lanes, who: np.ndarray, times: int, run: BatchRunner, chunk: int, progress
) -> BatchResult:
    size, n = choose_width(len(who), chunk), len(who)
    starts = range(0, n, size)
    whole, parts = None, []
    tasks = ((solver, asked, lanes(who[np.minimum(np.arange(s, s + size), n - 1)])) for s in starts)
    for start, found in zip(starts, run(tasks), strict=True):
        keep = min(size, n - start)
        own = jax.tree.map(lambda a: a[..., :keep], found)  # noqa: B023
        part = own._replace(
            shown=own.shown[:, :times], integral=None if own.integral is None else own.integral[:, :times]
        )
        if is_traced(part):
            parts.append(part)
        else:
            if whole is None:
                whole = jax.tree.map(lambda a: np.empty((*a.shape[:-1], n), a.dtype), part)
            for into, a in zip(whole, part, strict=True):
                if into is not None:
                    into[..., start : start + keep] = a
        progress(start + keep, n)
    return whole if whole is not None else jax.tree.map(lambda *a: jnp.concatenate(a, axis=-1), *parts)


def _is_curable(code) -> np.ndarray:
    code = np.asarray(code)
    return (code != 0) & (code & _HOPELESS == 0) & (code != ResultCode.NO_STEADY_STATE)


def _is_finite(system: System, lanes: Batch) -> np.ndarray:
    """(N,) whether parameters, doses and the rates they make are numbers: where not, all solvers would only take longer."""
    p = jnp.asarray(lanes.p)
    slope = jax.vmap(lambda q: system.vector_field(0.0, jnp.ones((len(system.names), q.shape[-1]), q.dtype), q))(p)
    finite = jnp.isfinite(p).all(axis=(0, 1)) & jnp.isfinite(slope).all(axis=(0, 1))
    return np.asarray(finite & jnp.isfinite(jnp.asarray(lanes.timeline.amount)).all(axis=0))
