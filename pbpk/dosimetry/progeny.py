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

LONGEST, SHARE = 6.0, 0.1  # h; of the parent's half-life


def stays(parent: Nuclide, daughter: Nuclide) -> bool:
    return not daughter.stable and daughter.half_life < min(LONGEST, SHARE * parent.half_life)


@cache
def _followed(name: str, apart: frozenset[str] = frozenset()) -> tuple[dict[str, float], tuple[str, ...]]:
    parent, share, left = load_nuclide(name), {load_nuclide(name).name: 1.0}, []
    for member in chain(parent.name, evaluation="icrp107").members:  # parents before what comes of them
        for decay in member.decays if member.name in share else ():
            daughter = load_nuclide(decay.to)
            if daughter.name in apart:
                continue
            if stays(parent, daughter):
                share[daughter.name] = share.get(daughter.name, 0.0) + share[member.name] * decay.branch
            elif not daughter.stable:
                left.append(daughter.name)
    return share, tuple(dict.fromkeys(left))


def in_situ(nuclide: str, apart: Iterable[str] = ()) -> dict[str, float]:
    """Decays of the parent and of each daughter that stays with it, per decay of the parent; daughters in `apart`, and what
    comes of them alone, have time-integrated activities of their own."""
    return dict(_followed(load_nuclide(nuclide).name, frozenset(apart))[0])


def left_out(nuclide: str, apart: Iterable[str] = ()) -> tuple[str, ...]:
    """Radioactive daughters that are counted nowhere."""
    return _followed(load_nuclide(nuclide).name, frozenset(apart))[1]
