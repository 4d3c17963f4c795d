"""Patients solved together: what a program is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pbpk.model.system import System
from pbpk.observe import observe_all
from pbpk.solve.base import Solver
from pbpk.solve.resolvent import to_infinity
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
    p: jax.Array
    row: jax.Array
    last: jax.Array


class Found(NamedTuple):
    """`shown` (names, T, N), coherent units, NaN for patients that failed; `code` (N,); `integral` (names, T, N), times h;
    `infinite` (names, N)."""

    shown: jax.Array
    code: jax.Array
    integral: jax.Array | None
    infinite: jax.Array | None


@partial(jax.jit, static_argnames=("system", "solver", "asked"))
def solve_lanes(system: System, solver: Solver, asked: Asked, lanes: Lanes) -> Found:
    timeline, p, row, last = lanes
    path = solver.solve(system, timeline, p, integrals=asked.integrals)
    here = p if p.shape[0] == 1 else jnp.take_along_axis(p, row[:, None, :], axis=0)
    good = path.result == 0

    def read(amounts: jax.Array) -> jax.Array:
        return jnp.where(good, observe_all(system, asked.names, amounts, here), jnp.nan)

    integral = infinite = None
    if path.integrals is not None:
        # Every reading is linear in the amounts, so that its integral is the reading of their integrals.
        integral = read(path.integrals)
        if asked.endless:
            infinite = read((path.integrals[last] + to_infinity(system, p[0], path.amounts[last]))[None])[:, 0]
    return Found(read(path.amounts), path.result, integral, infinite)
