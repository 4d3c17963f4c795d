"""Resuming: what an interrupted run keeps, and how its folder is found and opened again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pbpk.errors import BadInput
from pbpk.run_folders.claim import OutputFolder
from pbpk.run_folders.read import read_json_object
from pbpk.run_folders.resumable import FIT, ResumableVerb


@contextmanager
def keep_progress(folder: OutputFolder, verb: ResumableVerb | None = None) -> Iterator[None]:
    """Decide what stays of `folder` when the block that fills it fails.

    Without a verb nothing stays. With one, an interrupted run stays as it is, and one that failed stays where it has
    results that a resumed run need not compute again. The exception goes on to the caller.
    """
    try:
        yield
    except BaseException as e:
        interrupted = verb is not None and isinstance(e, KeyboardInterrupt)
        if not interrupted and (verb is None or not verb.has_progress(folder.partial)):
            folder.abandon()
        raise


def find_unfinished(name: str, verb: ResumableVerb, candidates: Iterable[Path], start_hint: str) -> Path:
    """The unfinished folder that `name` calls: that folder itself, or the first of `candidates`, which are best first.

    Raises `BadInput` where there is none; `start_hint` is what to type instead.
    """
    if Path(name).name.endswith(".partial"):
        return Path(name)
    unfinished = next(iter(candidates), None)
    if unfinished is None:
        raise BadInput(f"no unfinished {verb.noun} of `{name}`", hint=f"start one:  {start_hint}")
    return unfinished


def partial_of_out(name: str) -> Path:
    """The unfinished folder of a run that was started with `--out NAME`; it need not exist."""
    path = Path(name)
    return path.with_name(f"{path.name}.partial") if path.name else path


def list_unfinished(*places: Path) -> list[Path]:
    """The unfinished folders in `places`, the latest first."""
    return sorted((p for place in places for p in place.glob("*.partial")), reverse=True)


def resume_folder(partial: Path, verb: ResumableVerb) -> tuple[OutputFolder, dict[str, Any]]:
    """An unfinished folder, to be written further, and its run.json. Raises `BadInput` for what is none of that verb."""
    if not partial.name.endswith(".partial") or not (partial / "run.json").exists():
        raise BadInput("is not an unfinished run", where=str(partial), hint="its name ends in .partial")
    record = read_json_object(partial / "run.json")
    if record.get("verb", FIT.name) != verb.name:  # a fit's record names no verb
        raise BadInput(f"is not an unfinished {verb.noun}", where=str(partial))
    return OutputFolder(partial.with_name(partial.name.removesuffix(".partial")), partial), record


def locate_source_run(partial: Path, record: dict[str, Any]) -> Path:
    """The run that an unfinished analysis is of: the one whose folder holds it, wherever that has been moved to, or else
    the one that its record names."""
    above = partial.resolve().parent.parent
    return above if (above / "results.json").exists() else Path(record["run"])
