"""One saturable model's kernel as a function of JAX arrays, for use inside `jit`, `vmap` and `grad`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.compile.programs.rosenbrock.right_hand_side import RightHandSideField, lay_out_fluxes
from pbpk.compile.programs.rosenbrock.step import step_weights
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod, RosenbrockWindow
from pbpk.compile.programs.rosenbrock.window_adjoint import RosenbrockWindowAdjoint
from pbpk.compile.xla import forward as along
from pbpk.compile.xla import jit
from pbpk.compile.xla.opaque import opaque


class SaturableWindowResult(NamedTuple):
    """Amounts (M, n, ...) at the stops, their integrals from the window's start or None, codes (...), and the next step's
    length (...) h."""

    amounts: jax.Array
    integrals: jax.Array | None
    code: jax.Array
    length: jax.Array


class WindowArrays(NamedTuple):
    """What a window is crossed with, the axes of patients last: amounts (n, ...), a field's packed matrix (nonzeros, ...),
    what flows at zero amounts (n, ...), the laws' parameters (rows, ...), a constant inflow (n, ...) or None, and 0 and the
    stops, (M + 1, ...) or the same (M + 1,) for all."""

    start: jax.Array
    linear: jax.Array
    constant: jax.Array
    law_parameters: jax.Array
    inflow: jax.Array | None
    edges: jax.Array


def integrate_window(
    method: RosenbrockMethod, x: jax.Array, rate: jax.Array | None, stops: jax.Array, bound: Any, memory: Sequence[jax.Array]
) -> SaturableWindowResult:
    """Differentiable by vjp, and by jvp of that.

    From x (n, N) on with a field's `bound` parameters over the stops (M, N or 1); `memory` is the next step's length
    hours since something changed, and whether something has just changed, (N,) each."""
    kernel, arrays, reminded = prepare_call(method, x, rate, stops, bound, memory)
    return _as_result(_integrate(kernel, arrays, reminded))


def prepare_call(method, x, rate, stops, bound, memory) -> tuple[WindowKernel, WindowArrays, jax.Array]:
    """The kernel of `cross`, and what it is called with."""
    patients = x.shape[-1]
    own = bind_arrays(method.field, bound, patients)
    given = own.get("given", jnp.zeros((0, patients)))
    stops = stops[:, 0] if stops.shape[-1] == 1 else stops
    edges = jnp.concatenate([jnp.zeros_like(stops[:1]), stops])
    arrays = WindowArrays(x, own["linear"], own["constant"], given, rate, edges)
    reminded = jnp.stack([jnp.broadcast_to(m, (patients,)).astype(float) for m in memory])
    return WindowKernel(_on_this_host(method), rate is not None), arrays, reminded


def bind_arrays(field: RightHandSideField, bound: Any, patients: int) -> dict[str, jax.Array]:
    """A field's bound parameters as the kernels' arguments, by name."""
    rows = [_for_all_patients(a, patients) for group in bound.arguments for a in group if a is not None]
    found = {"linear": _for_all_patients(bound.linear, patients), "constant": _for_all_patients(bound.constant, patients)}
    if chosen := lay_out_fluxes(field).parameter_rows:
        found["given"] = jnp.concatenate(rows)[np.array(chosen, dtype=int)]
    return found


def _for_all_patients(a: jax.Array, patients: int) -> jax.Array:
    return jnp.broadcast_to(a, (*a.shape[:-1], patients))


def _on_this_host(method: RosenbrockMethod) -> RosenbrockMethod:
    return replace(method, registers=jit.host().registers)


def integrate_window_forward(method, x, rate, stops, bound, memory) -> SaturableWindowResult:
    """`cross`, differentiable by jvp, to any order: of amounts and integrals."""
    kernel, arrays, reminded = prepare_call(method, x, rate, stops, bound, memory)
    return _as_result(_call_forward(kernel, arrays, reminded))


def _as_result(found: Sequence[jax.Array]) -> SaturableWindowResult:
    amounts, *integral, code, lengths = found
    return SaturableWindowResult(amounts, integral[0] if integral else None, code[0].astype(jnp.int32), lengths[-1])


def _call_forward(kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array) -> list[jax.Array]:
    return along.call(kernel, *present_arrays(arrays), memory)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _integrate(kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array) -> list[jax.Array]:
    return _call_forward(kernel, arrays, memory)


def _forward(kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array):
    found = opaque(partial(_call_forward, kernel))(arrays, memory)
    return found, (arrays, memory, found[0], found[-1])


def _backward(kernel: WindowKernel, kept, cotangents):
    return opaque(partial(_call_adjoint, kernel))(*kept, cotangents[: 1 + kernel.method.integrals])


def _call_adjoint(kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array, amounts: jax.Array, lengths: jax.Array, seen):
    """From the cotangents of amounts and integrals: codes and lengths have none."""
    starts = jnp.concatenate([arrays.start[None], amounts[:-1]])
    found = along.call(WindowAdjointKernel(kernel), starts, *present_arrays(arrays)[1:], memory, lengths, *seen)
    of_start, of_linear, of_constant, *of_given, of_edges = found
    shared = of_edges.ndim - arrays.edges.ndim
    of_edges = jnp.sum(of_edges, axis=tuple(range(1, 1 + shared)))
    of_rate = None if arrays.inflow is None else of_constant
    given = of_given[0] if of_given else jnp.zeros_like(arrays.law_parameters)
    return WindowArrays(of_start, of_linear, of_constant, given, of_rate, of_edges), jnp.zeros_like(memory)


_integrate.defvjp(_forward, _backward)


def present_arrays(arrays: WindowArrays) -> list[jax.Array]:
    """Those that there are, in order."""
    return [a for a in arrays if a is not None and a.shape[0]]


@dataclass(frozen=True)
class WindowKernel:
    """Its arrays are those of `Given` that there are, in order, and the memory."""

    method: RosenbrockMethod
    inflow: bool

    @property
    def names(self) -> tuple[str, ...]:
        names = ["start", "linear", "constant"]
        names += ["given"] if lay_out_fluxes(self.method.field).parameter_rows else []
        return (*names, *(["rate"] if self.inflow else []), "edges", "memory")

    @property
    def results(self) -> tuple[str, ...]:
        return ("amounts", *(["integral"] if self.method.integrals else []), "code", "lengths")

    @property
    def ranks(self) -> tuple[int, ...]:
        return (1,) * len(self.names)

    @property
    def common(self) -> tuple[bool, ...]:
        return tuple(name == "edges" for name in self.names)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[RosenbrockWindow, list[jax.Array]]:
        at = self.names.index("edges")
        table = jnp.asarray(step_weights(self.method.tableau))[:, None]
        return RosenbrockWindow(self.method, len(arrays[at]) - 1, shared[at], self.inflow), [*arrays, table]


@dataclass(frozen=True)
class WindowAdjointKernel:
    """Its arrays are those of the forward kernel, of which the first are the amounts at every edge but the last; then the
    lengths there, and the cotangents of amounts and integrals."""

    forward: WindowKernel

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

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[RosenbrockWindowAdjoint, list[jax.Array]]:
        count = len(self.forward.ranks)
        march, given = self.forward.prepare(shared[:count], arrays[:count])
        return RosenbrockWindowAdjoint(march), [*given, *arrays[count:]]
