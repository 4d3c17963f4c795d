"""How many coherent units one unit of each column is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pbpk.data.headers import find_name, find_reserved_name
from pbpk.errors import BadInput, did_you_mean
from pbpk.units import require_dimension, unit_factor

_TIMES = ("TIME", "II", "DUR")
_KNOWN = ("TIME", "AMT", "RATE", "DUR", "II", "DV")


def find_scales(units: Mapping[str, str], free: Iterable[str], source: str) -> dict[str, float]:
    """The factor of every column, by reserved name or by the header of a covariate or an override.

    A unit not given means the numbers are coherent already, save that II and DUR follow TIME, and RATE is AMT per TIME.
    Raises `BadInput` for a unit that cannot be read, that has the wrong dimension, or whose column does not exist.
    """
    free, unit_of = list(free), {}
    for key, unit in units.items():
        name = find_reserved_name(key) or find_name(key, free)
        if name is None or (find_reserved_name(key) and name not in _KNOWN):
            raise BadInput(
                f'unit "{unit}" is given for `{key}`, which is not a column that has a unit',
                where=source,
                hint=did_you_mean(key, [*_KNOWN, *free]),
            )
        unit_of[name] = unit
    return {name: unit_factor(unit, f"{source}, unit of {name}") for name, unit in unit_of.items()} | _find_dose_scales(
        unit_of, source
    )


def _find_dose_scales(unit_of: Mapping[str, str], source: str) -> dict[str, float]:
    time = unit_of.get("TIME", "h")
    out = {n: require_dimension(unit_of.get(n, time), "h", n, f"{source}, unit of {n}") for n in _TIMES}
    amount = unit_of.get("AMT")
    out["AMT"] = unit_factor(amount, f"{source}, unit of AMT") if amount else 1.0
    if "RATE" not in unit_of:
        out["RATE"] = out["AMT"] / out["TIME"]
    elif amount:
        out["RATE"] = require_dimension(unit_of["RATE"], f"({amount})/h", "RATE", f"{source}, unit of RATE")
    return out
