"""The latest VPC and NPDE in a run's folder, read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pbpk.errors import BadInput
from pbpk.run_folders.read import read_json_object
from pbpk.run_folders.record import identify_run

_TEXT_COLUMNS = ("ID", "DVID", "STRATUM", "PANEL", "LEVEL")


@dataclass(frozen=True, eq=False)
class LatestCheck:
    """A finished check by simulation.

    `folder`: where it is; `info`: its JSON object; `tables`: its CSV files by name. Identifiers and labels are text there,
    empty where they are missing.
    """

    folder: Path
    info: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def read_latest_vpc(run: Path) -> LatestCheck | None:
    """The run's latest VPC, with its tables `vpc.csv` and `points.csv`; None where there is none of the run as it is."""
    return _read_latest(run, "vpc", ("vpc.csv", "points.csv"))


def read_latest_npde(run: Path) -> LatestCheck | None:
    """The run's latest NPDE, with its table `npde.csv`; None where there is none of the run as it is."""
    return _read_latest(run, "npde", ("npde.csv",))


def _read_latest(run: Path, verb: str, tables: tuple[str, ...]) -> LatestCheck | None:
    folder = _find_latest(run, verb, ("run.json", f"{verb}.json", *tables))
    if folder is None:
        return None
    info = read_json_object(folder / f"{verb}.json")
    return LatestCheck(folder, info, {name: _read_table(folder / name) for name in tables})


def _find_latest(run: Path, verb: str, files: tuple[str, ...]) -> Path | None:
    """The last finished folder of that verb which was made from this run as it is and holds these files."""
    for folder in sorted((run / verb).glob("[0-9]*"), reverse=True):
        if folder.name.endswith(".partial") or not all((folder / name).is_file() for name in files):
            continue
        if read_json_object(folder / "run.json").get("of") == identify_run(run):
            return folder
    return None


def _read_table(path: Path) -> pd.DataFrame:
    text = {column: str for column in _TEXT_COLUMNS}
    try:
        return pd.read_csv(path, dtype=text, keep_default_na=True, na_values={column: [] for column in text})
    except (ValueError, pd.errors.ParserError) as e:
        raise BadInput(f"is not a table: {e}", where=str(path)) from e
