"""The interface of an estimation method: what it does, and what it says of itself.

    method = method.configure(study.spec.estimation, seed)
    problem = method.prepare(study.problem)
    state = method.init(problem)
    while not state.finished: state, record = method.step(problem, state)

In this folder ψ (P,) is the vector of the estimated population parameters in coordinates without bounds
(likelihood/parameter_layout.py), η (q, N) are the random effects of N subjects, and the OFV is on NONMEM's scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pbpk.estimation.requirements import Requirements, check_requirements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import numpy as np

    from pbpk.estimation.result import Fit
    from pbpk.estimation.state import EstimationState, IterationRecord
    from pbpk.likelihood.endpoints.base import Numbers
    from pbpk.likelihood.evaluation import Evaluation
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study
    from pbpk.study.schema import EstimationPart


class EstimationMethod(ABC):
    """What a method of estimation must do, and what it says of itself to those who run it or use its result.

    A method is a frozen dataclass with its `name` and `about`, what it is in a few words. `init`, `step` and `evaluate` must
    be written; the other functions and the class attributes have defaults. No other module asks for a method's name: whatever
    distinguishes one method from another is an attribute below, or a column of `METHOD_TABLE` (methods.py).
    """

    name: str
    about: str

    # What the result is.
    minimises_objective: ClassVar[bool] = False
    """The estimates are the least of the objective of `evaluate`, which is found by its exact gradient. So the objective can be
    evaluated anywhere, weighted and minimised again: many starts, bootstrap, profiles, SIR and covariate search need that."""
    finds_etas: ClassVar[bool] = True
    """The last state holds the random effects of the subjects; where it does not, their modes are sought after the fit."""
    checks_identifiability: ClassVar[bool] = True
    """A θ that no longer changes a prediction at the estimates makes the fit not converged."""
    inflates_likelihood_ratios: ClassVar[bool] = False
    """Likelihood-ratio tests by this objective find too many effects (Wählby, Jonsson & Karlsson 2001)."""

    # What it can be given.
    requirements: ClassVar[Requirements] = Requirements()
    """What a study must have, or must not have."""
    takes_aggregates: ClassVar[bool] = False
    """Published aggregates may be fitted together with the individual data."""
    uses_starting_etas: ClassVar[bool] = False
    """Modes are sought from the η of the state, so another fit's η may improve the first state."""

    iteration_headings: ClassVar[tuple[str, str, str, str, str]] = ("iter", "OFV", "ΔOFV", "|g|", "step")
    """Headings of the first five columns of an `IterationRecord` on the terminal."""

    def configure(self, estimation: EstimationPart, seed: int) -> Self:
        """The method with the study's settings under `[estimation]` and the run's seed."""
        return self

    def prepare(self, problem: Problem) -> Problem:
        """The problem as the method sees it; naive pooling drops the random effects. Raises `WrongUsage` where the study is not
        for this method."""
        check_requirements(self.name, self.requirements, problem)
        return problem

    @abstractmethod
    def init(self, problem: Problem) -> EstimationState:
        """The first state, at the initial values."""

    @abstractmethod
    def step(self, problem: Problem, state: EstimationState) -> tuple[EstimationState, IterationRecord]:
        """The state after one iteration, or after one block of them, and its line of iterations.csv."""

    @abstractmethod
    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The objective at ψ, by subject; `eta` (q, N) is where modes are sought from."""

    def list_warnings(self, problem: Problem, state: EstimationState, subjects: Sequence[str]) -> list[str]:
        """What a reader of the result must know of how it was found, a sentence each; `subjects` are the IDs."""
        return []

    def finish_fit(self, study: Study, problem: Problem, state: EstimationState, fit: Fit) -> Fit:
        """The result with what only this method can add to it."""
        return fit
