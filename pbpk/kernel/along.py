"""A saturable window's derivatives forward: the same program on operands that have derivatives (jets.py).

As for a linear one (linear.py), a `jvp` is the program with one nilpotent more, so that nesting of any depth stays machine
code. What does not move has no parts: times before all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from pbpk.kernel import bind
from pbpk.kernel.jets import Jets
from pbpk.kernel.machine import Buffer, Machine
from pbpk.kernel.march import March, march
from pbpk.kernel.parts import Parts, alone, halves, joined, number
from pbpk.kernel.saturable import Crossed, Forward, present, ready

_MOVING = ("amounts", "integral")  # results that have derivatives


@dataclass(frozen=True)
class Along:
    """The program: `moving` says which arguments have parts, and whether those are the same for all patients."""

    march: March
    nilpotents: int
    moving: tuple[tuple[str, tuple[bool, ...]], ...]

    @cached_property
    def more(self) -> dict[str, dict[int, Buffer]]:
        """By name, the buffers of the parts but the first."""
        count = 2**self.nilpotents
        shares = dict(self.moving) | {name: (False,) * (count - 1) for name in _MOVING}
        found: dict[str, dict[int, Buffer]] = {}
        for b in (*self.march.arguments, *self.march.results):
            if b.name in shares:
                own = enumerate(shares[b.name], 1)
                found[b.name] = {s: Buffer(f"{b.name}.{s}", b.shape, share) for s, share in own}
        return found

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return (*self.march.arguments, *self._rest(self.march.arguments))

    @property
    def results(self) -> tuple[Buffer, ...]:
        return (*self.march.results, *self._rest(self.march.results))

    def _rest(self, buffers: Sequence[Buffer]) -> list[Buffer]:
        return [part for b in buffers for part in self.more.get(b.name, {}).values()]

    def run(self, machine: Machine) -> None:
        march(Jets(machine, self.nilpotents, self.more), self.march)


@dataclass(frozen=True)
class _Call:
    """Its arrays are those of `Forward`, and the parts of those that move."""

    forward: Forward
    nilpotents: int
    moving: tuple[str, ...]

    @property
    def _owners(self) -> tuple[tuple[str, int], ...]:
        """Of every array, whose it is and which part."""
        rest = [(name, s) for name in self.moving for s in range(1, 2**self.nilpotents)]
        return (*((name, 0) for name in self.forward.names), *rest)

    @property
    def ranks(self) -> tuple[int, ...]:
        return (1,) * len(self._owners)

    @property
    def common(self) -> tuple[bool, ...]:
        return tuple(name == "edges" for name, _ in self._owners)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[bind.Program, list[jax.Array]]:
        count = len(self.forward.names)
        window, given = self.forward.prepare(shared[:count], arrays[:count])
        of = {name: [] for name in self.moving}
        for (name, _), same in zip(self._owners[count:], shared[count:], strict=True):
            of[name].append(same)
        moving = tuple((name, tuple(same)) for name, same in of.items())
        return Along(window, self.nilpotents, moving), [*given, *arrays[count:]]

    def reached(self, moved: Sequence[bool]) -> list[bool]:
        """A part of a result is made of the same part of every argument, and of those whose sets are in its own."""
        parts = [s for (_, s), has in zip(self._owners, moved, strict=True) if has]
        integrals = self.forward.method.integrals
        rest = [s for _ in range(1 + integrals) for s in range(1, 2**self.nilpotents)]
        return [any(p & ~s == 0 for p in parts) for s in [0] * (3 + integrals) + rest]


def cross_along(method, x, rate, stops, bound, memory) -> Crossed:
    """`pbpk.kernel.saturable.cross`, differentiable by jvp, to any order: of amounts and integrals."""
    forward, arrays, reminded = ready(method, x, rate, stops, bound, memory)
    (amounts, *integral), (code, length) = _cross(forward, alone(*present(arrays)), jax.lax.stop_gradient(reminded))
    return Crossed(amounts[0], integral[0][0] if integral else None, code.astype(jnp.int32), length)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _cross(forward: Forward, given: tuple[Parts, ...], memory: jax.Array):
    """Amounts and integrals in parts; the code, and the next step's length."""
    count = max(len(parts) for parts in given)
    names = tuple(n for n, parts in zip(forward.names, given, strict=False) if len(parts) > 1)
    call = _Call(forward, count.bit_length() - 1, names)
    rest = [a for parts in given for a in parts[1:]]
    found = bind.call(call, *(parts[0] for parts in given), memory, *rest)
    integrals = forward.method.integrals
    (*values, code, lengths), rest = found[: 3 + integrals], found[3 + integrals :]
    each = count - 1
    parts = tuple((v, *rest[k * each : (k + 1) * each]) for k, v in enumerate(values))
    return parts, (code[0], lengths[-1])


@partial(_cross.defjvp, symbolic_zeros=True)
def _(forward: Forward, primals, tangents):
    """One nilpotent more for what moves, or has moved before."""
    (given, memory), (moved, _) = primals, tangents
    count, values, onward = max(len(parts) for parts in given), [], []
    for parts, along in zip(given, moved, strict=True):
        if len(parts) == 1 and all(isinstance(t, SymbolicZero) for t in along):
            values.append(parts)
            onward.append(())
            continue
        missing = tuple(jnp.zeros_like(parts[0]) for _ in range(count - len(parts)))
        values.append(parts + missing)
        onward.append(tuple(number(t) for t in along) + missing)
    if not any(onward):
        found = _cross(forward, given, memory)
        return found, jax.tree.map(jnp.zeros_like, found)
    parts, others = _cross(forward, joined(values, onward), memory)
    same, more = halves(parts)
    return (same, others), (more, jax.tree.map(jnp.zeros_like, others))
