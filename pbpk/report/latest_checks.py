"""The latest VPC and NPDE of a run as its page shows them: a sentence, a verdict, panels, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pbpk.report.npde import draw_npde_panels
from pbpk.report.vpc import VpcFigures, draw_vpc_panels
from pbpk.run_folders.latest_checks import read_latest_npde, read_latest_vpc

if TYPE_CHECKING:
    from pathlib import Path

    from pbpk.run_folders.read import ObservationUnits


class CheckSummary(NamedTuple):
    """`about`: what was done; `verdict`: what it says; `panels`: SVG; `notes`: what the reader must know."""

    about: str
    verdict: str
    panels: list[str]
    notes: list[str]


def summarise_vpc(run: Path, units: ObservationUnits) -> CheckSummary | None:
    """The run's latest VPC; None where it has none."""
    check = read_latest_vpc(run)
    if check is None:
        return None
    info = check.info
    corrected = "Prediction-corrected visual predictive check"
    kind = corrected if info.get("prediction_corrected") else "Visual predictive check"
    about = f"{kind} with {info.get('replicates')} replicates, seed {info.get('seed')} (vpc/{check.folder.name})."
    panels = draw_vpc_panels(VpcFigures(check.tables["vpc.csv"], check.tables["points.csv"], info, units))
    return CheckSummary(about, str(info.get("verdict", "")), panels, _read_notes(info))


def summarise_npde(run: Path, units: ObservationUnits) -> CheckSummary | None:
    """The run's latest NPDE; None where it has none."""
    check = read_latest_npde(run)
    if check is None:
        return None
    info, table = check.info, check.tables["npde.csv"]
    panels = [
        svg
        for i, e in enumerate(table["DVID"].unique(), 1)
        for svg in draw_npde_panels(table, str(e), units, f"npde{i}")
    ]
    about = f"Prediction distribution errors from {info.get('replicates')} replicates, seed {info.get('seed')}"
    about = f"{about} (npde/{check.folder.name})."
    return CheckSummary(about, str(info.get("verdict", "")), panels, _read_notes(info))


def _read_notes(info: dict[str, Any]) -> list[str]:
    return [str(n) for n in info.get("notes") or []]
