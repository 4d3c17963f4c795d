"""Patients solved together: what a program is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.observe import find_compartments_read, observe_all, observe_sums
from pbpk.results import ResultCode
from pbpk.solve.base import Solver, as_code
from pbpk.solve.resolvent import integrate_to_infinity

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class OutputRequest:
    """What is computed: the observables, their time-integrals to each time, and those to infinity."""

    names: tuple[str, ...]
    integrals: bool = False
    to_infinity: bool = False


class Batch(NamedTuple):
    """Parameters p (C, m, N), each observation's row of them (T, N or 1), and the last observation that was asked for."""

    timeline: Timeline
    p: jax.Array | np.ndarray
    row: jax.Array | np.ndarray
    last: jax.Array | np.ndarray


class BatchResult(NamedTuple):
    """JAX's or NumPy's arrays: `shown` (names, T, N), coherent units, NaN for patients that failed; `code` (N,);
    `integral` (names, T, N), the same times h; `infinite` (names, N)."""

    observables: Any
    code: Any
    integrals: Any
    to_infinity: Any


@partial(jax.jit, static_argnames=("system", "solver", "asked"))
def solve_batch(system: System, solver: Solver, asked: OutputRequest, lanes: Batch) -> BatchResult:
    timeline, p, row, last = lanes.timeline, jnp.asarray(lanes.p), jnp.asarray(lanes.row), lanes.last
    sums = find_compartments_read(system, asked.names)
    # To infinity goes on from all amounts; and where most of them are read, sums would be more to compute.
    sums = () if asked.to_infinity or len(sums) >= len(system.names) else sums
    path = solver.solve(system, timeline, p, integrals=asked.integrals, readings=sums)
    here = p if p.shape[0] == 1 else jnp.take_along_axis(p, row[:, None, :], axis=0)
    observe = partial(observe_sums if sums else observe_all, system, asked.names)
    shown = observe(path.amounts, here)
    # Amounts may be numbers where a concentration is none, as in a volume of 0.
    finite = jnp.all(jnp.isfinite(shown) | ~timeline.output_mask, axis=(0, 1))
    code = path.result | as_code(jnp.where(finite, 0, ResultCode.NOT_FINITE))

    def good(values: jax.Array) -> jax.Array:
        return jnp.where(code == 0, values, jnp.nan)

    def read(amounts: jax.Array) -> jax.Array:
        return good(observe(amounts, here))

    integral = infinite = None
    if path.integrals is not None:
        # Every reading is linear in the amounts, so that its integral is the reading of their integrals.
        integral = good(observe(path.integrals, here))
        if asked.to_infinity:
            infinite = read((path.integrals[last] + integrate_to_infinity(system, p[0], path.amounts[last]))[None])[
                :, 0
            ]
    return BatchResult(good(shown), code, integral, infinite)
