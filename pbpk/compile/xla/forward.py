"""A program's derivatives forward: the same program on operands that have derivatives (forward_mode.py), as a function
of JAX arrays.

As for a linear window (kernel.py), a `jvp` is the program with one nilpotent more, so that nesting of any depth stays machine
code. What does not move has no parts: times before all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from pbpk.compile.backend.base import Backend, Buffer
from pbpk.compile.backend.forward_mode import ForwardModeBackend
from pbpk.compile.xla import bind
from pbpk.compile.xla.coefficients import Parts, instantiate_zero, join_parts, split_parts
from pbpk.compile.xla.protocols import Kernel, OperandProgram

DECIDED = ("gave_up", "inaccurate", "step_lengths", "step_memory")
"""Arguments and results that are decided by numbers: without derivatives."""


class NamedKernel(Kernel, Protocol):
    """A kernel that is compared by what makes its programs; `names` are those of its arrays, in order."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its arrays, in order."""
        ...

    @property
    def results(self) -> tuple[str, ...]:
        """Those of its programs' results."""
        ...


@dataclass(frozen=True)
class ForwardProgram:
    """The program: `moving` says which arguments have parts, and whether those are the same for all patients."""

    program: OperandProgram
    nilpotents: int
    moving: tuple[tuple[str, tuple[bool, ...]], ...]

    @cached_property
    def more(self) -> dict[str, dict[int, Buffer]]:
        """By name, the buffers of the parts but the first."""
        per_patient = (False,) * (2**self.nilpotents - 1)
        shares = dict(self.moving) | {b.name: per_patient for b in self.program.results if b.name not in DECIDED}
        buffers = (*self.program.arguments, *self.program.results)
        return {
            b.name: {s: Buffer(f"{b.name}.{s}", b.shape, share) for s, share in enumerate(shares[b.name], 1)}
            for b in buffers
            if b.name in shares
        }

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        return (*self.program.arguments, *self._rest(self.program.arguments))

    @property
    def results(self) -> tuple[Buffer, ...]:
        return (*self.program.results, *self._rest(self.program.results))

    def _rest(self, buffers: Sequence[Buffer]) -> list[Buffer]:
        return [part for b in buffers for part in self.more.get(b.name, {}).values()]

    def run(self, machine: Backend) -> None:
        self.program.run(ForwardModeBackend(machine, self.nilpotents, self.more))


@dataclass(frozen=True)
class _ForwardModeKernel:
    """Its arrays are those of the kernel, and the parts of those that move."""

    kernel: NamedKernel
    nilpotents: int
    moving: tuple[str, ...]

    @property
    def _owners(self) -> tuple[tuple[int, int], ...]:
        """Of every array, whose it is and which part."""
        names = self.kernel.names
        rest = [(names.index(name), s) for name in self.moving for s in range(1, 2**self.nilpotents)]
        return (*((k, 0) for k in range(len(names))), *rest)

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(self.kernel.ranks[k] for k, _ in self._owners)

    @property
    def common(self) -> tuple[bool, ...]:
        return tuple(self.kernel.common[k] for k, _ in self._owners)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[OperandProgram, list[jax.Array]]:
        count, each = len(self.kernel.names), 2**self.nilpotents - 1
        program, arguments = self.kernel.prepare(shared[:count], arrays[:count])
        rest = shared[count:]
        moving = tuple((name, rest[k * each : (k + 1) * each]) for k, name in enumerate(self.moving))
        return ForwardProgram(program, self.nilpotents, moving), [*arguments, *arrays[count:]]

    def reached(self, moved: Sequence[bool]) -> list[bool]:
        """A part of a result is made of the same part of every argument, and of those whose sets are in its own."""
        parts = [s for (_, s), has in zip(self._owners, moved, strict=True) if has]
        rest = [s for name in self.kernel.results if name not in DECIDED for s in range(1, 2**self.nilpotents)]
        return [any(p & ~s == 0 for p in parts) for s in [0] * len(self.kernel.results) + rest]


def call_forward(kernel: NamedKernel, *arrays: jax.Array) -> list[jax.Array]:
    """`bind.call_kernel` of the kernel, differentiable by jvp to any order."""
    moving, decided = _call_parts(kernel, tuple((a,) for a in arrays))
    values, left = iter(parts[0] for parts in moving), iter(decided)
    return [next(left if name in DECIDED else values) for name in kernel.results]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _call_parts(kernel: NamedKernel, arguments: tuple[Parts, ...]) -> tuple[tuple[Parts, ...], tuple[jax.Array, ...]]:
    """The results that have derivatives in parts, and those that have none."""
    count = max(len(parts) for parts in arguments)
    moving = tuple(name for name, parts in zip(kernel.names, arguments, strict=True) if len(parts) > 1)
    each = [parts[0] for parts in arguments] + [a for parts in arguments for a in parts[1:]]
    results = bind.call_kernel(_ForwardModeKernel(kernel, count.bit_length() - 1, moving), *each)
    values, rest = results[: len(kernel.results)], iter(results[len(kernel.results) :])
    named = list(zip(kernel.results, values, strict=True))
    parts = tuple((v, *(next(rest) for _ in range(count - 1))) for name, v in named if name not in DECIDED)
    return parts, tuple(v for name, v in named if name in DECIDED)


@partial(_call_parts.defjvp, symbolic_zeros=True)
def _(kernel: NamedKernel, primals, tangents):
    """One nilpotent more for what moves, or has moved before."""
    (all_parts,), (moved,) = primals, tangents
    count, values, onward = max(len(parts) for parts in all_parts), [], []
    for name, parts, along in zip(kernel.names, all_parts, moved, strict=True):
        still = name in DECIDED or (len(parts) == 1 and all(isinstance(t, SymbolicZero) for t in along))
        missing = () if still else tuple(jnp.zeros_like(parts[0]) for _ in range(count - len(parts)))
        values.append(parts + missing)
        onward.append(() if still else tuple(instantiate_zero(t) for t in along) + missing)
    if not any(onward):
        results = _call_parts(kernel, all_parts)
        return results, jax.tree.map(jnp.zeros_like, results)
    parts, decided = _call_parts(kernel, join_parts(values, onward))
    same, more = split_parts(parts)
    return (same, decided), (more, jax.tree.map(jnp.zeros_like, decided))
