"""Which daughters decay where their parent does, and how often.

A daughter is taken to stay where it is born, at once and for all its decays, when it lives less than a tenth as long as the
parent of the chain and less than 6 h; what comes of one that lives longer is left out with it. So 211Po goes with 211At and
207Bi does not, 212Bi with 212Pb, and the chains of 225Ac and 223Ra are whole. Daughters that move or outlive their parent have
time-integrated activities of their own, given by nuclide.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pbpk.nuclides import Nuclide, load_nuclide
from pbpk.nuclides.chains import chain

LONGEST_HALF_LIFE, LARGEST_RATIO = 6.0, 0.1  # h; over the parent's half-life


def decays_in_place(parent: Nuclide, daughter: Nuclide) -> bool:
    """Whether a daughter lives so short that all of it decays where its parent did."""
    return not daughter.stable and daughter.half_life < min(LONGEST_HALF_LIFE, LARGEST_RATIO * parent.half_life)


@cache
def _follow_chain(name: str, followed: frozenset[str] = frozenset()) -> tuple[dict[str, float], tuple[str, ...]]:
    """Follow a decay chain: decays per decay of the parent, of all that decays in place, and the daughters left out.

    Daughters in `followed` by the model are in neither.
    """
    parent, share, omitted = load_nuclide(name), {load_nuclide(name).name: 1.0}, []
    for member in chain(parent.name, evaluation="icrp107").members:  # parents before what comes of them
        for decay in member.decays if member.name in share else ():
            daughter = load_nuclide(decay.to)
            if daughter.name in followed:
                continue
            if decays_in_place(parent, daughter):
                share[daughter.name] = share.get(daughter.name, 0.0) + share[member.name] * decay.branch
            elif not daughter.stable:
                omitted.append(daughter.name)
    return share, tuple(dict.fromkeys(omitted))


def count_in_situ_decays(nuclide: str, followed: Iterable[str] = ()) -> dict[str, float]:
    """Decays of the parent and of each daughter that stays with it, per decay of the parent.

    Daughters in `followed`, and what comes of them alone, have time-integrated activities of their own.
    """
    return dict(_follow_chain(load_nuclide(nuclide).name, frozenset(followed))[0])


def find_omitted_daughters(nuclide: str, followed: Iterable[str] = ()) -> tuple[str, ...]:
    """Radioactive daughters that are counted nowhere: they outlive the parent and nothing follows them."""
    return _follow_chain(load_nuclide(nuclide).name, frozenset(followed))[1]
