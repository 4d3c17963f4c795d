"""Any number of patients by a solver: in chunks, padded to a few sizes, and those that failed once more by a stricter one.

A chunk's working set should fit the cache; the last chunk is padded by repeating a patient, so that nothing compiles
twice. No patient's numbers depend on the neighbours: a lane reads its own numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pbpk.population.batch import Batch, BatchResult, OutputRequest, solve_batch
from pbpk.population.options import CHUNK
from pbpk.results import ResultCode
from pbpk.solve.base import Solver

if TYPE_CHECKING:
    from pbpk.model.system import System

_HOPELESS = ResultCode.NEGATIVE_RATE | ResultCode.BAD_DOSE | ResultCode.OVERLAPS  # these are wrong for every solver

BatchTask = tuple[Solver, OutputRequest, Batch]
BatchRunner = Callable[[Iterable[BatchTask]], Iterator[BatchResult]]
"""Solves tasks, and gives their results in the same order."""
Progress = Callable[[int, int], None]
"""Called with how many patients are solved, of how many."""


def solve_in_this_process(system: System) -> BatchRunner:
    """A runner that solves each task when its result is asked for."""
    return lambda tasks: (solve_batch(system, *task) for task in tasks)


def solve_in_chunks(
    system: System,
    solver: Solver,
    request: OutputRequest,
    take: Callable[[np.ndarray], Batch],
    patients: int,
    *,
    times: int,
    run: BatchRunner,
    chunk: int = CHUNK,
    progress: Progress = lambda done, of: None,
) -> tuple[BatchResult, np.ndarray]:
    """The first `times` observations of every patient, and how often each was solved again (N,).

    `take` makes a batch of the patients with the given numbers (from 0). Where JAX is tracing, results have no values yet,
    and no patient is solved again.
    """
    result = _solve_chunks(solver, request, take, np.arange(patients), times, run, chunk, progress)
    again = np.zeros(patients, int)
    fallback = solver.fallback()
    while fallback is not None and not is_traced(result):
        failed = np.flatnonzero(_is_curable(result.code))
        failed = failed[_is_finite(system, take(failed))] if len(failed) else failed
        if not len(failed):
            break
        retried = _solve_chunks(fallback, request, take, failed, times, run, chunk, lambda done, of: None)
        again[failed] += 1
        cured = np.asarray(retried.code) == 0
        for old, new in zip(result, retried, strict=True):
            if old is not None and new is not None:
                old[..., failed[cured]] = new[..., cured]
        fallback = fallback.fallback()
    return result, again


def is_traced(tree: Any) -> bool:
    """Whether JAX is tracing any array of the tree, so that its numbers are not known."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def choose_width(patients: int, chunk: int) -> int:
    """Lanes of a program: few sizes, so few programs."""
    return min(chunk, patients if patients == 1 else max(16, 1 << (patients - 1).bit_length()))


def _solve_chunks(
    solver: Solver,
    request: OutputRequest,
    take: Callable[[np.ndarray], Batch],
    numbers: np.ndarray,
    times: int,
    run: BatchRunner,
    chunk: int,
    progress: Progress,
) -> BatchResult:
    """The results of the patients with these numbers, in their order."""
    n = len(numbers)
    width = choose_width(n, chunk)
    starts = range(0, n, width)
    total, parts = None, []
    tasks = ((solver, request, take(numbers[np.minimum(np.arange(s, s + width), n - 1)])) for s in starts)
    for start, result in zip(starts, run(tasks), strict=True):
        part = _trim(result, times, min(width, n - start))
        stop = start + part.code.shape[-1]
        if is_traced(part):
            parts.append(part)
        else:
            # Written into arrays of the full size as they come: a concatenation at the end would hold everything twice.
            if total is None:
                total = jax.tree.map(lambda a: np.empty((*a.shape[:-1], n), a.dtype), part)
            for into, a in zip(total, part, strict=True):
                if into is not None:
                    into[..., start:stop] = a
        progress(stop, n)
    return total if total is not None else jax.tree.map(lambda *a: jnp.concatenate(a, axis=-1), *parts)


def _trim(result: BatchResult, times: int, patients: int) -> BatchResult:
    """Without the padding of the timeline's observations and of the last chunk's patients."""
    result = jax.tree.map(lambda a: a[..., :patients], result)
    integrals = None if result.integrals is None else result.integrals[:, :times]
    return result._replace(observables=result.observables[:, :times], integrals=integrals)


def _is_curable(code: Any) -> np.ndarray:
    """(N,) whether another solver might do where this one failed."""
    code = np.asarray(code)
    return (code != 0) & (code & _HOPELESS == 0) & (code != ResultCode.NO_STEADY_STATE)


def _is_finite(system: System, batch: Batch) -> np.ndarray:
    """(N,) whether parameters, doses and the rates they make are numbers: where not, all solvers would only take longer."""
    p = jnp.asarray(batch.p)
    slope = jax.vmap(lambda q: system.vector_field(0.0, jnp.ones((len(system.names), q.shape[-1]), q.dtype), q))(p)
    finite = jnp.isfinite(p).all(axis=(0, 1)) & jnp.isfinite(slope).all(axis=(0, 1))
    return np.asarray(finite & jnp.isfinite(jnp.asarray(batch.timeline.amount)).all(axis=0))
