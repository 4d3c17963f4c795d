"""The final model as a study of its own: the text of its fit.toml, to be fitted, compared and changed like any other."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pbpk.covariate_search.candidates import at_estimates, enlarged_spec

if TYPE_CHECKING:
    from pbpk.covariate_search.result import Search
    from pbpk.study.load import Study


def final_toml(study: Study, found: Search, model: str) -> str:
    """The study's specification with the chosen effects at their estimates; `model` is where the model lies."""
    estimates = dict(zip(found.parameters["name"], (float(x) for x in found.parameters["estimate"]), strict=True))
    spec = enlarged_spec(study.spec, tuple(at_estimates(c, estimates) for c in found.chosen))
    part = spec.estimation.model_copy(update={"method": found.estimation})
    data = spec.model_dump(exclude_defaults=True, exclude_none=True, by_alias=True, mode="json")
    data |= {"model": model, "estimation": part.model_dump(exclude_defaults=True) | {"method": found.estimation}}
    return toml_text(data)


def toml_text(data: dict[str, Any]) -> str:
    """Scalars first, then a table for each mapping, with its entries inline, and one for each mapping in a list."""
    plain = [f"{_key(k)} = {_value(v)}" for k, v in data.items() if not _tabular(v)]
    parts = ["\n".join(plain)]
    for k, v in data.items():
        if isinstance(v, dict):
            parts.append("\n".join([f"[{_key(k)}]", *(f"{_key(n)} = {_value(x)}" for n, x in v.items())]))
        elif _tabular(v):
            parts += ["\n".join([f"[[{_key(k)}]]", *(f"{_key(n)} = {_value(x)}" for n, x in one.items())]) for one in v]
    return "\n\n".join(p for p in parts if p) + "\n"


def _tabular(v: Any) -> bool:
    return isinstance(v, dict) or (isinstance(v, list) and bool(v) and all(isinstance(x, dict) for x in v))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(v: Any) -> str:
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(x)}" for k, x in v.items()) + " }"
    if isinstance(v, list | tuple):
        return "[" + ", ".join(_value(x) for x in v) + "]"
    return json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v)
