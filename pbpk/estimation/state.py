"""Where an estimation stands, between two steps and at its end, and the line that each step leaves behind.

The state is plain arrays: it is what a checkpoint holds and what an interrupted fit resumes from, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from pbpk.likelihood.endpoints.base import Numbers

# Why an estimation ended, as a checkpoint and results.json record it.
CONVERGED, ITERATION_LIMIT, STALLED = "converged", "iteration limit", "no further decrease found"
EVALUATED = "evaluated at the initial values, nothing estimated"


@dataclass(frozen=True)
class EstimationState:
    """Where an estimation stands: the population parameters ψ (P,), the OFV, and per subject what `Evaluation` holds.

    `inverse` (P, P) approximates the inverse Hessian of the OFV in ψ and is (0, 0) where a method has none; `good` (N,) says
    for which subjects the solver and the search for η succeeded; `more` holds what else a method needs to go on, arrays by
    name. Every field is written to checkpoint.npz under its own name.
    """

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
        """Whether there is no further step to take: `status` then says why."""
        return self.status != "running"


class IterationRecord(NamedTuple):
    """One iteration, as printed under the method's `iteration_headings` and kept in iterations.csv."""

    iteration: int
    ofv: float
    change: float
    gradient: float
    step: float
    evaluations: int
