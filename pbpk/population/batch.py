"""Patients solved together by one compiled program: what it is given, what it is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.observe.readings import find_compartments_read, observe_all, observe_sums
from pbpk.results import ResultCode
from pbpk.solve.base import Solver, as_code
from pbpk.solve.resolvent import integrate_to_infinity

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class OutputRequest:
    """What is computed: the observables `names`, their time-integrals to each time, and those to infinity."""

    names: tuple[str, ...]
    integrals: bool = False
    to_infinity: bool = False


class Batch(NamedTuple):
    """What patients bring: their events, parameters p (C, m, N), the row of them at each observation (T, N or 1), and the
    index of the last observation that was asked for, from which integrals go on to infinity."""

    timeline: Timeline
    p: jax.Array | np.ndarray
    row: jax.Array | np.ndarray
    last: jax.Array | np.ndarray


class BatchResult(NamedTuple):
    """JAX's or NumPy's arrays: `observables` (names, T, N), coherent units, NaN for patients that failed; result `code` (N,);
    `integrals` (names, T, N), the same times h; and those `to_infinity` (names, N)."""

    observables: Any
    code: Any
    integrals: Any
    to_infinity: Any


@partial(jax.jit, static_argnames=("system", "solver", "request"))
def solve_batch(system: System, solver: Solver, request: OutputRequest, batch: Batch) -> BatchResult:
    """Solve all patients of a batch and read their observables: the program that JAX compiles for a simulation."""
    timeline, p, row, last = batch.timeline, jnp.asarray(batch.p), jnp.asarray(batch.row), batch.last
    sums = find_compartments_read(system, request.names)
    # To infinity goes on from all amounts; and where most of them are read, sums would be more to compute.
    sums = () if request.to_infinity or len(sums) >= len(system.names) else sums
    trajectory = solver.solve(system, timeline, p, integrals=request.integrals, readings=sums)
    p_observed = p if p.shape[0] == 1 else jnp.take_along_axis(p, row[:, None, :], axis=0)
    observe = partial(observe_sums if sums else observe_all, system, request.names)
    observables = observe(trajectory.amounts, p_observed)
    # Amounts may be numbers where a concentration is none, as in a volume of 0.
    finite = jnp.all(jnp.isfinite(observables) | ~timeline.output_mask, axis=(0, 1))
    code = trajectory.result | as_code(jnp.where(finite, 0, ResultCode.NOT_FINITE))

    def mask(values: jax.Array) -> jax.Array:
        return jnp.where(code == 0, values, jnp.nan)

    integrals = to_infinity = None
    if trajectory.integrals is not None:
        # Every reading is linear in the amounts, so that its integral is the reading of their integrals.
        integrals = mask(observe(trajectory.integrals, p_observed))
        if request.to_infinity:
            remaining = integrate_to_infinity(system, p[0], trajectory.amounts[last])
            to_infinity = mask(observe((trajectory.integrals[last] + remaining)[None], p_observed))[:, 0]
    return BatchResult(mask(observables), code, integrals, to_infinity)
