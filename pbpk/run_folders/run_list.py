"""`pbpk.runs`: every run folder under a place, summarised in a line each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pbpk.errors import BadInput, did_you_mean, require_name
from pbpk.run_folders.find import suggest_resuming
from pbpk.run_folders.read import finite_or_nan, read_json_object, read_results, read_table
from pbpk.study.settings import load_spec

FINISHED, PARTIAL, UNREADABLE = "whole", "partial", "unreadable"


@dataclass(frozen=True)
class RunSummary:
    """One run folder in a line.

    `run`: its path; `number`: its name. `asked`: the options that the study states; `options`: all, defaults too.
    `parameters`: how many are estimated. `date`: when it was started, UTC; `seconds` of computing. `state`: whole, partial
    (it can be resumed) or unreadable; `remark` says why, or what to do.
    """

    run: str
    number: str
    study: str = ""
    model: str = ""
    options: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    method: str = ""
    ofv: float | None = None
    parameters: int | None = None
    minimization_successful: bool | None = None
    date: str = ""
    seconds: float | None = None
    seed: int | None = None
    state: str = FINISHED
    remark: str = ""


@dataclass(frozen=True)
class RunList:
    """Run folders, newest last."""

    runs: tuple[RunSummary, ...]

    @property
    def table(self) -> pd.DataFrame:
        """A row for each run, with the fields of `RunSummary` as columns."""
        return pd.DataFrame([asdict(r) for r in self.runs], columns=list(RunSummary.__dataclass_fields__))

    def to_dict(self) -> dict[str, Any]:
        """The list as `pbpk runs --json` prints it."""
        return {"runs": [asdict(r) for r in self.runs]}


def runs(where: str | Path | None = None) -> RunList:
    """Every run under `fits/` of the current folder; of one study, by its name or folder; or those in a given folder.

    A folder that cannot be read is among them and says why. Raises `BadInput` when there is no such study or folder.
    """
    if where is not None:
        require_name(where, "a study or folder")
    return RunList(tuple(sorted((summarise_run(f) for f in _list_folders(where)), key=lambda r: (r.date, r.run))))


def summarise_run(folder: Path) -> RunSummary:
    """Summarise one folder. Never raises: `remark` says what is wrong with a folder that cannot be read."""
    try:
        return _summarise_readable(folder)
    except BadInput as e:
        place = Path(e.where).name if e.where else ""
        why = f"{place} {e.what}" if place and place != folder.name else e.what
    except Exception as e:  # a list of runs must not end at a spoilt one, whatever it holds
        why = f"{type(e).__name__}: {e}"
    return RunSummary(str(folder), _run_number(folder), date=_start_date({}, folder), state=UNREADABLE, remark=why)


def _summarise_readable(folder: Path) -> RunSummary:
    """Summarise one folder. Raises `BadInput`, or whatever its files provoke."""
    partial = folder.name.endswith(".partial")
    if partial and not (folder / "run.json").is_file():
        raise BadInput("holds no run.json, so it cannot be resumed", where=str(folder))
    if not partial and not (folder / "results.json").is_file():
        raise BadInput("holds no results.json, so it is no finished run", where=str(folder))
    record = read_json_object(folder / "run.json") if (folder / "run.json").is_file() else {}
    spec = load_spec(folder) if (folder / "fit.toml").is_file() else None
    asked = {k: str(v) for k, v in spec.options.items()} if spec else {}
    common: dict[str, Any] = {
        "run": str(folder),
        "number": _run_number(folder),
        "options": {str(k): str(v) for k, v in (record.get("options") or asked).items()},
        "asked": asked,
        "date": _start_date(record, folder),
    }
    if partial:
        model = str(record.get("model") or (Path(spec.model).name if spec else ""))
        return RunSummary(
            **common,
            study=str(record.get("study", "")),
            model=model,
            method=str(record.get("method", "")),
            seed=_integer_or_none(record.get("seed")),
            state=PARTIAL,
            remark=suggest_resuming(folder),
        )
    results = read_results(folder / "results.json")
    fixed = read_table(folder / "parameters.csv", ("name", "fixed"))["fixed"].str.lower() == "true"
    ofv, seconds = finite_or_nan(results["ofv"]), sum(finite_or_nan(s) for s in (results.get("seconds") or {}).values())
    return RunSummary(
        **common,
        study=str(results["study"]),
        model=str(results["model"]),
        method=str(results["method"]),
        ofv=ofv if ofv == ofv else None,
        parameters=int((~fixed).sum()),
        minimization_successful=bool(results.get("minimization_successful")),
        seconds=round(seconds, 3) if seconds == seconds else None,
        seed=_integer_or_none(results.get("seed")),
    )


def _list_folders(where: str | Path | None) -> list[Path]:
    """The run folders that `where` calls, as `runs` says. Raises `BadInput`."""
    if where is None:
        return _subfolders(Path("fits").glob("*/runs"))
    named, folder = Path("fits") / where / "runs", Path(where)
    if named.is_dir():
        return _subfolders([named])
    if _is_run(folder):
        return [folder]
    if folder.is_dir():
        study = Path("fits") / folder.resolve().name / "runs"  # where the runs of a study kept elsewhere are
        if (folder / "runs").is_dir():
            return _subfolders([folder / "runs"])
        if (folder / "fit.toml").exists():
            return _subfolders([study] if study.is_dir() else [])
        return _subfolders([folder]) if folder.name == "runs" else [p for p in _subfolders([folder]) if _is_run(p)]
    from pbpk.study.load import list_studies

    known = [p.parent.name for p in Path("fits").glob("*/runs")] + list(list_studies())
    if str(where) in known:
        return []
    raise BadInput(f"no study or folder `{where}`", hint=did_you_mean(str(where), dict.fromkeys(known)))


def _subfolders(places: Iterator[Path] | list[Path]) -> list[Path]:
    return [p for place in places for p in sorted(place.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def _is_run(folder: Path) -> bool:
    started = folder.name.endswith(".partial") and (folder / "run.json").is_file()
    return started or (folder / "results.json").is_file()


def _run_number(folder: Path) -> str:
    return folder.name.removesuffix(".partial")


def _start_date(record: dict[str, Any], folder: Path) -> str:
    """When the run was started, UTC, as its record says; the date of its oldest file where the record does not."""
    try:
        return datetime.fromisoformat(str(record["started"])).astimezone(UTC).isoformat(timespec="seconds")
    except (KeyError, ValueError):
        times = [p.stat().st_mtime for n in ("results.json", "run.json") if (p := folder / n).is_file()]
        return datetime.fromtimestamp(min(times, default=folder.stat().st_mtime), UTC).isoformat(timespec="seconds")


def _integer_or_none(x: Any) -> int | None:
    return x if isinstance(x, int) else None
