"""A method's objective for many parameter vectors side by side, in one compiled program, and many searches that share it.

A search is a generator: it asks for an evaluation (`EvaluationRequest`) and is sent the result (`ObjectiveValues`).
`run_searches` keeps as many under way as the program has lanes and gives each free lane to the next search. A lane's result
depends on what is asked in that lane and on nothing else, so neither the order of searches nor an interruption changes a digit.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import jax
import numpy as np

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod
    from pbpk.likelihood.problem import Problem

_LANES = {"cpu": (16, 16_384), "gpu": (1024, 131_072)}  # lanes at most, and subjects in all of them

Result = TypeVar("Result")


class EvaluationRequest(NamedTuple):
    """Where to evaluate: ψ (P,), a first guess of η (q, N), what was observed (`Problem.observed`)."""

    psi: np.ndarray
    eta: np.ndarray
    observed: Any


class ObjectiveValues(NamedTuple):
    """What one request is answered by. Per subject: objective (N,), gradient (P, N), η (q, N), whether all went well (N,).
    For all: the penalty and its gradient (P,), 0 without priors."""

    objective: np.ndarray
    gradient: np.ndarray
    eta: np.ndarray
    good: np.ndarray
    penalty: float
    penalty_gradient: np.ndarray


Search = Generator[EvaluationRequest, ObjectiveValues, Result]


@partial(jax.jit, static_argnames="method")
def _evaluate(method: EstimationMethod, problem: Problem, requests: EvaluationRequest) -> tuple[jax.Array, ...]:
    """The values of `ObjectiveValues` with a lane axis in front, for requests stacked along that axis."""

    def one(psi, eta, observed):
        values = method.evaluate(replace(problem, observed=observed), psi, eta)
        penalty, gradient = jax.value_and_grad(problem.penalty)(psi)
        return *values, penalty, gradient

    return jax.vmap(one)(*requests)


def count_lanes(columns: int) -> int:
    """How many evaluations of a problem with that many columns (subjects, times classes) one program takes side by side.

    It depends on the size and on the kind of device alone: the last digits of a result may differ between programs of
    different widths, and the same seed must give the same file.
    """
    most, subjects = _LANES.get(jax.default_backend(), _LANES["gpu"])
    return max(1, min(most, subjects // columns))


@dataclass(eq=False)
class ParallelObjective:
    """The compiled objective of `method` on `problem`, for `width` parameter vectors at a time."""

    method: EstimationMethod
    problem: Problem
    width: int

    def evaluate(self, requests: list[EvaluationRequest]) -> list[ObjectiveValues]:
        """The values of at most `width` requests; lanes that are left over repeat the first."""
        full = [*requests, *[requests[0]] * (self.width - len(requests))]
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *full)
        values = _evaluate(self.method, self.problem, stacked)
        parts = [np.asarray(x) for x in jax.block_until_ready(values)]
        return [ObjectiveValues(*(p[k] for p in parts)) for k in range(len(requests))]

    def run_searches(self, searches: Iterable[tuple[int, Search[Result]]]) -> Iterator[tuple[int, Result]]:
        """Each search's number and result, as they end."""
        waiting = iter(searches)
        running: list[tuple[int, Search[Result], EvaluationRequest]] = []
        while True:
            while len(running) < self.width and (entry := next(waiting, None)):
                number, search = entry
                try:
                    running.append((number, search, next(search)))
                except StopIteration as end:
                    yield number, end.value
            if not running:
                return
            unfinished = []
            for (number, search, _), values in zip(running, self.evaluate([r[2] for r in running]), strict=True):
                try:
                    unfinished.append((number, search, search.send(values)))
                except StopIteration as end:
                    yield number, end.value
            running = unfinished
