"""What a program on operands must be for JAX to call it (bind.py): the program itself, and the kernel that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import jax

    from pbpk.compile.backend.base import Backend, Buffer


class OperandProgram(Protocol):
    """An algorithm on operands with its buffers; compared and hashed by what makes its code."""

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The buffers that it reads."""
        ...

    @property
    def results(self) -> tuple[Buffer, ...]:
        """The buffers that it writes."""
        ...

    def run(self, machine: Backend) -> None:
        """Run the algorithm on a backend."""
        ...


class Kernel(Protocol):
    """What makes programs for arrays of the shapes that come; compared and hashed like a program."""

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many axes of its own each array has; arrays at the end may be left out."""
        ...

    @property
    def common(self) -> tuple[bool, ...]:
        """Whether each array may be the same for all patients; else it is copied for each."""
        ...

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[OperandProgram, list[jax.Array]]:
        """The program and its arguments in order, from arrays with one axis of patients, 1 long where `shared`."""
        ...


@runtime_checkable
class SelectiveKernel(Protocol):
    """A kernel some of whose results do not depend on all of its arguments."""

    def reached(self, moved: Sequence[bool]) -> list[bool]:
        """Which results differ where these arguments do: the others stay without an axis that `vmap` gives those."""
        ...


@runtime_checkable
class StructuredKernel(Protocol):
    """A kernel some of whose arrays say what is to be done."""

    @property
    def fixed(self) -> tuple[bool, ...]:
        """Which arrays must be the same for all patients: under a `vmap` of one, the members are called one by one."""
        ...
