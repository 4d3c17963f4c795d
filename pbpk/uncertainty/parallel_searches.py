"""A method's objective for many parameter vectors side by side, in one compiled program, and many searches that share it.

A search is a generator: it asks for an evaluation (`Ask`) and is sent what was found (`Found`). `pursue` keeps as many under
way as the program has lanes and gives each free lane to the next search. A lane's result depends on what is asked in that
lane and on nothing else, so neither the order of searches nor an interruption changes a digit.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import jax
import numpy as np

from pbpk.errors import ScienceFailed
from pbpk.uncertainty.finished_fit import Finished, require_gradient

if TYPE_CHECKING:
    from pbpk.estimation.base import Method
    from pbpk.likelihood.problem import Problem

_LANES = {"cpu": (16, 16_384), "gpu": (1024, 131_072)}  # lanes at most, and subjects in all of them

Result = TypeVar("Result")


class Ask(NamedTuple):
    """Where to evaluate: ψ (P,), a first guess of η (q, N), what was observed (`Problem.observed`)."""

    psi: np.ndarray
    eta: np.ndarray
    observed: Any


class Found(NamedTuple):
    """Per subject: objective (N,), gradient (P, N), η (q, N), whether all went well (N,). For all: the penalty and its
    gradient (P,), 0 without priors."""

    objective: np.ndarray
    gradient: np.ndarray
    eta: np.ndarray
    good: np.ndarray
    penalty: float
    slope: np.ndarray


Search = Generator[Ask, Found, Result]


@partial(jax.jit, static_argnames="method")
def _evaluate(method: Method, problem: Problem, asked: Ask) -> tuple[jax.Array, ...]:
    def one(psi, eta, observed):
        found = method.evaluate(replace(problem, observed=observed), psi, eta)
        penalty, slope = jax.value_and_grad(problem.penalty)(psi)
        return *found, penalty, slope

    return jax.vmap(one)(*asked)


@dataclass(eq=False)
class Lanes:
    """The compiled program of one finished fit. `count` depends on its size and on the kind of device alone: the last digits
    of a result may differ between programs of different widths, and the same seed must give the same file."""

    finished: Finished
    count: int
    compiled_in: float = 0.0

    @classmethod
    def of(cls, finished: Finished) -> Lanes:
        """Compiles, and checks on the way that the estimates still give the fit's own OFV. Raises `WrongUsage` for a method
        that cannot, `ScienceFailed` for another OFV."""
        require_gradient(finished)
        most, subjects = _LANES.get(jax.default_backend(), _LANES["gpu"])
        lanes = cls(finished, max(1, min(most, subjects // finished.problem.columns)))
        begun = time.perf_counter()
        found = lanes.evaluate([lanes.ask(finished.psi)])[0]
        ofv = float(found.objective.sum() + found.penalty)
        lanes.compiled_in = time.perf_counter() - begun
        if not abs(ofv - finished.ofv) <= 1e-6 * max(1.0, abs(finished.ofv)):
            raise ScienceFailed(
                f"the OFV at the estimates is {ofv:.6f}, but the fit recorded {finished.ofv:.6f}",
                where=finished.study.name,
                why="its data, model or program has changed since",
                hint="fit the study again",
            )
        return lanes

    def ask(self, psi: np.ndarray) -> Ask:
        """An evaluation on the fit's own data, from its own η."""
        return Ask(psi, self.finished.eta, self.finished.problem.observed)

    def evaluate(self, asked: list[Ask]) -> list[Found]:
        """As many as there are lanes, or fewer: what is left over repeats the first."""
        full = [*asked, *[asked[0]] * (self.count - len(asked))]
        together = jax.tree.map(lambda *parts: np.stack(parts), *full)
        found = _evaluate(self.finished.method, self.finished.problem, together)
        parts = [np.asarray(x) for x in jax.block_until_ready(found)]
        return [Found(*(p[k] for p in parts)) for k in range(len(asked))]

    def pursue(self, searches: Iterable[tuple[int, Search[Result]]]) -> Iterator[tuple[int, Result]]:
        """Each search's number and result, as they end."""
        waiting = iter(searches)
        running: list[tuple[int, Search[Result], Ask]] = []
        while True:
            while len(running) < self.count and (one := next(waiting, None)):
                number, search = one
                try:
                    running.append((number, search, next(search)))
                except StopIteration as end:
                    yield number, end.value
            if not running:
                return
            still = []
            for (number, search, _), found in zip(running, self.evaluate([r[2] for r in running]), strict=True):
                try:
                    still.append((number, search, search.send(found)))
                except StopIteration as end:
                    yield number, end.value
            running = still

    def at(self, psis: Iterable[np.ndarray]) -> Iterator[tuple[int, Found]]:
        """One evaluation each, on the fit's own data."""

        def once(psi: np.ndarray) -> Search[Found]:
            return (yield self.ask(psi))

        return self.pursue((k, once(psi)) for k, psi in enumerate(psis))
