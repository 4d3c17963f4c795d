"""The kinds of study that have a loader of their own. To add one: its section in schema.py and a row in `STUDY_KINDS`.

A study of individual data is assembled here, in load.py. A kind is recognised by its section of fit.toml; its loader lives
in a higher layer and loads on first use, so nothing here imports it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbpk.study.schema import StudySpec

# Section of fit.toml -> (module, function). The function takes the study's folder, specification, model, the name of a solver
# or None, and a function that assembles the study of the individual data from a specification; it returns a `Study`.
STUDY_KINDS = {"summary": ("pbpk.aggregate_data.study", "load_summary_study")}


def find_study_kind(spec: StudySpec) -> str | None:
    """The kind of study by the section that makes it one; None for a study of individual data."""
    return next((section for section in STUDY_KINDS if getattr(spec, section) is not None), None)


def get_study_loader(kind: str) -> Callable[..., Any]:
    """What assembles a study of this kind."""
    module, function = STUDY_KINDS[kind]
    return getattr(importlib.import_module(module), function)


def list_section_files(spec: StudySpec) -> list[str]:
    """The data files that a study's kinds read beside its event records, as named in their sections."""
    return [getattr(spec, section).file for section in STUDY_KINDS if getattr(spec, section) is not None]
