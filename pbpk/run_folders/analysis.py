"""The folder of an analysis of a finished run, RUN/VERB/NNN: claimed with a record of what was asked, filled, finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbpk.run_folders.claim import OutputFolder, claim_folder
from pbpk.run_folders.find import find_run
from pbpk.run_folders.record import check_same_run, current_time, identify_run, write_record
from pbpk.run_folders.resumable import BOOTSTRAP, BOOTSTRAP_ROWS
from pbpk.run_folders.resume import (
    find_unfinished,
    keep_progress,
    list_unfinished,
    locate_source_run,
    partial_of_out,
    resume_folder,
)

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1


def claim_analysis(run: Path, verb: str, out: Path | None, settings: Mapping[str, Any]) -> OutputFolder:
    """Claim RUN/VERB/NNN, or `out`, and write in it what is asked of which run. Raises `BadInput` as `claim_folder` does."""
    folder = claim_folder(run / verb, out, resumable=None)
    with keep_progress(folder):
        record = {"verb": verb, "run": str(run), "of": identify_run(run), "settings": dict(settings)}
        write_record(folder, record | {"started": current_time()})
    return folder


def resume_bootstrap(name: str) -> tuple[OutputFolder, Path, dict[str, Any]]:
    """An interrupted bootstrap, by its folder or `--out`, or the latest one of a run; its run; and its settings.

    Raises `BadInput` where there is none, or where the run is no longer as it was.
    """
    partial = find_unfinished(name, BOOTSTRAP, _unfinished_bootstraps(name), f"pbpk bootstrap {name}")
    folder, record = resume_folder(partial, BOOTSTRAP)
    source = find_run(locate_source_run(partial, record))
    check_same_run(partial, source)
    return folder, source, record["settings"]


def _unfinished_bootstraps(name: str) -> Iterator[Path]:
    beside = partial_of_out(name)
    if (beside / BOOTSTRAP_ROWS).exists():
        yield beside
    yield from list_unfinished(find_run(name) / BOOTSTRAP.name)


def write_analysis(
    folder: OutputFolder, verb: str, result: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write an analysis: VERB.json with `result`, and each of `tables` as NAME.csv."""
    for name, table in tables.items():
        folder.write(f"{name}.csv", table.to_csv(index=False))
    folder.write_json(f"{verb}.json", {"schema_version": SCHEMA_VERSION, **result})
