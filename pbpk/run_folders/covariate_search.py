"""`pbpk.covsearch`: a covariate search in a study or from a finished run, by its name or folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.covariate_search.result import Search
    from pbpk.study.load import Study


def covsearch(
    run: str | Path, relations: Sequence[str], *, settings: Mapping[str, str] | None = None, **plan: object
) -> Search:
    """Search for covariate effects; nothing is printed or written.

    `relations` as `"CL: WT power, SEX equals"`. Keywords are those of `pbpk.covariate_search.options.Plan`: method ("scm" or "full"),
    forward, backward, screen, estimation, references, bounds, level. `.table` has a row for each model tried, `.relations` what
    was chosen, `.forest` the factors with intervals. Raises `BadInput` for relations that the data cannot have and
    `ScienceFailed` where the model without any does not converge.
    """
    from pbpk.covariate_search.options import make_plan
    from pbpk.covariate_search.run import search

    options = make_plan(relations=tuple(relations), **plan)
    options.read()
    return search(load_source_study(find_search_source(run), settings or {}), options)


def find_search_source(name: str | Path) -> Path:
    """The folder of a finished run, called as `pbpk compare` calls it, or else of a study."""
    from pbpk.run_folders.find import find_run
    from pbpk.study.load import find_study

    try:
        return find_run(name)
    except BadInput as no_run:
        if str(name).endswith(".partial"):
            raise
        try:
            return find_study(name)
        except BadInput as no_study:
            raise (no_run if Path(name).exists() or "/" in str(name) else no_study) from None


def load_source_study(source: Path, settings: Mapping[str, str]) -> Study:
    """The study in that folder; a run's under its own name, by its own solver."""
    from dataclasses import replace

    from pbpk.run_folders.read import read_json_object
    from pbpk.study.load import load_study

    record = read_json_object(source / "run.json") if (source / "run.json").is_file() else {}
    study = load_study(source, settings=settings, solver=record.get("solver"))
    return replace(study, name=str(record.get("study") or study.name))
