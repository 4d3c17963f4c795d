"""The solver's interface, on one page.

A solver advances a System between events; the events are one scan for all of them (segments.py). Failure is a value:
each patient has a result code, and nothing raises inside a compiled batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import jax

from pbpk.model.system import System
from pbpk.solve.timeline import Timeline

OK, NOT_FINITE, NEGATIVE_RATE, GAVE_UP = 0, 1, 2, 4
RESULTS = {
    OK: "ok",
    NOT_FINITE: "the solution is not finite",
    NEGATIVE_RATE: "a rate constant is negative",
    GAVE_UP: "the solver reached its step limit or could not reach its tolerance",
}


def explain(code: int) -> str:
    """Words for a result code; codes are flags and may add up."""
    said = [words for flag, words in RESULTS.items() if flag and code & flag]
    return "; ".join(said) or RESULTS[OK]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trajectory:
    """`amounts` (T, n, N) at each patient's observation times, coherent units; `result` (N,) codes, 0 is good."""

    amounts: jax.Array
    result: jax.Array


class Solver(Protocol):
    """`name` is what `--solver` takes."""

    @property
    def name(self) -> str: ...

    def refuses(self, system: System) -> str:
        """Why this solver cannot be used on the system; "" when it can."""
        ...

    def solve(self, system: System, timeline: Timeline, p: jax.Array) -> Trajectory:
        """All patients of `timeline` with parameters p (C, m, N); C is 1 or the number of parameter rows. Traceable."""
        ...

    def forward_mode(self) -> Solver:
        """The same solver, ready for derivatives by jvp, as estimation takes them; otherwise it is ready for vjp."""
        ...


def cast(code: Any) -> jax.Array:
    return jax.numpy.asarray(code, jax.numpy.int32)
