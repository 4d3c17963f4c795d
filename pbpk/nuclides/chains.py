"""Decay chains: which nuclide follows which, and how much of each is there over time (bateman.py has the mathematics).

    chain("At-211").names                    # At-211, Po-211, Bi-207, Pb-207
    activities("At-211", 1.0, [0.0, 7.2])    # of each by name, in the unit of 1.0

This is for sources in which nothing moves. For daughters that move in a body, see `decay_chain` of pbpk.model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.errors import BadInput, did_you_mean
from pbpk.nuclides import Evaluation, Nuclide, load_nuclide, read_nuclides

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class DecayChain:
    """A decay chain. `members` are in an order in which parents come before their daughters; a decay to no member
    leaves the chain."""

    members: tuple[Nuclide, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, parents first."""
        return tuple(m.name for m in self.members)

    @property
    def k(self) -> np.ndarray:
        """Decay constants (n,), 1/h; 0 for what is stable."""
        return np.array([m.decay_constant for m in self.members])

    @property
    def branch(self) -> np.ndarray:
        """(n, n): the share of the decays of column j that give row i."""
        shares, place = np.zeros((len(self.members),) * 2), {name: i for i, name in enumerate(self.names)}
        for j, mother in enumerate(self.members):
            for decay in mother.decays:
                if decay.to in place:
                    shares[place[decay.to], j] += decay.branch
        return shares

    def atoms(self, a0: Any, t: Any) -> jax.Array:
        """Atoms at times t (any shape, h), (..., n), in the unit of `a0` · h, so that those of a member are A/λ.

        `a0` is the activity at t = 0 of the first member, or of all of them (n,). Traceable and differentiable in both.
        """
        from pbpk.nuclides import bateman  # here, not above: JAX is slow to load

        return bateman.count_atoms(self.k, self.branch, a0, _check_times(t))

    def activities(self, a0: Any, t: Any) -> jax.Array:
        """Activities at times t, (..., n), in the unit of `a0`; 0 for what is stable."""
        from pbpk.nuclides import bateman

        return bateman.compute_activities(self.k, self.branch, a0, _check_times(t))

    def decays(self, a0: Any, t: Any = None) -> jax.Array:
        """Decays from 0 to times t, (..., n), or to infinity, (n,): time-integrated activities in the unit of `a0` · h."""
        from pbpk.nuclides import bateman

        if t is None:
            return bateman.count_all_decays(self.k, self.branch, a0)
        return bateman.count_decays(self.k, self.branch, a0, _check_times(t))


def chain(nuclide: str, without: str | Iterable[str] = (), evaluation: Evaluation = "ensdf") -> DecayChain:
    """The chain of a nuclide, down to what is stable.

    Nuclides named in `without` are not followed, nor what comes of them alone. `evaluation` as in `load_nuclide`, where
    the other is the default. Raises `BadInput` for a nuclide not on file or a `without` that does not come of this one.

    >>> pbpk.chain("At-211").names
    ('At-211', 'Po-211', 'Bi-207', 'Pb-207')
    """
    known, first = read_nuclides(evaluation), load_nuclide(nuclide).name
    left_out = {load_nuclide(name).name for name in ((without,) if isinstance(without, str) else without)}
    everything = _list_descendants(first, known, set())
    for name in left_out:
        if name not in everything[1:]:
            raise BadInput(f"{name} does not come of {first}", hint=did_you_mean(name, everything[1:]))
    waiting, order = _list_descendants(first, known, left_out), []
    while waiting:
        ready = next(n for n in waiting if not any(d.to == n for other in waiting for d in known[other].decays))
        order.append(known[ready])
        waiting.remove(ready)
    return DecayChain(tuple(order))


def _list_descendants(first: str, known: Mapping[str, Nuclide], left_out: set[str]) -> list[str]:
    names = [first]
    for name in names:  # which grows on the way
        names += [d.to for d in known[name].decays if d.to not in names and d.to not in left_out]
    return names


def activities(
    parent: str, a0: Any, t: Any, without: str | Iterable[str] = (), evaluation: Evaluation = "ensdf"
) -> dict[str, jax.Array]:
    """Activities of a nuclide and its radioactive daughters over time, by name.

    `a0`: the parent's activity at t = 0; results have its unit and the shape of `t` (h). Differentiable in `a0` and `t`.

    >>> activity = pbpk.activities("At-211", 1.0, 7.2)
    >>> round(float(activity["At-211"]), 3), round(float(activity["Po-211"]), 3)
    (0.501, 0.291)
    """
    members = chain(parent, without, evaluation)
    by_member = members.activities(a0, t)
    return {m.name: by_member[..., i] for i, m in enumerate(members.members) if not m.stable}


def _check_times(t: Any) -> Any:
    from jax.core import Tracer

    if not isinstance(t, Tracer) and not (np.asarray(t) >= 0).all():
        raise BadInput("times must be hours from 0 on", why="A chain cannot be followed backwards.")
    return t
