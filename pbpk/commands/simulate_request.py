"""What `pbpk simulate` was asked for beside model and doses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from pbpk.population.options import Precision


@dataclass(frozen=True)
class SimulationRequest:
    """The flags of `pbpk simulate`, read and checked.

    `times` (T,) are in h, None where a data file brings its own. `observables`: names, or None for all of the model's.
    `patients`: how many virtual ones, None for one typical patient. `measure`: a file of measurements. `keep`: which
    curves of a population are written. `out`: a folder. `run`: a finished run that patients are of, with the `uncertainty` of
    its estimates, and `values` in place of some.
    """

    times: np.ndarray | None
    observables: list[str] | None
    patients: int | None
    seed: int
    solver: str | None
    precision: Precision
    integrate: bool
    processes: int
    measure: Path | None
    keep: str
    out: Path | None
    as_json: bool
    run: str | None = None
    uncertainty: str = "none"
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_population(self) -> bool:
        """Whether virtual patients are drawn."""
        return self.patients is not None

    def solver_options(self) -> dict[str, Any]:
        """The keywords of `pbpk.simulate` that say how it is solved."""
        return {
            "solver": self.solver,
            "dtype": self.precision,
            "integrate": self.integrate,
            "processes": self.processes,
        }
