"""The interface of an estimation method, on one page.

    state = method.init(problem)
    while not state.finished: state, info = method.step(problem, state)
    estimate = method.estimate(problem, state)

EstimationState is plain arrays: it is what a checkpoint holds and what an interrupted fit resumes from, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

Numbers = Any  # a JAX array inside compiled code, a NumPy array on the host


class Evaluation(NamedTuple):
    """Per subject: objective (N,), its gradient in ψ (P, N), η (q, N), whether all went well (N,)."""

    objective: Numbers
    gradient: Numbers
    eta: Numbers
    good: Numbers


@dataclass(frozen=True)
class EstimationState:
    """Where an estimation stands. `inverse` approximates the inverse Hessian of the OFV in ψ; `good` (N,) says for which
    subjects all went well; `more` holds what else a method needs to go on, arrays by name."""

    psi: np.ndarray
    ofv: float
    objective: Numbers
    gradient: Numbers
    eta: Numbers
    inverse: np.ndarray
    iteration: int = 0
    evaluations: int = 0
    status: str = "running"
    good: Numbers = True
    more: Mapping[str, Numbers] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status != "running"


class IterationRecord(NamedTuple):
    """One iteration, as printed and kept in iterations.csv."""

    iteration: int
    ofv: float
    change: float
    gradient: float
    step: float
    evaluations: int


class EstimationMethod(Protocol):
    """`prepare` may restate the problem (naive pooling drops the random effects).

    A method may also have `configured(estimation, seed)`, which gives it with the study's settings and the run's seed, and
    `finish(study, problem, state, fit)`, which gives the result with what only this method can say.
    """

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...

    def prepare(self, problem: Problem) -> Problem: ...
    def init(self, problem: Problem) -> EstimationState: ...
    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]: ...
    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation: ...
    def list_warnings(self, problem: Problem, state: EstimationState, subjects: Sequence[str]) -> list[str]:
        """What a reader of the result must know of how it was found."""
        ...


CONVERGED, ITERATION_LIMIT, STALLED = "converged", "iteration limit", "no further decrease found"
