"""How many additions, multiplications and divisions (one each) a solution by compiled kernels takes, by counting them.

The kernels' programs are run by NumPy on arrays that count; so loops that last as long as a patient needs are counted too.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from pbpk.compile.backend.base import NumpyBackend
from pbpk.compile.xla import bind, jit
from pbpk.model.system import System
from pbpk.solve.base import Solver

_COUNTED = {np.add, np.subtract, np.multiply, np.divide}


class _Counted(np.ndarray):
    """Numbers of several patients; every operation on them is counted once for each."""

    flops = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **more):
        found = getattr(ufunc, method)(*(np.asarray(x) for x in inputs), **more)
        if ufunc in _COUNTED:
            _Counted.flops += np.size(found)
        return np.asarray(found).view(_Counted)

    def __array_function__(self, function, types, given, more):
        found = function(*(np.asarray(x) if isinstance(x, _Counted) else x for x in given), **more)
        return np.asarray(found).view(_Counted)


def of_solution(system: System, solver: Solver, timeline, p: jax.Array) -> float:
    """Operations for each patient of p (1, m, N), N as many as a register has lanes."""
    assert p.shape[-1] == jit.host_processor().lanes
    _Counted.flops = 0
    with _counting():
        jax.block_until_ready(jax.jit(lambda p: solver.solve(system, timeline, p).amounts)(p))
    return _Counted.flops / p.shape[-1]


@contextmanager
def _counting():
    """In place of compiled code NumPy, called back from XLA."""
    compiled = bind._call_compiled
    bind._call_compiled = _callback
    try:
        yield
    finally:
        bind._call_compiled = compiled


def _callback(program: Any, types: Any, given: Any) -> Any:
    def run(*arrays):
        named = {b.name: np.asarray(a).view(_Counted) for b, a in zip(program.arguments, arrays, strict=True)}
        named |= {b.name: np.full(t.shape, np.nan) for b, t in zip(program.results, types, strict=True)}
        machine = NumpyBackend(named)
        program.run(machine)
        return [machine.buffers[b.name].reshape(t.shape) for b, t in zip(program.results, types, strict=True)]

    return jax.pure_callback(run, types, *given)
