"""Numbers of a measurement: text brings its unit, a bare number is coherent (h, L, MBq) already.

In a file a bare number would be a guess, so there only times in h and zeros may be without a unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.parameters import read_number

Instance = TypeVar("Instance")


def convert_fields(instance: Any) -> None:
    """Turn text in fields with the metadata `unit` into coherent numbers, in `__post_init__` of frozen dataclasses."""
    for f in fields(instance):
        if "unit" in f.metadata:
            object.__setattr__(
                instance, f.name, to_coherent(getattr(instance, f.name), f.metadata["unit"], f"`{f.name}`")
            )


def build_from_table(kind: type[Instance], table: Mapping[str, Any], what: str) -> Instance:
    """`kind(**table)` for a table of a file. Raises `BadInput` naming an unknown, a missing or a bare-numbered key."""
    known = {f.name: f for f in fields(kind) if f.init}  # type: ignore[arg-type]
    for name, value in table.items():
        if name not in known:
            raise BadInput(f"`{name}` is not a key of {what}", hint=did_you_mean(name, known))
        _check_kind(name, value, str(known[name].type))
        unit = known[name].metadata.get("unit")
        if isinstance(value, (int, float)) and value and unit not in (None, "h"):
            raise BadInput(f"`{name}` = {value:g} has no unit", hint=f'write {name} = "{value:g} {unit}"')
    for name, f in known.items():
        if name not in table and f.default is MISSING and f.default_factory is MISSING:
            raise BadInput(f"{what} needs `{name}`")
    return kind(**table)


def _check_kind(name: str, value: Any, annotation: str) -> None:
    """Raise `BadInput` where a value of a file is of another kind than the field of that annotation can take."""
    words = set(re.findall(r"\w+", annotation))
    if annotation == "bool":  # its own check says what is wanted
        return
    if annotation.startswith(("Mapping", "dict")):
        fits = isinstance(value, dict)
    elif isinstance(value, dict):
        fits = bool({"Mapping", "dict"} & words) or any(word[0].isupper() and word != "None" for word in words)
    elif isinstance(value, bool):
        fits = bool({"bool", "Any"} & words) or any(word.endswith("Model") for word in words)
    elif isinstance(value, list):
        fits = bool({"tuple", "list", "Sequence", "Any"} & words)
    elif isinstance(value, str):
        fits = bool({"str", "float", "Any"} & words)
    else:
        fits = bool({"float", "int", "Any"} & words)
    if not fits:
        kind = {dict: "a table", bool: "a switch", list: "a list", str: "text"}.get(type(value), "a number")
        raise BadInput(f"`{name}` cannot be {kind}: {value!r:.40}")


def to_coherent(value: Any, unit: str, what: str) -> Any:
    """`"30 min"` as a number in coherent units; what is not text stands. Raises `BadInput` unless it has `unit`'s dimension."""
    if not isinstance(value, str):
        return value
    try:
        number, written_unit = read_number(value)
    except ValueError:
        raise BadInput(f'{what} = "{value}" is not a number with a unit', hint=f'write it as "… {unit}"') from None
    if not written_unit:
        raise BadInput(f'{what} = "{value}" has no unit', hint=f'write it as "{value.strip()} {unit}"')
    return number * units.require_dimension(written_unit, unit, f'{what} = "{value}"')


def check_nonnegative(value: Any, what: str) -> None:
    """Raise `BadInput` for a number below 0 or NaN. What is traced has no value to check yet."""
    if isinstance(value, (int, float)) and not value >= 0:
        raise BadInput(f"{what} = {value:g} is negative or no number")


def check_fraction(value: Any, what: str) -> None:
    """Raise `BadInput` for a number outside 0 to 1."""
    if isinstance(value, (int, float)) and not 0 <= value <= 1:
        raise BadInput(f"{what} = {value:g} is not between 0 and 1")
