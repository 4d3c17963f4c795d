"""What a design is asked for: one specification, with every option by its name, unit and default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import numpy as np

    from pbpk.optimal_design.sampling_space import TimeWindow


def _report_nothing(text: str) -> None:
    """The default of `progress`."""


@dataclass(frozen=True, eq=False)
class DesignSpec:
    """The options of `pbpk.design`. Without `samples`, `times`, `windows` and `optimise` the study's own design is evaluated.

    criterion: "D"; "Ds", for the parameters of `interest` alone; or "ED", the mean over `prior`.
    interest: names of the parameters that count under Ds; under ED too, where all count by default.
    samples: how many samples of each subject, or {arm: how many}; by default as many as the study has.
    times: candidate times (h). windows: (low, high) in h, one for all samples or one for each, within which times are
        continuous. Without both, the data's columns TMIN and TMAX are the windows.
    spacing: the least time between two samples of a subject (h).
    observables: those whose samples are placed, together; the study's other samples stay as they are.
    arms: the column of the data by which subjects may differ in schedule.
    subjects: how many in all, or {arm: how many}; by default as many as the data have.
    optimise: place the study's own number of samples.
    split_patients: split the patients over several schedules, in the best proportions.
    prior: {name: (standard deviation, whether relative)} for ED. draws: how many vectors are drawn from it.
    form: "reduced" (variances do not depend on θ) or "full".
    approximation: "fo" (linearised at η = 0) or "foce" (at simulated η). etas: how many η are simulated.
    rse: wanted relative standard errors by name, as fractions. power: wanted powers of the Wald test that a parameter is 0.
    exact: also estimate the information by simulation. replicates: how many subjects of each kind are simulated for that.
    marginal: the marginal likelihood for that: "agq", "laplace" or "focei".
    starts: how many starts the search for times has. seed: of starts, draws and simulated subjects.
    settings: entries of fit.toml to change, by name. solver: the solver instead of the model's own choice. Both apply where
        the study is loaded here, by its name or folder.
    progress: called with a sentence as the work goes on.
    """

    criterion: str = "D"
    interest: Sequence[str] = ()
    samples: int | Mapping[str, int] | None = None
    times: np.ndarray | Sequence[float] | None = None
    windows: Sequence[TimeWindow] | None = None
    spacing: float = 0.0
    observables: Sequence[str] | None = None
    arms: str | None = None
    subjects: float | Mapping[str, float] | None = None
    optimise: bool = False
    split_patients: bool = False
    prior: Mapping[str, tuple[float, bool]] | None = None
    draws: int = 16
    form: str = "reduced"
    approximation: str = "fo"
    etas: int = 64
    rse: Mapping[str, float] | None = None
    power: Mapping[str, float] | None = None
    exact: bool = False
    marginal: str = "agq"
    replicates: int = 1000
    starts: int = 6
    seed: int = 1
    settings: Mapping[str, str] | None = None
    solver: str | None = None
    progress: Callable[[str], None] = _report_nothing

    @property
    def places_samples(self) -> bool:
        """Whether times are searched for, rather than the study's own design evaluated."""
        return self.optimise or self.samples is not None or self.times is not None or bool(self.windows)


class DesignOptions(TypedDict, total=False):
    """The fields of `DesignSpec` as keywords, so that type checkers and editors know those of `pbpk.design`."""

    criterion: str
    interest: Sequence[str]
    samples: int | Mapping[str, int] | None
    times: np.ndarray | Sequence[float] | None
    windows: Sequence[TimeWindow] | None
    spacing: float
    observables: Sequence[str] | None
    arms: str | None
    subjects: float | Mapping[str, float] | None
    optimise: bool
    split_patients: bool
    prior: Mapping[str, tuple[float, bool]] | None
    draws: int
    form: str
    approximation: str
    etas: int
    rse: Mapping[str, float] | None
    power: Mapping[str, float] | None
    exact: bool
    marginal: str
    replicates: int
    starts: int
    seed: int
    settings: Mapping[str, str] | None
    solver: str | None
    progress: Callable[[str], None]
