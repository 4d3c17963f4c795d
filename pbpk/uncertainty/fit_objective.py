"""The compiled objective of a finished fit, checked to give its OFV: what refits and profiles are evaluated by."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbpk.errors import ScienceFailed
from pbpk.estimation.parallel_objective import (
    EvaluationRequest,
    ObjectiveValues,
    ParallelObjective,
    Search,
    count_lanes,
)
from pbpk.uncertainty.finished_fit import FinishedFit, require_exact_gradient

if TYPE_CHECKING:
    import numpy as np


@dataclass(eq=False)
class FitObjective(ParallelObjective):
    """The compiled program of one finished fit; `compile_seconds` is how long its first evaluation took."""

    fit: FinishedFit
    compile_seconds: float = 0.0

    @classmethod
    def compile(cls, fit: FinishedFit) -> FitObjective:
        """Compiles the objective and checks on the way that the estimates still give the fit's own OFV.

        Raises `WrongUsage` for a method without an exact gradient, `ScienceFailed` for another OFV.
        """
        require_exact_gradient(fit)
        objective = cls(fit.method, fit.problem, count_lanes(fit.problem.columns), fit)
        begun = time.perf_counter()
        values = objective.evaluate([objective.request(fit.psi)])[0]
        ofv = float(values.objective.sum() + values.penalty)
        objective.compile_seconds = time.perf_counter() - begun
        if not abs(ofv - fit.ofv) <= 1e-6 * max(1.0, abs(fit.ofv)):
            raise ScienceFailed(
                f"the OFV at the estimates is {ofv:.6f}, but the fit recorded {fit.ofv:.6f}",
                where=fit.study.name,
                why="its data, model or program has changed since",
                hint="fit the study again",
            )
        return objective

    def request(self, psi: np.ndarray) -> EvaluationRequest:
        """A request for an evaluation at ψ (P,), on the fit's own data and from its own η."""
        return EvaluationRequest(psi, self.fit.eta, self.fit.problem.observed)

    def evaluate_at(self, psis: Iterable[np.ndarray]) -> Iterator[tuple[int, ObjectiveValues]]:
        """The position and the values of each vector ψ, on the fit's own data, as they come."""

        def once(psi: np.ndarray) -> Search[ObjectiveValues]:
            return (yield self.request(psi))

        return self.run_searches((k, once(psi)) for k, psi in enumerate(psis))
