"""A finished run read back from its folder: what reports, comparisons and further analyses need of it."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pbpk.errors import BadInput
from pbpk.tables import read_text, read_toml

SCHEMA_VERSION = 1
REQUIRED_COLUMNS = {
    "sdtab.csv": ("ID", "TIME", "DVID", "DV", "PRED", "IPRED", "IWRES", "CWRES"),
    "patab.csv": ("ID",),
    "parameters.csv": ("name", "estimate"),
    "covariance.csv": (),
    "iterations.csv": ("iteration", "ofv", "gradient"),
}
TEXT_COLUMNS = {"ID", "DVID", "name", "label", "unit", "fixed"}


@dataclass(frozen=True)
class ObservationUnits:
    """Units of a run's observations: of `time`, and of each observable; empty when unknown."""

    time: str
    observable: dict[str, str]

    def of(self, endpoint: str, what: str) -> str:
        """An axis label: `what`, with the endpoint's unit in parentheses."""
        unit = self.observable.get(endpoint, "")
        return f"{what} ({unit})" if unit else what

    @property
    def clock(self) -> str:
        """The label of an axis of time."""
        return f"time ({self.time})" if self.time else "time"


@dataclass(frozen=True)
class RunFiles:
    """The files of a finished run.

    `results` is results.json; `table` sdtab.csv, a row for each observation; `individual` patab.csv, one for each subject;
    `parameters`, `covariance` and `iterations` the CSV files of those names; `record` run.json; `command` command.txt. The
    last two and `fit_toml` are empty when their files are not there.
    """

    path: Path
    results: dict[str, Any]
    table: pd.DataFrame
    individual: pd.DataFrame
    parameters: pd.DataFrame
    covariance: pd.DataFrame
    iterations: pd.DataFrame
    record: dict[str, Any]
    command: str
    fit_toml: str
    units: ObservationUnits


def read_run(folder: Path) -> RunFiles:
    """Read a finished run. Raises `BadInput` for anything that is none, naming the file at fault."""
    folder = Path(folder)
    missing = [name for name in ("results.json", *REQUIRED_COLUMNS) if not (folder / name).is_file()]
    if missing:
        raise BadInput(
            f"is not a finished run: it holds no {missing[0]}" if folder.is_dir() else "is not a folder",
            where=str(folder),
            hint="give the folder that `pbpk fit` named when it was done",
        )
    results = read_results(folder / "results.json")
    tables = {name: read_table(folder / name, columns) for name, columns in REQUIRED_COLUMNS.items()}
    covariance = tables["covariance.csv"]
    covariance = covariance.set_index(covariance.columns[0]) if len(covariance.columns) else covariance
    covariance.index = covariance.index.map(str)
    fit = read_toml(folder / "fit.toml") if (folder / "fit.toml").is_file() else {}
    return RunFiles(
        path=folder,
        results=results,
        table=tables["sdtab.csv"],
        individual=tables["patab.csv"],
        parameters=tables["parameters.csv"],
        covariance=covariance.apply(pd.to_numeric, errors="coerce"),
        iterations=tables["iterations.csv"],
        record=read_json_object(folder / "run.json") if (folder / "run.json").is_file() else {},
        command=_read_optional_text(folder / "command.txt"),
        fit_toml=_read_optional_text(folder / "fit.toml"),
        units=_read_units(fit, results, tables["sdtab.csv"]),
    )


def read_results(path: Path) -> dict[str, Any]:
    """Read results.json. Raises `BadInput` for what is not the result of a fit, or was written in another form."""
    results = read_json_object(path)
    for key in ("schema_version", "study", "model", "method", "ofv"):
        if key not in results:
            raise BadInput(f"has no `{key}`, so it is not the result of a fit", where=str(path))
    if results["schema_version"] != SCHEMA_VERSION:
        raise BadInput(
            f"was written in form {results['schema_version']}; this pbpk reads form {SCHEMA_VERSION}",
            where=str(path),
            hint="use the version of pbpk named in run.json",
        )
    return results


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object. Raises `BadInput`."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as e:
        why = "It was cut short or changed after it was written."
        hint = "put it back as it was, or remove the run's folder and run again"
        raise BadInput(f"is not valid JSON: {e}", where=str(path), why=why, hint=hint) from e
    if not isinstance(content, dict):
        raise BadInput("is not a JSON object", where=str(path))
    return content


def finite_or_nan(x: Any) -> float:
    """`x` as a float, NaN when it is missing, not a number or infinite."""
    try:
        value = float(x)
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file: names as text (an ID may be `007` or `NA`), everything else as numbers. It may have no rows.

    Raises `BadInput` for what is no table or lacks one of `columns`.
    """
    text = read_text(path)
    if not text.strip():
        frame = pd.DataFrame()
    else:
        try:
            frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        except pd.errors.ParserError as e:
            raise BadInput(f"is not a table: {str(e).strip()}", where=str(path)) from e
    lacking = [c for c in columns if c not in frame.columns]
    if lacking:
        raise BadInput(f"has no column `{lacking[0]}`", where=str(path))
    first = {frame.columns[0]} if path.name == "covariance.csv" and len(frame.columns) else set()
    for column in frame.columns:
        if column not in TEXT_COLUMNS | first:
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def _read_optional_text(path: Path) -> str:
    return read_text(path) if path.is_file() else ""


def _read_units(fit: dict[str, Any], results: dict[str, Any], table: pd.DataFrame) -> ObservationUnits:
    """The data's own units as fit.toml states them; for DV without one, the observable's as results.json has it."""
    stated = fit.get("data", {}).get("units", {})
    known = results.get("observable_units") or {}
    by_endpoint = {name: part.get("unit") for name, part in fit.get("error", {}).items() if isinstance(part, dict)}
    observable = {
        str(e): str(by_endpoint.get(str(e)) or stated.get("DV", known.get(str(e), ""))) for e in table["DVID"].unique()
    }
    return ObservationUnits(time=str(stated.get("TIME", "h")), observable=observable)
