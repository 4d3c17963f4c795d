"""Emptying: at certain times a part of one compartment's amount goes to another, or out of the model.

void("bladder", into="urine", every="3.5 h")             all of it, each 3.5 h
void("bladder", at=[2, "5 h"], left=0.05)                out of the model, at two times, a twentieth stays
parse_void("bladder to urine every 3.5 h leaving 5 %")   the first in the command line's words
dose(...) + void(...)                                    with what is administered
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pbpk.errors import BadInput
from pbpk.regimen.regimen import Regimen, Void
from pbpk.regimen.times import read_hours


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

    >>> pbpk.void("bladder", into="urine", every="3.5 h").voids[0].every  # hours
    3.5
    """
    subject = f"the voids of `{compartment}`"
    if (every is None) == (at is None):
        raise BadInput(f"{subject} need either `every` or `at`", hint='every="3.5 h", or at=[2, 5.5]')
    if not 0 <= left < 1:
        raise BadInput(
            f"{subject}: the fraction left is {left:g}, and must be from 0 to below 1", hint="left=0.05 is 5 %"
        )
    target = None if into is None or into.lower() == "out" else into
    if at is not None:
        if start is not None:
            raise BadInput(f"{subject}: `start` goes with `every`")
        moments = sorted(read_hours(t, "at") for t in at)
        if not moments:
            raise BadInput(f"{subject}: `at` lists no time")
        return Regimen((), (Void(compartment, target, at=tuple(moments), left=left),))
    assert every is not None
    interval = read_hours(every, "every")
    if interval <= 0:
        raise BadInput(f"{subject} need an interval above zero", hint='every="3.5 h"')
    first = interval if start is None else read_hours(start, "start")
    return Regimen((), (Void(compartment, target, every=interval, start=first, left=left),))


_GRAMMAR = "COMPARTMENT [to COMPARTMENT | out] every INTERVAL [from TIME] | at TIME, TIME, ... [leaving PERCENT %]"


def parse_void(text: str) -> Regimen:
    """Read voids in words, several separated by ";", in the form
    `COMPARTMENT [to COMPARTMENT | out] every INTERVAL [from TIME] | at TIME, TIME, ... [leaving PERCENT %]`. Raises
    `BadInput`
    with that form.

    >>> pbpk.parse_void("bladder to urine every 3.5 h") == pbpk.void("bladder", into="urine", every=3.5)
    True
    """
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts:
        raise _unreadable_void(text)
    regimen = Regimen(())
    for part in parts:
        regimen += _parse_one_void(part)
    return regimen


def _parse_one_void(text: str) -> Regimen:
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
        raise _unreadable_void(text)
    at = match["at"]
    if at is not None:  # "2, 5, 8 h": the last unit is that of the times without one
        pieces = [piece.strip() for piece in at.split(",")]
        unit = re.sub(r"^[\d.\s]+", "", pieces[-1])
        at = [piece if re.search(r"[A-Za-z]", piece) else f"{piece} {unit}" for piece in pieces]
    left = float(match["left"] or 0.0) / 100
    return void(match["compartment"], into=match["into"], every=match["every"], at=at, left=left, start=match["start"])


def _unreadable_void(text: str) -> BadInput:
    return BadInput(f'the void "{text}" cannot be read', hint=f"the form is: {_GRAMMAR}")
