"""Doses by name or in words: boluses, infusions, repeats, steady states.

dose("3.7 GBq", into="blood")                        one bolus at time 0
dose("2.5 MBq/kg", into="blood", ii="8 weeks", addl=2)   three, eight weeks apart, scaled by each patient's WT
parse_dose("100 mg to depot at 0 h every 24 h x 5")  the same in the command line's words
dose(...) + dose(...)                                both
dose(...) + void(...)                                with a bladder that is emptied (void.py)
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pbpk import units
from pbpk.errors import BadInput, require_type
from pbpk.model.parameters import read_number
from pbpk.regimen.regimen import Dose, Regimen
from pbpk.regimen.times import read_hours


def dose(
    amount: str,
    *,
    into: str | None = None,
    at: float | str = 0.0,
    ii: float | str = 0.0,
    addl: int = 0,
    over: float | str = 0.0,
    ss: int = 0,
) -> Regimen:
    """A dose such as "3.7 GBq" or "2.5 MBq/kg" into a compartment or by a route of the model ("oral").

    `at`, `ii` and `over` are hours, or text with a unit ("8 weeks"). `ss=1` is the steady state of this dose
    given every `ii`, `ss=2` the same on top of what is there. Raises `BadInput` for what cannot be read.

    >>> pbpk.dose("2.5 MBq/kg", into="blood", ii="8 weeks", addl=2).doses[0].ii  # hours
    1344.0
    """
    require_type(amount, str, "a dose", 'write a number and a unit, as in "3.7 GBq"')
    require_type(addl, (int, np.integer), "addl", "how many further doses, a whole number")
    try:
        value, unit = read_number(amount)
    except ValueError:
        unit = ""
        value = float("nan")
    if not unit or not np.isfinite(value):
        raise BadInput(f'the dose "{amount}" cannot be read', hint='write a number and a unit, as in "3.7 GBq"')
    if value < 0:
        raise BadInput(f'the dose "{amount}" is negative')
    per_kg = unit.endswith("/kg")
    unit = unit.removesuffix("/kg")
    units.read_quantity(unit, "the dose")
    interval, where = read_hours(ii, "ii"), f'the dose "{amount}"'
    if addl < 0 or (addl > 0 and interval <= 0):
        raise BadInput("repeated doses need an interval above zero", where=where, hint='ii="24 h"')
    if ss not in (0, 1, 2):
        raise BadInput(f"ss = {ss} is none of 0, 1, 2", where=where)
    if ss and interval <= 0:
        raise BadInput("a steady state needs an interval above zero", where=where, hint='ii="24 h"')
    start, length = read_hours(at, "at"), read_hours(over, "over")
    return Regimen((Dose(value, unit, into, start, interval, addl, length, per_kg, int(ss)),))


_GRAMMAR = "AMOUNT UNIT [to COMPARTMENT | oral | iv] [at TIME] [every INTERVAL x COUNT] [over DURATION]"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CLAUSES = {  # tried in this order; a route is any word that begins no other clause
    "into": r"(?:to|into|in)\s+([A-Za-z_][\w.]*)",
    "at": rf"at\s+({_NUMBER}\s*[A-Za-z]*)",
    "ii": rf"every\s+({_NUMBER}\s*[A-Za-z]+)",
    "count": r"(?:x|times)\s*(\d+)(?:\s+times)?",
    "over": rf"over\s+({_NUMBER}\s*[A-Za-z]+)",
    "route": r"(?:by\s+)?(?!to\b|into\b|in\b|at\b|every\b|over\b|x\b|times\b)([A-Za-z_][\w.]*)",
}


def parse_dose(text: str) -> Regimen:
    """Read doses in words, several separated by ";", in the form
    `AMOUNT UNIT [to COMPARTMENT | oral | iv] [at TIME] [every INTERVAL x COUNT] [over DURATION]`. Raises `BadInput`
    with that form.

    >>> pbpk.parse_dose("100 mg oral every 24 h x 5") == pbpk.dose("100 mg", into="oral", ii=24, addl=4)
    True
    """
    require_type(text, str, "a dose in words", f"the form is: {_GRAMMAR}")
    parts = [p.strip() for p in text.split(";") if p.strip()]
    if not parts:
        raise _unreadable_dose(text, "it is empty")
    regimen = Regimen(())
    for part in parts:
        regimen += _parse_one_dose(part)
    return regimen


def _parse_one_dose(text: str) -> Regimen:
    head = re.match(rf"({_NUMBER})\s*([^\s\d][^\s]*)", text)
    if head is None:
        raise _unreadable_dose(text, "it does not begin with an amount and its unit")
    rest = text[head.end() :].strip()
    arguments: dict[str, Any] = {}
    while rest:
        for name, pattern in _CLAUSES.items():
            match = re.match(pattern + r"(?=\s|,|$)", rest)
            if match:
                key = "into" if name == "route" else name
                if key in arguments:
                    raise _unreadable_dose(text, f'"{match[0]}" says again what "{arguments[key]}" said')
                arguments[key] = match[1]
                rest = rest[match.end() :].lstrip(" ,")
                break
        else:
            raise _unreadable_dose(text, f'"{rest}" is not understood')
    if ("ii" in arguments) != ("count" in arguments):
        raise _unreadable_dose(text, '"every" and the count "x N" go together')
    count = int(arguments.pop("count", "1"))
    if count < 1:
        raise _unreadable_dose(text, "the count must be at least 1")
    return dose(f"{head[1]} {head[2]}", addl=count - 1, **arguments)


def _unreadable_dose(text: str, why: str) -> BadInput:
    return BadInput(f'the dose "{text}" cannot be read', why=why, hint=f"the form is: {_GRAMMAR}")
