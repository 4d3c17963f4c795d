"""What an interrupted run is resumed from: the state of a fit, the ends of its starts, replicates, models of a search.

Each is written whole or not at all, at once when it is there, so that a resumed run goes on bit for bit.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from pbpk.errors import BadInput
from pbpk.estimation.state import EstimationState, IterationRecord
from pbpk.run_folders.resumable import SEARCH_FITS

if TYPE_CHECKING:
    from pbpk.covariate_search.refit import SubmodelFit
    from pbpk.estimation.multistart import StartOutcome
    from pbpk.run_folders.claim import OutputFolder
    from pbpk.uncertainty.replicates import Replicate


@contextmanager
def read_arrays(path: Path) -> Iterator[Any]:
    """The arrays of a saved file. Raises `BadInput` where it is damaged, with what to do."""
    try:
        with path.open("rb") as file, np.load(file) as saved:
            yield saved
    except (OSError, EOFError, ValueError, KeyError, TypeError, NotImplementedError, BadZipFile, zlib.error) as e:
        raise BadInput(
            f"cannot be read back ({type(e).__name__})",
            where=str(path),
            why="It is cut short or was changed, so the run cannot go on from it.",
            hint="remove that file and resume again: what it held is computed anew",
        ) from e


def save_state(folder: OutputFolder, state: EstimationState, infos: list[IterationRecord]) -> None:
    """Write checkpoint.npz: all of a method's state, so that a resumed fit goes on bit for bit."""
    temporary = folder.partial / "checkpoint.tmp.npz"
    more = {f"more.{k}": v for k, v in state.more.items()}
    plain = {k: v for k, v in vars(state).items() if k != "more"}
    np.savez(temporary, infos=np.array(infos, dtype=float).reshape(-1, 6), **plain, **more)
    os.replace(temporary, folder.partial / "checkpoint.npz")


def load_state(folder: OutputFolder) -> tuple[EstimationState, list[IterationRecord]] | None:
    """The last checkpoint of a fit, or None when the run did not get that far."""
    path = folder.partial / "checkpoint.npz"
    if not path.exists():
        return None
    with read_arrays(path) as saved:
        numbers = {"ofv": float, "iteration": int, "evaluations": int, "status": str}
        plain = [k for k in EstimationState.__dataclass_fields__ if k != "more"]
        fields = {k: numbers[k](saved[k]) if k in numbers else saved[k] for k in plain}
        fields["more"] = {k.removeprefix("more."): saved[k] for k in saved.files if k.startswith("more.")}
        infos = [IterationRecord(int(i[0]), i[1], i[2], i[3], i[4], int(i[5])) for i in saved["infos"].tolist()]
    return EstimationState(**fields), infos


def save_ends(folder: OutputFolder, ends: Sequence[StartOutcome]) -> None:
    """Write ends.npz: where the starts of a multistart that have ended went."""
    from pbpk.estimation.multistart import StartOutcome

    temporary = folder.partial / "ends.tmp.npz"
    np.savez(temporary, **{k: np.array([getattr(e, k) for e in ends]) for k in StartOutcome.__dataclass_fields__})  # type: ignore[arg-type]
    os.replace(temporary, folder.partial / "ends.npz")


def load_ends(folder: OutputFolder) -> list[StartOutcome]:
    """The ends of starts that an interrupted multistart left; none where it did not get that far."""
    from pbpk.estimation.multistart import StartOutcome

    path = folder.partial / "ends.npz"
    if not path.exists():
        return []
    with read_arrays(path) as saved:
        columns = {k: saved[k] for k in StartOutcome.__dataclass_fields__}
    plain = {"number": int, "ofv": float, "cause": str, "iterations": int}
    return [
        StartOutcome(**{k: plain[k](v[i]) if k in plain else v[i] for k, v in columns.items()})
        for i in range(len(columns["number"]))
    ]


def append_replicate(rows: Path, replicate: Replicate) -> None:
    """Add a replicate's line to its table, as soon as it is there: a resumed bootstrap need not compute it again."""
    with rows.open("a", encoding="utf-8") as file:
        file.write(replicate.csv_line)


def recover_replicates(folder: OutputFolder, name: str, parameters: Sequence[str]) -> list[Replicate]:
    """The replicates in an unfinished table, which is cut after its last whole line; a new table where there is none."""
    from pbpk.uncertainty.replicates import format_header, read_replicates

    file = folder.partial / name
    done = read_replicates(file.read_text(encoding="utf-8"), parameters) if file.exists() else []
    folder.write(name, format_header(parameters) + "".join(replicate.csv_line for replicate in done))
    return done


def save_search_fit(folder: OutputFolder, key: str, model: SubmodelFit) -> None:
    """Write one fitted model of a covariate search, under the next number: a resumed search need not fit it again."""
    place = folder.partial / SEARCH_FITS
    number = len(list(place.glob("[0-9]*.npz"))) + 1
    temporary = place / "next.tmp.npz"
    np.savez(temporary, name=key, **vars(model))
    os.replace(temporary, place / f"{number:04d}.npz")


def load_search_fits(folder: OutputFolder) -> dict[str, SubmodelFit]:
    """The fitted models that an interrupted covariate search left, by the keys that the search gave them."""
    from pbpk.covariate_search.refit import SubmodelFit

    fits = {}
    for file in sorted((folder.partial / SEARCH_FITS).glob("[0-9]*.npz")):
        with read_arrays(file) as saved:
            counts = {k: int(saved[k]) for k in ("iterations", "evaluations")}
            fits[str(saved["name"])] = SubmodelFit(
                saved["psi"], saved["eta"], float(saved["ofv"]), str(saved["cause"]), **counts
            )
    return fits
