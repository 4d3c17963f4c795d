"""Dose records that have no meaning: an error with the record's row, before anything is computed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.model.system import System


@cache
def can_reach_steady_state(system: System) -> np.ndarray:
    """(n,) False for compartments that only fill, alone or with others in a ring that nothing leaves: no steady state.

    What is produced comes from another place than what is eliminated goes to: else a compartment with both would be a ring
    of itself and the outside, which nothing leaves.
    """
    n = len(system.names)
    source = np.where(system.source == n, n + 1, system.source)
    _, ring = connected_components(
        coo_array((np.ones(len(source)), (source, system.target)), shape=(n + 2, n + 2)), connection="strong"
    )
    leaves = ring[source] != ring[system.target]
    return np.isin(ring, ring[source[leaves]])[:n]


def check_dose(
    system: System, index: int, amt: float, rate: float, addl: int, ii: float, ss: int, voids: bool, where: str
) -> None:
    """Raises `BadInput` for a dose into compartment `index` that has no meaning: NONMEM's rules for RATE, ADDL, II and SS, and
    steady states that do not exist. `where` names the record; `voids`: there are some."""
    compartment = system.compartments[index]
    for code, role, word in ((-1, compartment.rate, "rate"), (-2, compartment.duration, "duration")):
        if rate == code and role is None:
            raise BadInput(
                f"RATE = {code} asks for a modelled {word}, but the compartment `{compartment.name}` has none",
                where=where,
                hint=f'in the model: Compartment("{compartment.name}", "{compartment.unit}", {word}="NAME"); '
                "or give the RATE or DUR itself",
            )
    if rate < 0 and rate not in (-1, -2):
        raise BadInput(f"RATE = {rate:g} is negative and neither -1 nor -2", where=where)
    if addl > 0 and ii <= 0:
        raise BadInput(f"ADDL = {addl} needs an interval, but II is {ii:g}", where=where)
    if not ss:
        return
    if ss not in (1, 2):
        raise BadInput(f"SS = {ss} is none of 0, 1, 2", where=where)
    if amt > 0 and ii <= 0:
        hint = "an endless infusion has AMT = 0 and RATE above 0"
        raise BadInput(f"SS = {ss} needs an interval, but II is {ii:g}", where=where, hint=hint)
    if amt == 0 and not (rate > 0 or rate == -1):
        why = "With AMT = 0 a steady state is that of an endless infusion."
        raise BadInput(f"SS = {ss} with AMT = 0 needs a RATE", where=where, why=why, hint="give AMT and II, or RATE")
    if not can_reach_steady_state(system)[index]:
        why = f"Nothing leaves `{compartment.name}`, so repeated doses into it never come to a steady state."
        raise BadInput(f"SS = {ss} into `{compartment.name}` has no steady state", where=where, why=why)
    if voids:
        why = "A steady state is that of the doses alone; with voids at other intervals there is none."
        hint = "give the doses that lead to it (ADDL, II) instead of SS"
        raise BadInput(f"SS = {ss} cannot be combined with voids", where=where, why=why, hint=hint)
