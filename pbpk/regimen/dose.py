"""What is given, when and where: doses, infusions, repeats, in words or by name.

dose("3.7 GBq", into="blood")                        one bolus at time 0
dose("2.5 MBq/kg", into="blood", ii="8 weeks", addl=2)   three, eight weeks apart, scaled by each patient's WT
parse_dose("100 mg to depot at 0 h every 24 h x 5")  the same in the command line's words
dose(...) + dose(...)                                both
dose(...) + void(...)                                with a bladder that is emptied (void.py)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.parameters import read_number

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.regimen.void import Void


@dataclass(frozen=True)
class Dose:
    """`amount` in `unit` (per kg if `per_kg`); times in h; `addl` further doses every `ii`; `over`: infusion length.

    `ss` 1: given every `ii` forever before, which replaces what is there; 2: the same on top of what is there.
    """

    amount: float
    unit: str
    into: str | None
    at: float = 0.0
    ii: float = 0.0
    addl: int = 0
    over: float = 0.0
    per_kg: bool = False
    ss: int = 0


@dataclass(frozen=True)
class Regimen:
    """Doses, and the voids that go on beside them."""

    doses: tuple[Dose, ...]
    voids: tuple[Void, ...] = ()

    def __add__(self, other: Regimen) -> Regimen:
        return Regimen(self.doses + other.doses, self.voids + other.voids)

    @property
    def per_kg(self) -> bool:
        return any(d.per_kg for d in self.doses)

    def to_frame(self, model: Model, times: np.ndarray) -> pd.DataFrame:
        """Records for one patient: the doses, then an observation at each of `times` (h); amounts in coherent units.

        Observations at the time of a dose come after it. An extra column PER_KG marks doses to be multiplied by weight.
        """
        rows = []
        for d in self.doses:
            place = _compartment(d, model)
            wanted = model.system.compartments[model.system.index(place)].unit
            factor = units.require(d.unit, wanted, f"the dose {d.amount:g} {d.unit}", where=f"model `{model.name}`")
            rows.append((d.at, 1, d.amount * factor, 0.0, d.over, d.addl, d.ii, d.ss, place, 1, d.per_kg))
        rows += [(float(t), 0, 0.0, 0.0, 0.0, 0, 0.0, 0, "", 0, False) for t in times]
        columns = ["TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "MDV", "PER_KG"]
        return pd.DataFrame(rows, columns=columns).sort_values("TIME", kind="stable").reset_index(drop=True)


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
    """
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
    units.quantity(unit, "the dose")
    gap = hours(ii, "ii")
    if addl < 0 or (addl > 0 and gap <= 0):
        raise BadInput("repeated doses need an interval above zero", where=f'the dose "{amount}"', hint='ii="24 h"')
    if ss not in (0, 1, 2):
        raise BadInput(f"ss = {ss} is none of 0, 1, 2", where=f'the dose "{amount}"')
    if ss and gap <= 0:
        raise BadInput("a steady state needs an interval above zero", where=f'the dose "{amount}"', hint='ii="24 h"')
    return Regimen((Dose(value, unit, into, hours(at, "at"), gap, addl, hours(over, "over"), per_kg, int(ss)),))


def hours(value: float | str, what: str) -> float:
    """A time in h from a number of hours or text with a unit."""
    if not isinstance(value, str):
        number, unit = float(value), "h"
    else:
        try:
            number, unit = read_number(value)
        except ValueError:
            raise BadInput(f'{what} = "{value}" cannot be read as a time', hint='write "24 h" or "3 d"') from None
    result = number * units.require(unit or "h", "h", f"{what} = {value}")
    if not np.isfinite(result) or result < 0:
        raise BadInput(f"{what} = {value} is not a time from 0 on")
    return result


_GRAMMAR = "AMOUNT UNIT [to COMPARTMENT | oral | iv] [at TIME] [every INTERVAL x COUNT] [over DURATION]"


def parse_dose(text: str) -> Regimen:
    """Doses in words, several separated by ";". The form is that of `_GRAMMAR`."""
    parts = [p.strip() for p in text.split(";") if p.strip()]
    if not parts:
        raise _unreadable(text, "it is empty")
    regimen = Regimen(())
    for part in parts:
        regimen += _parse_one(part)
    return regimen


def _parse_one(text: str) -> Regimen:
    number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    head = re.match(rf"({number})\s*([^\s\d][^\s]*)", text)
    if head is None:
        raise _unreadable(text, "it does not begin with an amount and its unit")
    rest = text[head.end() :].strip()
    found: dict[str, Any] = {}
    clauses = {
        "into": r"(?:to|into|in)\s+([A-Za-z_][\w.]*)",
        "at": rf"at\s+({number}\s*[A-Za-z]*)",
        "ii": rf"every\s+({number}\s*[A-Za-z]+)",
        "count": r"(?:x|times)\s*(\d+)(?:\s+times)?",
        "over": rf"over\s+({number}\s*[A-Za-z]+)",
        "route": r"(?:by\s+)?(?!to\b|into\b|in\b|at\b|every\b|over\b|x\b|times\b)([A-Za-z_][\w.]*)",
    }
    while rest:
        for name, pattern in clauses.items():
            match = re.match(pattern + r"(?=\s|,|$)", rest)
            if match:
                key = "into" if name == "route" else name
                if key in found:
                    raise _unreadable(text, f'"{match[0]}" says again what "{found[key]}" said')
                found[key] = match[1]
                rest = rest[match.end() :].lstrip(" ,")
                break
        else:
            raise _unreadable(text, f'"{rest}" is not understood')
    if ("ii" in found) != ("count" in found):
        raise _unreadable(text, '"every" and the count "x N" go together')
    count = int(found.pop("count", "1"))
    if count < 1:
        raise _unreadable(text, "the count must be at least 1")
    return dose(f"{head[1]} {head[2]}", addl=count - 1, **found)


def _unreadable(text: str, why: str) -> BadInput:
    return BadInput(f'the dose "{text}" cannot be read', why=why, hint=f"the form is: {_GRAMMAR}")


def _compartment(d: Dose, model: Model) -> str:
    """Where a dose goes: a route's word, a compartment's name, or the model's only route."""
    routes, names = model.system.block.routes, model.system.names
    if d.into is None:
        if len({c.name for c in routes.values()}) == 1:
            return next(iter(routes.values())).name
        if len(names) == 1:
            return names[0]
        raise BadInput(
            f"the dose {d.amount:g} {d.unit} does not say where it goes",
            where=f"model `{model.name}`",
            hint="add one of: " + ", ".join(sorted(routes) or names),
        )
    lower = {**{n.lower(): n for n in names}, **{w.lower(): c.name for w, c in routes.items()}}
    lower |= {"orally": lower["oral"]} if "oral" in lower else {}
    if d.into in names:
        return d.into
    if d.into.lower() in lower:
        return lower[d.into.lower()]
    raise BadInput(
        f"no compartment or route `{d.into}`",
        where=f"model `{model.name}`",
        hint=did_you_mean(d.into, [*routes, *names]),
    )


def parse_times(text: str) -> np.ndarray:
    """Times in h from "1,6,24 h", "0:72:1" (start:stop:step) or "0:10:1 d"; h when no unit is said."""
    match = re.fullmatch(r"\s*([-+\d.eE:,\s]+?)\s*([A-Za-z]*)\s*", text)
    problem = BadInput(f'the times "{text}" cannot be read', hint='write "1,6,24 h" or "0:72:1 h" (start:stop:step)')
    if match is None:
        raise problem
    factor = units.require(match[2] or "h", "h", f'the times "{text}"')
    try:
        times: list[float] = []
        for part in match[1].split(","):
            ends = [float(x) for x in part.split(":")]
            if len(ends) == 3 and ends[2] > 0 and ends[1] >= ends[0] and (ends[1] - ends[0]) / ends[2] < 1e6:
                times += list(ends[0] + ends[2] * np.arange(int(np.floor((ends[1] - ends[0]) / ends[2] + 1e-9)) + 1))
            elif len(ends) == 1:
                times += ends
            else:
                raise problem
    except ValueError:
        raise problem from None
    result = np.array(times) * factor
    if not np.isfinite(result).all() or (result < 0).any() or not len(result):
        raise problem
    return np.unique(result)
