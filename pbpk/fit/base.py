"""The interface of an estimation method, on one page.

    state = method.init(problem)
    while not state.finished: state, info = method.step(problem, state)
    estimate = method.estimate(problem, state)

State is plain arrays: it is what a checkpoint holds and what an interrupted fit resumes from, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import numpy as np

from pbpk.fit.problem import Problem


class Evaluation(NamedTuple):
    """Per subject: objective (N,), its gradient in ψ (P, N), η (q, N), whether all went well (N,)."""

    objective: jax.Array
    gradient: jax.Array
    eta: jax.Array
    good: jax.Array


@dataclass(frozen=True)
class State:
    """Where an estimation stands. `inverse` approximates the inverse Hessian of the OFV in ψ."""

    psi: np.ndarray
    ofv: float
    objective: np.ndarray
    gradient: np.ndarray
    eta: np.ndarray
    inverse: np.ndarray
    iteration: int = 0
    evaluations: int = 0
    status: str = "running"

    @property
    def finished(self) -> bool:
        return self.status != "running"


class Info(NamedTuple):
    """One iteration, as printed and kept in iterations.csv."""

    iteration: int
    ofv: float
    change: float
    gradient: float
    step: float
    evaluations: int


class Method(Protocol):
    """`prepare` may restate the problem (naive pooling drops the random effects)."""

    name: str
    about: str

    def prepare(self, problem: Problem) -> Problem: ...
    def init(self, problem: Problem) -> State: ...
    def step(self, problem: Problem, state: State) -> tuple[State, Info]: ...
    def evaluate(self, problem: Problem, psi: np.ndarray, eta: np.ndarray) -> Evaluation: ...


CONVERGED, LIMIT, STALLED = "converged", "iteration limit", "no further decrease found"
