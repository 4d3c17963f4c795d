"""The verbs whose interrupted runs can be resumed, and what of an interrupted run is worth resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ResumableVerb:
    """A verb with `--resume`. `name`: as it is typed; `noun`: what messages call one of its runs; `has_progress`: whether an
    unfinished folder holds results that a resumed run need not compute again."""

    name: str
    noun: str
    has_progress: Callable[[Path], bool]

    def resume_command(self, partial: Path) -> str:
        """What the user types to resume the run in `partial`."""
        return f"pbpk {self.name} {partial} --resume"


BOOTSTRAP_ROWS, JACKKNIFE_ROWS = "bootstrap.csv", "jackknife.csv"
SEARCH_FITS = "fits"  # the folder of a covariate search's fitted models


def _has_checkpoint(partial: Path) -> bool:
    return any((partial / name).exists() for name in ("checkpoint.npz", "ends.npz"))


def _has_replicates(partial: Path) -> bool:
    """Whether the table of replicates has a line below its heading."""
    rows = partial / BOOTSTRAP_ROWS
    return rows.exists() and rows.read_text(encoding="utf-8").count("\n") > 1


def _has_fitted_models(partial: Path) -> bool:
    return any((partial / SEARCH_FITS).glob("*.npz"))


FIT = ResumableVerb("fit", "run", _has_checkpoint)
BOOTSTRAP = ResumableVerb("bootstrap", "bootstrap", _has_replicates)
COVSEARCH = ResumableVerb("covsearch", "search", _has_fitted_models)
