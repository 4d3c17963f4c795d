"""What `pbpk dosimetry` was asked for: its flags as they were typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.body import Phantom


@dataclass(frozen=True)
class DosimetryRequest:
    """The flags of `pbpk dosimetry`. `of`: a model, a run or a file of activities; `wants_files`: whether --out is given."""

    of: str
    phantom: Phantom
    nuclide: str | None
    activity: str | None
    dose: list[str] | None
    mass: list[str] | None
    lesion: list[str] | None
    recoil: bool
    option: list[str] | None
    settings: list[str] | None
    patients: int | None
    individuals: bool
    seed: int
    report: bool
    uncertainty: str | None
    uncertain: list[str] | None
    draws: int
    saf: Path | None
    wants_files: bool

    @property
    def is_of_one_patient(self) -> bool:
        """Whether effects or uncertainty are wanted, which are those of one patient."""
        return self.report or self.uncertainty is not None


def check_flags(request: DosimetryRequest) -> None:
    """Raise `WrongUsage` for flags that do not go together."""
    from pbpk.errors import WrongUsage

    one, many = request.is_of_one_patient, bool(request.patients)
    for is_wrong, what, hint in (
        (
            request.uncertainty not in (None, "propagate", "montecarlo"),
            "--uncertainty is not known",
            "propagate or montecarlo",
        ),
        (
            request.uncertain and request.uncertainty is None,
            "--uncertain goes with --uncertainty",
            "--uncertainty propagate",
        ),
        (one and many, "--patients is of many, --report and --uncertainty of one", "leave one of them out"),
        (
            request.individuals and (one or many),
            "--individuals is of a fit's subjects as they are",
            "leave --patients, --report and --uncertainty out",
        ),
        (one and request.saf, "--report and --uncertainty know our S values alone", "leave --saf out"),
        (
            request.report and request.of.lower().endswith(".csv"),
            "--report needs a model: dose rates come from kinetics",
            "",
        ),
    ):
        if is_wrong:
            raise WrongUsage(what, hint=hint)
