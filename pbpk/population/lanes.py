"""Patients solved together: what a program is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.observe import compartments_read, observe_all, observe_sums
from pbpk.results import ResultCode
from pbpk.solve.base import Solver, cast
from pbpk.solve.resolvent import to_infinity

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class Asked:
    """What is computed: the observables, their time-integrals to each time, and those to infinity."""

    names: tuple[str, ...]
    integrals: bool = False
    endless: bool = False


class Lanes(NamedTuple):
    """Parameters p (C, m, N), each observation's row of them (T, N or 1), and the last observation that was asked for."""

    timeline: Timeline
    p: jax.Array | np.ndarray
    row: jax.Array | np.ndarray
    last: jax.Array | np.ndarray


class Found(NamedTuple):
    """JAX's or NumPy's arrays: `shown` (names, T, N), coherent units, NaN for patients that failed; `code` (N,);
    `integral` (names, T, N), the same times h; `infinite` (names, N)."""

    shown: Any
    code: Any
    integral: Any
    infinite: Any


@partial(jax.jit, static_argnames=("system", "solver", "asked"))
def solve_lanes(system: System, solver: Solver, asked: Asked, lanes: Lanes) -> Found:
    timeline, p, row, last = lanes.timeline, jnp.asarray(lanes.p), jnp.asarray(lanes.row), lanes.last
    sums = compartments_read(system, asked.names)
    # To infinity goes on from all amounts; and where most of them are read, sums would be more to compute.
    sums = () if asked.endless or len(sums) >= len(system.names) else sums
    path = solver.solve(system, timeline, p, integrals=asked.integrals, readings=sums)
    here = p if p.shape[0] == 1 else jnp.take_along_axis(p, row[:, None, :], axis=0)
    observe = partial(observe_sums if sums else observe_all, system, asked.names)
    shown = observe(path.amounts, here)
    # Amounts may be numbers where a concentration is none, as in a volume of 0.
    finite = jnp.all(jnp.isfinite(shown) | ~timeline.seen, axis=(0, 1))
    code = path.result | cast(jnp.where(finite, 0, ResultCode.NOT_FINITE))

    def good(values: jax.Array) -> jax.Array:
        return jnp.where(code == 0, values, jnp.nan)

    def read(amounts: jax.Array) -> jax.Array:
        return good(observe(amounts, here))

    integral = infinite = None
    if path.integrals is not None:
        # Every reading is linear in the amounts, so that its integral is the reading of their integrals.
        integral = good(observe(path.integrals, here))
        if asked.endless:
            infinite = read((path.integrals[last] + to_infinity(system, p[0], path.amounts[last]))[None])[:, 0]
    return Found(good(shown), code, integral, infinite)
