"""The final model as a study of its own: the text of its fit.toml, to be fitted, compared and changed like any other."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pbpk.covariate_search.candidates import add_effects, start_at_estimates

if TYPE_CHECKING:
    from pbpk.covariate_search.result import CovariateSearchResult
    from pbpk.study.load import Study


def format_final_study(study: Study, result: CovariateSearchResult, model: str) -> str:
    """The fit.toml of the final model: the study with the chosen effects at their estimates; `model` is the path of
    its model."""
    estimates = dict(zip(result.parameters["name"], (float(x) for x in result.parameters["estimate"]), strict=True))
    spec = add_effects(study.spec, tuple(start_at_estimates(c, estimates) for c in result.chosen))
    part = spec.estimation.model_copy(update={"method": result.estimation})
    data = spec.model_dump(exclude_defaults=True, exclude_none=True, by_alias=True, mode="json")
    data |= {"model": model, "estimation": part.model_dump(exclude_defaults=True) | {"method": result.estimation}}
    return format_toml(data)


def format_toml(data: dict[str, Any]) -> str:
    """Write a mapping as TOML: scalars first, then a table for each mapping, with its entries inline, and one for each
    mapping in a list."""
    plain = [f"{_format_key(k)} = {_format_value(v)}" for k, v in data.items() if not _is_table(v)]
    parts = ["\n".join(plain)]
    for k, v in data.items():
        if isinstance(v, dict):
            parts.append(
                "\n".join([f"[{_format_key(k)}]", *(f"{_format_key(n)} = {_format_value(x)}" for n, x in v.items())])
            )
        elif _is_table(v):
            parts += [
                "\n".join(
                    [f"[[{_format_key(k)}]]", *(f"{_format_key(n)} = {_format_value(x)}" for n, x in one.items())]
                )
                for one in v
            ]
    return "\n\n".join(p for p in parts if p) + "\n"


def _is_table(v: Any) -> bool:
    """Whether a value is written as a table of its own, or as several."""
    return isinstance(v, dict) or (isinstance(v, list) and bool(v) and all(isinstance(x, dict) for x in v))


def _format_key(name: str) -> str:
    """A key, in quotes where TOML needs them."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _format_value(v: Any) -> str:
    """A value on one line; mappings become inline tables."""
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{_format_key(k)} = {_format_value(x)}" for k, x in v.items()) + " }"
    if isinstance(v, list | tuple):
        return "[" + ", ".join(_format_value(x) for x in v) + "]"
    return json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v)
