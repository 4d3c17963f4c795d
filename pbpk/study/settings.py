"""`--set NAME=VALUE` on the contents of a fit.toml, and a run's specification as it was fitted. Needs no JAX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pbpk.errors import BadInput
from pbpk.model.parameters import read_number
from pbpk.study.schema import StudySpec, read_study_spec
from pbpk.tables import read_text, read_toml

_TABLE_SECTIONS = ("parameters", "error")  # each holds a table for each name
_VALUE_SECTIONS = (  # each holds a value for each name
    ("values",),
    ("options",),
    ("data", "units"),
    ("data", "columns"),
    ("omega", "covariances"),
)


def load_spec(folder: Path, settings: Mapping[str, str] | None = None) -> StudySpec:
    """The specification in a study's or a run's folder. A run's recorded settings come first, then `settings`."""
    merged = read_run_settings(folder) | {k: str(v) for k, v in (settings or {}).items()}
    return read_study_spec(apply_settings(read_toml(folder / "fit.toml"), merged, folder), folder / "fit.toml")


def read_run_settings(folder: Path) -> dict[str, str]:
    """The settings that a run was started with, and those that point at its own model and data; none for a study. Raises
    `BadInput` where run.json is not a record."""
    path = folder / "run.json"
    if not path.exists():
        return {}
    try:
        record = json.loads(read_text(path))
        return {str(k): str(v) for k, v in record.get("settings", {}).items()}
    except (ValueError, AttributeError) as e:
        raise BadInput("is not the record of a run", where=str(path)) from e


def apply_settings(data: dict, settings: Mapping[str, str], folder: Path) -> dict:
    """The contents of a fit.toml, changed in place. A key is an estimated parameter or covariate effect (whose initial value it
    sets), an entry of fit.toml by its path, or else one of the model's constants.

    `none` takes an entry out: `Q=none` no longer estimates Q, `parameters.Q.iiv=none` gives it no random effect. Raises
    `BadInput` for a path that leads nowhere.
    """
    parameters = data.get("parameters", {})
    for key, text in settings.items():
        name = key.removeprefix("parameters.")
        removed = text.strip().lower() == "none" and not key.startswith("options.")
        if removed and name in parameters:
            del parameters[name]
            continue
        if key in parameters:
            parameters[key]["initial"] = _parse_value(text)
            continue
        if (effect := _find_effect(parameters, key)) is not None and not removed:
            effect["initial"] = _parse_value(text)
            continue
        *path, last = _split_key(key)
        if (path or [key])[0] not in StudySpec.model_fields:
            path, last = ["values"], key
        section = data
        for step in path:
            section = section.setdefault(step, {})
            if not isinstance(section, dict):
                raise BadInput(f"`{key}` leads nowhere", where=str(folder / "fit.toml"))
        if not removed:
            section[last] = text if path[:1] == ["options"] else _parse_value(text)
        elif section.pop(last, None) is None:
            raise BadInput(f"`{key}` is not there to be taken out", where=str(folder / "fit.toml"))
    return data


def _find_effect(parameters: object, name: str) -> dict | None:
    """The covariate effect whose coefficient is estimated under this name, in what a fit.toml says of parameters."""
    parts = [p for p in parameters.values() if isinstance(p, dict)] if isinstance(parameters, dict) else []
    effects = [e for p in parts if isinstance(p.get("covariates"), list) for e in p["covariates"]]
    return next((e for e in effects if isinstance(e, dict) and e.get("estimate") == name), None)


def _split_key(key: str) -> list[str]:
    """The steps to an entry. Names of parameters have dots of their own: `parameters.lesion_1.efflux.initial` has three."""
    parts = key.split(".")
    if parts[0] in _TABLE_SECTIONS and len(parts) > 2:
        return [parts[0], ".".join(parts[1:-1]), parts[-1]]
    for head in _VALUE_SECTIONS:
        if tuple(parts[: len(head)]) == head and len(parts) > len(head):
            return [*head, ".".join(parts[len(head) :])]
    return parts


def _parse_value(text: str) -> bool | float | str:
    """A truth value or a number, where the text is one; a number with a unit stays text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number, unit = read_number(text)
    except ValueError:
        return text
    return text if unit else number
