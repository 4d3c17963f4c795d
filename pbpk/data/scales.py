"""How many coherent units one unit of each column is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pbpk.data.headers import find, reserved
from pbpk.errors import BadInput, did_you_mean
from pbpk.units import factor, require

_TIMES = ("TIME", "II", "DUR")
_KNOWN = ("TIME", "AMT", "RATE", "DUR", "II", "DV")


def scales(units: Mapping[str, str], free: Iterable[str], source: str) -> dict[str, float]:
    """The factor of every column, by reserved name or by the header of a covariate or an override.

    A unit not given means the numbers are coherent already, save that II and DUR follow TIME, and RATE is AMT per TIME.
    Raises `BadInput` for a unit that cannot be read, that has the wrong dimension, or whose column does not exist.
    """
    free, given = list(free), {}
    for key, unit in units.items():
        name = reserved(key) or find(key, free)
        if name is None or (reserved(key) and name not in _KNOWN):
            raise BadInput(
                f'unit "{unit}" is given for `{key}`, which is not a column that has a unit',
                where=source,
                hint=did_you_mean(key, [*_KNOWN, *free]),
            )
        given[name] = unit
    return {name: factor(unit, f"{source}, unit of {name}") for name, unit in given.items()} | _dosing(given, source)


def _dosing(given: Mapping[str, str], source: str) -> dict[str, float]:
    time = given.get("TIME", "h")
    out = {n: require(given.get(n, time), "h", n, f"{source}, unit of {n}") for n in _TIMES}
    amount = given.get("AMT")
    out["AMT"] = factor(amount, f"{source}, unit of AMT") if amount else 1.0
    if "RATE" not in given:
        out["RATE"] = out["AMT"] / out["TIME"]
    elif amount:
        out["RATE"] = require(given["RATE"], f"({amount})/h", "RATE", f"{source}, unit of RATE")
    return out
