"""Emptying: at certain times a part of one compartment's amount goes to another, or out of the model.

void("bladder", into="urine", every="3.5 h")             all of it, each 3.5 h
void("bladder", at=[2, "5 h"], left=0.05)                out of the model, at two times, a twentieth stays
parse_void("bladder to urine every 3.5 h leaving 5 %")   the first in the command line's words
dose(...) + void(...)                                    with what is given
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.regimen.dose import Regimen, hours

if TYPE_CHECKING:
    from pbpk.model.system import System


@dataclass(frozen=True)
class Void:
    """At the times `at` (h), or each `every` h from `start` on, all but the fraction `left` goes; `into` None: out."""

    compartment: str
    into: str | None
    at: tuple[float, ...] = ()
    every: float = 0.0
    start: float = 0.0
    left: float = 0.0

    def times(self, begin: float, end: float, most: int) -> list[float]:
        """Those from `begin` to `end`, both included; one more than `most` where there would be more."""
        if self.at:
            return [t for t in self.at if begin <= t <= end]
        slack = 1e-9
        first = max(int(np.ceil((begin - self.start) / self.every - slack)), 0)
        last = int(min(np.floor((end - self.start) / self.every + slack), first + most))
        return [self.start + k * self.every for k in range(first, last + 1)]


def void(
    compartment: str,
    *,
    into: str | None = None,
    every: float | str | None = None,
    at: Sequence[float | str] | None = None,
    left: float = 0.0,
    start: float | str | None = None,
) -> Regimen:
    """Voids of a compartment into another, or out of the model where `into` is left out or "out".

    Times are hours or text with a unit; the first of `every` is at `start`, or after one interval. It acts before the
    doses' and observations' own records of its time. Raises `BadInput` for what cannot be meant.
    """
    said = f"the voids of `{compartment}`"
    if (every is None) == (at is None):
        raise BadInput(f"{said} need either `every` or `at`", hint='every="3.5 h", or at=[2, 5.5]')
    if not 0 <= left < 1:
        raise BadInput(f"{said}: the fraction left is {left:g}, and must be from 0 to below 1", hint="left=0.05 is 5 %")
    target = None if into is None or into.lower() == "out" else into
    if at is not None:
        if start is not None:
            raise BadInput(f"{said}: `start` goes with `every`")
        moments = sorted(hours(t, "at") for t in at)
        if not moments:
            raise BadInput(f"{said}: `at` lists no time")
        return Regimen((), (Void(compartment, target, at=tuple(moments), left=left),))
    assert every is not None
    gap = hours(every, "every")
    if gap <= 0:
        raise BadInput(f"{said} need an interval above zero", hint='every="3.5 h"')
    first = gap if start is None else hours(start, "start")
    return Regimen((), (Void(compartment, target, every=gap, start=first, left=left),))


def places_of(one: Void, system: System) -> tuple[int, int]:
    """(from, to) as indices, the number of compartments meaning outside. Raises `BadInput` for what the model lacks."""
    found = []
    for name in (one.compartment, one.into):
        if name is None:
            found.append(len(system.names))
            continue
        same = [n for n in system.names if n == name] or [n for n in system.names if n.lower() == name.lower()]
        if len(same) != 1:
            hint = did_you_mean(name, system.names)
            raise BadInput(f"no compartment `{name}` to void", where=f"the voids of `{one.compartment}`", hint=hint)
        found.append(system.index(same[0]))
    source, target = found
    if source == target:
        raise BadInput(f"`{one.compartment}` cannot be voided into itself")
    if target < len(system.names):
        mine, its = system.compartments[source].unit, system.compartments[target].unit
        if not units.same_dimension(mine, its):
            raise BadInput(f"voiding `{one.compartment}` into `{one.into}` joins {mine} to {its}")
    return source, target


_GRAMMAR = "COMPARTMENT [to COMPARTMENT | out] every INTERVAL [from TIME] | at TIME, TIME, ... [leaving PERCENT %]"


def parse_void(text: str) -> Regimen:
    """Voids in words, in the form of `_GRAMMAR`; several separated by ";"."""
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts:
        raise _unreadable(text)
    regimen = Regimen(())
    for part in parts:
        regimen += _parse_one(part)
    return regimen


def _parse_one(text: str) -> Regimen:
    number = r"(?:\d+\.?\d*|\.\d+)"
    moment = rf"{number}\s*[A-Za-z]*"
    match = re.fullmatch(
        r"(?P<compartment>[A-Za-z_][\w.]*)(?:\s+(?:to|into)\s+(?P<into>[A-Za-z_][\w.]*)|\s+(?P<out>out))?"
        rf"(?:\s+every\s+(?P<every>{number}\s*[A-Za-z]+)(?:\s+from\s+(?P<start>{moment}))?"
        rf"|\s+at\s+(?P<at>{moment}(?:\s*,\s*{moment})*))"
        rf"(?:\s+leaving\s+(?P<left>{number})\s*%)?",
        text,
    )
    if match is None:
        raise _unreadable(text)
    at = match["at"]
    if at is not None:  # "2, 5, 8 h": the last unit is that of the times without one
        pieces = [piece.strip() for piece in at.split(",")]
        unit = re.sub(r"^[\d.\s]+", "", pieces[-1])
        at = [piece if re.search(r"[A-Za-z]", piece) else f"{piece} {unit}" for piece in pieces]
    left = float(match["left"] or 0.0) / 100
    return void(match["compartment"], into=match["into"], every=match["every"], at=at, left=left, start=match["start"])


def _unreadable(text: str) -> BadInput:
    hint = f"the form is: {_GRAMMAR}"
    return BadInput(f'the void "{text}" cannot be read', hint=hint)
