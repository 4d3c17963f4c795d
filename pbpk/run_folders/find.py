"""Finding a finished run: by its folder, as STUDY/NUMBER, or as a study's latest."""

from __future__ import annotations

from pathlib import Path

from pbpk.errors import BadInput, did_you_mean, require_name
from pbpk.run_folders.resumable import FIT


def find_run(run: str | Path) -> Path:
    """The folder of a finished run: by that folder, as `STUDY/NUMBER`, or a study's latest under the current folder.

    Raises `BadInput` for what is no finished run; for one that is unfinished, the hint says how to resume it.
    """
    require_name(run, "a run")
    folder, name = Path(run), str(run)
    if (folder / "results.json").exists():
        return folder
    study, _, number = name.rpartition("/")
    numbered = Path("fits") / study / "runs" / number
    if study and (numbered / "results.json").exists():
        return numbered
    finished = sorted(p for p in (Path("fits") / name / "runs").glob("[0-9]*") if (p / "results.json").exists())
    if finished:
        return finished[-1]
    for place in (p for p in (folder, numbered) if p.name):
        started = place if place.name.endswith(".partial") else place.with_name(f"{place.name}.partial")
        if (started / "run.json").exists():
            raise BadInput("is not finished", where=str(started), hint=suggest_resuming(started))
    if folder.exists():
        raise BadInput("holds no results.json, so it is no finished run", where=name)
    known = [p.parent.name for p in Path("fits").glob("*/runs")]
    if study in known:
        known = [f"{study}/{p.name}" for p in (Path("fits") / study / "runs").iterdir()]
    raise BadInput(f"no run `{name}`", hint=did_you_mean(name, known) or "give the folder that a fit wrote")


def suggest_resuming(partial: Path) -> str:
    """What to do about an unfinished fit."""
    return f"go on with it:  {FIT.resume_command(partial)}"
