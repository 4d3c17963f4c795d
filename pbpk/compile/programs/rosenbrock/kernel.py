"""One saturable model's kernel as a function of JAX arrays, for use inside `jit`, `vmap` and `grad`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.compile.programs.rosenbrock.right_hand_side import Field, arrows_of
from pbpk.compile.programs.rosenbrock.step import weights
from pbpk.compile.programs.rosenbrock.window import March, Method
from pbpk.compile.programs.rosenbrock.window_adjoint import Unmarch
from pbpk.compile.xla import forward as along
from pbpk.compile.xla import jit
from pbpk.compile.xla.opaque import opaque


class Crossed(NamedTuple):
    """Amounts (M, n, ...) at the stops, their integrals from the window's start or None, codes (...), and the next step's
    length (...) h."""

    amounts: jax.Array
    integrals: jax.Array | None
    code: jax.Array
    length: jax.Array


class Given(NamedTuple):
    """What a window is crossed with, the axes of patients last: amounts (n, ...), a field's packed matrix (nonzeros, ...),
    what flows at zero amounts (n, ...), the laws' parameters (rows, ...), a constant inflow (n, ...) or None, and 0 and the
    stops, (M + 1, ...) or the same (M + 1,) for all."""

    start: jax.Array
    linear: jax.Array
    constant: jax.Array
    given: jax.Array
    rate: jax.Array | None
    edges: jax.Array


def cross(
    method: Method, x: jax.Array, rate: jax.Array | None, stops: jax.Array, bound: Any, memory: Sequence[jax.Array]
) -> Crossed:
    """Differentiable by vjp, and by jvp of that.

    From x (n, N) on with a field's `bound` parameters over the stops (M, N or 1); `memory` is the next step's length
    hours since something changed, and whether something has just changed, (N,) each."""
    kernel, arrays, reminded = ready(method, x, rate, stops, bound, memory)
    return _crossed(_cross(kernel, arrays, reminded))


def ready(method, x, rate, stops, bound, memory) -> tuple[Forward, Given, jax.Array]:
    """The kernel of `cross`, and what it is called with."""
    patients = x.shape[-1]
    own = bound_arrays(method.field, bound, patients)
    given = own.get("given", jnp.zeros((0, patients)))
    stops = stops[:, 0] if stops.shape[-1] == 1 else stops
    edges = jnp.concatenate([jnp.zeros_like(stops[:1]), stops])
    arrays = Given(x, own["linear"], own["constant"], given, rate, edges)
    reminded = jnp.stack([jnp.broadcast_to(m, (patients,)).astype(float) for m in memory])
    return Forward(_here(method), rate is not None), arrays, reminded


def bound_arrays(field: Field, bound: Any, patients: int) -> dict[str, jax.Array]:
    """A field's bound parameters as the kernels' arguments, by name."""
    rows = [_wide(a, patients) for group in bound.arguments for a in group if a is not None]
    found = {"linear": _wide(bound.linear, patients), "constant": _wide(bound.constant, patients)}
    if chosen := arrows_of(field).rows:
        found["given"] = jnp.concatenate(rows)[np.array(chosen, dtype=int)]
    return found


def _wide(a: jax.Array, patients: int) -> jax.Array:
    return jnp.broadcast_to(a, (*a.shape[:-1], patients))


def _here(method: Method) -> Method:
    return replace(method, registers=jit.host().registers)


def cross_along(method, x, rate, stops, bound, memory) -> Crossed:
    """`cross`, differentiable by jvp, to any order: of amounts and integrals."""
    kernel, arrays, reminded = ready(method, x, rate, stops, bound, memory)
    return _crossed(_onward(kernel, arrays, reminded))


def _crossed(found: Sequence[jax.Array]) -> Crossed:
    amounts, *integral, code, lengths = found
    return Crossed(amounts, integral[0] if integral else None, code[0].astype(jnp.int32), lengths[-1])


def _onward(kernel: Forward, arrays: Given, memory: jax.Array) -> list[jax.Array]:
    return along.call(kernel, *present(arrays), memory)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _cross(kernel: Forward, arrays: Given, memory: jax.Array) -> list[jax.Array]:
    return _onward(kernel, arrays, memory)


def _forward(kernel: Forward, arrays: Given, memory: jax.Array):
    found = opaque(partial(_onward, kernel))(arrays, memory)
    return found, (arrays, memory, found[0], found[-1])


def _backward(kernel: Forward, kept, cotangents):
    return opaque(partial(_pull, kernel))(*kept, cotangents[: 1 + kernel.method.integrals])


def _pull(kernel: Forward, arrays: Given, memory: jax.Array, amounts: jax.Array, lengths: jax.Array, seen):
    """From the cotangents of amounts and integrals: codes and lengths have none."""
    starts = jnp.concatenate([arrays.start[None], amounts[:-1]])
    found = along.call(Backward(kernel), starts, *present(arrays)[1:], memory, lengths, *seen)
    of_start, of_linear, of_constant, *of_given, of_edges = found
    shared = of_edges.ndim - arrays.edges.ndim
    of_edges = jnp.sum(of_edges, axis=tuple(range(1, 1 + shared)))
    of_rate = None if arrays.rate is None else of_constant
    given = of_given[0] if of_given else jnp.zeros_like(arrays.given)
    return Given(of_start, of_linear, of_constant, given, of_rate, of_edges), jnp.zeros_like(memory)


_cross.defvjp(_forward, _backward)


def present(arrays: Given) -> list[jax.Array]:
    """Those that there are, in order."""
    return [a for a in arrays if a is not None and a.shape[0]]


@dataclass(frozen=True)
class Forward:
    """Its arrays are those of `Given` that there are, in order, and the memory."""

    method: Method
    fed: bool

    @property
    def names(self) -> tuple[str, ...]:
        names = ["start", "linear", "constant"]
        names += ["given"] if arrows_of(self.method.field).rows else []
        return (*names, *(["rate"] if self.fed else []), "edges", "memory")

    @property
    def results(self) -> tuple[str, ...]:
        return ("amounts", *(["integral"] if self.method.integrals else []), "code", "lengths")

    @property
    def ranks(self) -> tuple[int, ...]:
        return (1,) * len(self.names)

    @property
    def common(self) -> tuple[bool, ...]:
        return tuple(name == "edges" for name in self.names)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[March, list[jax.Array]]:
        at = self.names.index("edges")
        table = jnp.asarray(weights(self.method.tableau))[:, None]
        return March(self.method, len(arrays[at]) - 1, shared[at], self.fed), [*arrays, table]


@dataclass(frozen=True)
class Backward:
    """Its arrays are those of the forward kernel, of which the first are the amounts at every edge but the last; then the
    lengths there, and the cotangents of amounts and integrals."""

    forward: Forward

    @property
    def names(self) -> tuple[str, ...]:
        integrals = ["of_integral"] if self.forward.method.integrals else []
        return ("starts", *self.forward.names[1:], "lengths", "of_amounts", *integrals)

    @property
    def results(self) -> tuple[str, ...]:
        given = ["of_given"] if "given" in self.forward.names else []
        return ("of_start", "of_linear", "of_constant", *given, "of_edges")

    @property
    def ranks(self) -> tuple[int, ...]:
        return (2, *self.forward.ranks[1:], 1, 2, *([2] if self.forward.method.integrals else []))

    @property
    def common(self) -> tuple[bool, ...]:
        return self.forward.common + (False,) * (len(self.ranks) - len(self.forward.common))

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[Unmarch, list[jax.Array]]:
        count = len(self.forward.ranks)
        march, given = self.forward.prepare(shared[:count], arrays[:count])
        return Unmarch(march), [*given, *arrays[count:]]
