"""The latest VPC and NPDE in a run's folder, read back for its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from pbpk.errors import BadInput
from pbpk.report.npde import npde_panels
from pbpk.report.vpc import Checked, vpc_panels
from pbpk.run_folders.read import read_json_object

if TYPE_CHECKING:
    from pbpk.run_folders.read import ObservationUnits


class CheckSummary(NamedTuple):
    """`about`: what was done; `verdict`: what it says; `panels`: SVG; `notes`: what the reader must know."""

    about: str
    verdict: str
    panels: list[str]
    notes: list[str]


def find_latest_check(run: Path, verb: str, *files: str) -> Path | None:
    """The last finished folder of that verb which belongs to this run and holds these files."""
    from pbpk.run_folders.record import identify_run

    for folder in sorted((run / verb).glob("[0-9]*"), reverse=True):
        if folder.name.endswith(".partial") or not all((folder / f).is_file() for f in ("run.json", *files)):
            continue
        if read_json_object(folder / "run.json").get("of") == identify_run(run):
            return folder
    return None


def read_vpc(run: Path, units: ObservationUnits) -> CheckSummary | None:
    folder = find_latest_check(run, "vpc", "vpc.json", "vpc.csv", "points.csv")
    if folder is None:
        return None
    info = read_json_object(folder / "vpc.json")
    text = {"DVID": str, "STRATUM": str, "PANEL": str, "LEVEL": str, "ID": str}
    table, points = (_read_check_table(folder / name, text) for name in ("vpc.csv", "points.csv"))
    kind = (
        "Prediction-corrected visual predictive check"
        if info.get("prediction_corrected")
        else "Visual predictive check"
    )
    about = f"{kind} with {info.get('replicates')} replicates, seed {info.get('seed')} (vpc/{folder.name})."
    return CheckSummary(
        about, str(info.get("verdict", "")), vpc_panels(Checked(table, points, info, units)), _read_notes(info)
    )


def read_npde(run: Path, units: ObservationUnits) -> CheckSummary | None:
    folder = find_latest_check(run, "npde", "npde.json", "npde.csv")
    if folder is None:
        return None
    info, table = (
        read_json_object(folder / "npde.json"),
        _read_check_table(folder / "npde.csv", {"ID": str, "DVID": str}),
    )
    panels = [
        svg for i, e in enumerate(table["DVID"].unique(), 1) for svg in npde_panels(table, str(e), units, f"npde{i}")
    ]
    about = f"Prediction distribution errors from {info.get('replicates')} replicates, seed {info.get('seed')}"
    return CheckSummary(f"{about} (npde/{folder.name}).", str(info.get("verdict", "")), panels, _read_notes(info))


def _read_check_table(path: Path, text: dict[str, Any]) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=text, keep_default_na=True, na_values={c: [] for c in text})
    except (ValueError, pd.errors.ParserError) as e:
        raise BadInput(f"is not a table: {e}", where=str(path)) from e


def _read_notes(info: dict[str, Any]) -> list[str]:
    return [str(n) for n in info.get("notes") or []]
