"""The values that a parameter's role allows: a bioavailability below zero, or a lag that ends before its dose, mean nothing.

A role is what a compartment uses a parameter for (volume, lag …), or which argument of one of pbpk's own laws it is bound to.
A law of the modeller's own says nothing of its arguments; a row's `range` can (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from pbpk.errors import BadInput
from pbpk.model.declare import Block
from pbpk.model.parameters import DERIVED, Parameter

_OWN_LAWS = ("pbpk.model.laws",)


class RoleRange(NamedTuple):
    """What a parameter is used for, in words, and whether it must be above zero or may be zero too; why, for a message."""

    role: str
    above_zero: bool
    why: str


def list_role_ranges(block: Block) -> dict[str, RoleRange]:
    """The range of every parameter that has a role, by name; the strictest where one has several."""
    ranges: dict[str, RoleRange] = {}
    for name, of_role in _walk_roles(block):
        known = ranges.get(name)
        if known is None or (of_role.above_zero and not known.above_zero):
            ranges[name] = of_role
    return ranges


def _walk_roles(block: Block) -> Iterator[tuple[str, RoleRange]]:
    for c in block.compartments:
        if c.clock is not None:
            continue
        roles = (
            (c.volume, "volume of", True, "Concentrations divide by it."),
            (c.lag, "lag of doses into", False, "A dose cannot act before it is given."),
            (c.bioavailability, "bioavailability into", False, "It would take away what is not there."),
            (c.rate, "rate of infusions into", False, "An infusion gives, and takes nothing away."),
            (c.duration, "duration of infusions into", False, "An infusion cannot end before it begins."),
            (c.initial, "initial amount in", False, "An amount cannot be below zero."),
        )
        for name, role, above_zero, why in roles:
            if name:
                yield name, RoleRange(f"the {role} `{c.name}`", above_zero, why)
    for f in block.fluxes:
        if f.law.__module__ in _OWN_LAWS:
            for argument, bound in f.bindings:
                if isinstance(bound, str):
                    words = f"`{argument}` of {f.law.__name__}, {f.path}"
                    yield bound, RoleRange(words, False, "The arrow would run backwards, or grow without end.")


def check_range(ranges: Mapping[str, RoleRange], row: Parameter, where: str) -> None:
    """Raise `BadInput` where a row's value is outside the range of its role."""
    known_range = ranges.get(row.name)
    if known_range is None or (row.value > 0 if known_range.above_zero else row.value >= 0):
        return
    wanted = "above zero" if known_range.above_zero else "zero or above"
    raise BadInput(
        f"{known_range.role}, `{row.name}`, is {row.value:g} {row.unit}",
        where=where,
        why=known_range.why,
        hint=f"it follows from others: {row.source}" if row.status == DERIVED else f"give one that is {wanted}",
    )


def find_out_of_range(ranges: Mapping[str, RoleRange], name: str, values: np.ndarray) -> np.ndarray:
    """Which of the values (any shape) of a parameter its role does not allow; NaN, "no value here", is allowed."""
    known_range = ranges.get(name)
    if known_range is None:
        return np.zeros(np.shape(values), bool)
    return values <= 0 if known_range.above_zero else values < 0


def list_questionable(block: Block, rows: Mapping[str, Parameter]) -> list[str]:
    """Sentences on values that are possible and seldom meant: a bioavailability above 1."""
    names = dict.fromkeys(c.bioavailability for c in block.compartments if c.bioavailability)
    return [
        f"the bioavailability `{n}` is {rows[n].value:g}: more than the dose would arrive. Is it a fraction?"
        for n in names
        if n in rows and rows[n].value > 1
    ]
