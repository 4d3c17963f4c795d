"""`--set NAME=VALUE` on the contents of a fit.toml, and a run's specification as it was fitted. Needs no JAX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pbpk.errors import BadInput
from pbpk.model.parameters import read_number
from pbpk.study.schema import StudySpec, read_study_spec
from pbpk.tables import read_text, read_toml

_TABLE_SECTIONS = ("parameters", "error")  # a table for each name
_VALUE_SECTIONS = (
    ("values",),
    ("options",),
    ("data", "units"),
    ("data", "columns"),
    ("omega", "covariances"),
)  # a value for each


def load_spec(folder: Path, settings: Mapping[str, str] | None = None) -> StudySpec:
    """The specification in a study's or a run's folder. A run's own settings come first, then those given."""
    found = read_run_settings(folder) | {k: str(v) for k, v in (settings or {}).items()}
    return read_study_spec(apply_settings(read_toml(folder / "fit.toml"), found, folder), folder / "fit.toml")


def read_run_settings(folder: Path) -> dict[str, str]:
    """The settings that a run was started with, and those that point at its own model and data."""
    record = folder / "run.json"
    if not record.exists():
        return {}
    try:
        found = json.loads(read_text(record))
        return {str(k): str(v) for k, v in found.get("settings", {}).items()}
    except (ValueError, AttributeError) as e:
        raise BadInput("is not the record of a run", where=str(record)) from e


def apply_settings(data: dict, settings: Mapping[str, str], folder: Path) -> dict:
    """An estimated parameter's initial value, an entry of fit.toml by its path, or else one of the model's constants.

    `none` takes an entry out: `Q=none` no longer estimates Q, `parameters.Q.iiv=none` gives it no random effect.
    """
    parameters = data.get("parameters", {})
    for key, text in settings.items():
        name = key.removeprefix("parameters.")
        gone = text.strip().lower() == "none" and not key.startswith("options.")
        if gone and name in parameters:
            del parameters[name]
            continue
        if key in parameters:
            parameters[key]["initial"] = _parse_value(text)
            continue
        *path, last = _split_key(key)
        if (path or [key])[0] not in StudySpec.model_fields:
            path, last = ["values"], key
        inner = data
        for step in path:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise BadInput(f"`{key}` leads nowhere", where=str(folder / "fit.toml"))
        if not gone:
            inner[last] = text if path[:1] == ["options"] else _parse_value(text)
        elif inner.pop(last, None) is None:
            raise BadInput(f"`{key}` is not there to be taken out", where=str(folder / "fit.toml"))
    return data


def _split_key(key: str) -> list[str]:
    """The steps to an entry. Names of parameters have dots of their own: `parameters.lesion_1.efflux.initial` has three."""
    parts = key.split(".")
    if parts[0] in _TABLE_SECTIONS and len(parts) > 2:
        return [parts[0], ".".join(parts[1:-1]), parts[-1]]
    for head in _VALUE_SECTIONS:
        if tuple(parts[: len(head)]) == head and len(parts) > len(head):
            return [*head, ".".join(parts[len(head) :])]
    return parts


def _parse_value(text: str):
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number, unit = read_number(text)
    except ValueError:
        return text
    return text if unit else number
