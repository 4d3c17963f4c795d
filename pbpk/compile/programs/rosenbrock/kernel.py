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
from pbpk.compile.xla import forward as forward_mode
from pbpk.compile.xla import jit
from pbpk.compile.xla.opaque import opaque
from pbpk.results import ResultCode


class SaturableWindowResult(NamedTuple):
    """Amounts (M, n, ...) at the stops, their integrals from the window's start or None, result codes (...), and the next
    step's length (...) h."""

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
    method: RosenbrockMethod,
    x: jax.Array,
    inflow: jax.Array | None,
    stops: jax.Array,
    bound: Any,
    step_memory: Sequence[jax.Array],
) -> SaturableWindowResult:
    """Crosses a window: from x (n, N) on with a field's `bound` parameters over the stops (M, N or 1). `step_memory` is the
    next step's length and the hours since something changed, (N,) each. Differentiable by vjp, and by jvp of that."""
    kernel, arrays, memory = prepare_call(method, x, inflow, stops, bound, step_memory)
    return _as_result(_integrate(kernel, arrays, memory))


def integrate_window_forward(method, x, inflow, stops, bound, step_memory) -> SaturableWindowResult:
    """`integrate_window`, differentiable by jvp, to any order: of amounts and integrals."""
    kernel, arrays, memory = prepare_call(method, x, inflow, stops, bound, step_memory)
    return _as_result(_call_forward(kernel, arrays, memory))


def prepare_call(method, x, inflow, stops, bound, step_memory) -> tuple[WindowKernel, WindowArrays, jax.Array]:
    """The kernel of `integrate_window`, and what it is called with."""
    patients = x.shape[-1]
    parameters = bind_arrays(method.field, bound, patients)
    law_parameters = parameters.get("law_parameters", jnp.zeros((0, patients)))
    stops = stops[:, 0] if stops.shape[-1] == 1 else stops
    edges = jnp.concatenate([jnp.zeros_like(stops[:1]), stops])
    arrays = WindowArrays(x, parameters["linear"], parameters["constant"], law_parameters, inflow, edges)
    memory = jnp.stack([jnp.broadcast_to(m, (patients,)).astype(float) for m in step_memory])
    method = replace(method, registers=jit.host_processor().registers)
    return WindowKernel(method, inflow is not None), arrays, memory


def bind_arrays(field: RightHandSideField, bound: Any, patients: int) -> dict[str, jax.Array]:
    """A field's bound parameters as the kernels' arguments, by name (`RosenbrockWindow.field_parameters`)."""

    def for_all(a: jax.Array) -> jax.Array:
        return jnp.broadcast_to(a, (*a.shape[:-1], patients))

    arrays = {"linear": for_all(bound.linear), "constant": for_all(bound.constant)}
    if used := lay_out_fluxes(field).parameter_rows:
        rows = [for_all(a) for group in bound.arguments for a in group if a is not None]
        arrays["law_parameters"] = jnp.concatenate(rows)[np.array(used, dtype=int)]
    return arrays


def encode_result(gave_up: jax.Array, inaccurate: jax.Array) -> jax.Array:
    """Result codes (int32) from a window's two flags, 1 or 0 each."""
    code = ResultCode.GAVE_UP.value * gave_up + ResultCode.INACCURATE.value * inaccurate
    return jnp.asarray(code, jnp.int32)


def _as_result(results: Sequence[jax.Array]) -> SaturableWindowResult:
    """A kernel's results as what is asked for."""
    amounts, *integral, gave_up, inaccurate, lengths = results
    code = encode_result(gave_up[0], inaccurate[0])
    return SaturableWindowResult(amounts, integral[0] if integral else None, code, lengths[-1])


def _call_forward(kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array) -> list[jax.Array]:
    """The kernel's results, differentiable by jvp."""
    return forward_mode.call_forward(kernel, *present_arrays(arrays), memory)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _integrate(kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array) -> list[jax.Array]:
    """The kernel's results, differentiable by vjp."""
    return _call_forward(kernel, arrays, memory)


def _forward(kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array):
    """The results, and what the adjoint needs of them."""
    results = opaque(partial(_call_forward, kernel))(arrays, memory)
    return results, (arrays, memory, results[0], results[-1])


def _backward(kernel: WindowKernel, residuals, cotangents):
    """Cotangents of the arrays from those of the results."""
    return opaque(partial(_call_adjoint, kernel))(*residuals, cotangents[: 1 + kernel.method.integrals])


def _call_adjoint(
    kernel: WindowKernel, arrays: WindowArrays, memory: jax.Array, amounts: jax.Array, lengths: jax.Array, of_outputs
):
    """From the cotangents of amounts and integrals to those of the arrays: flags and lengths have none."""
    starts = jnp.concatenate([arrays.start[None], amounts[:-1]])
    adjoint = WindowAdjointKernel(kernel)
    bars = forward_mode.call_forward(adjoint, starts, *present_arrays(arrays)[1:], memory, lengths, *of_outputs)
    of_start, of_linear, of_constant, *of_law_parameters, of_edges = bars
    patient_axes = of_edges.ndim - arrays.edges.ndim  # where all patients share the edges
    of_edges = jnp.sum(of_edges, axis=tuple(range(1, 1 + patient_axes)))
    of_inflow = None if arrays.inflow is None else of_constant
    of_laws = of_law_parameters[0] if of_law_parameters else jnp.zeros_like(arrays.law_parameters)
    return WindowArrays(of_start, of_linear, of_constant, of_laws, of_inflow, of_edges), jnp.zeros_like(memory)


_integrate.defvjp(_forward, _backward)


def present_arrays(arrays: WindowArrays) -> list[jax.Array]:
    """Those that there are, in order: no inflow where there is None, no laws' parameters where there are no rows."""
    return [a for a in arrays if a is not None and a.shape[0]]


@dataclass(frozen=True)
class WindowKernel:
    """The kernel of `RosenbrockWindow` (bind.py). Its arrays are those of `WindowArrays` that there are, in order, and the
    step memory."""

    method: RosenbrockMethod
    inflow: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its arrays, in order."""
        law_parameters = ["law_parameters"] if lay_out_fluxes(self.method.field).parameter_rows else []
        inflow = ["inflow"] if self.inflow else []
        return ("start", "linear", "constant", *law_parameters, *inflow, "edges", "step_memory")

    @property
    def results(self) -> tuple[str, ...]:
        """Names of its results, in order."""
        integral = ["integral"] if self.method.integrals else []
        return ("amounts", *integral, *RosenbrockWindow.diagnostics, "step_lengths")

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many axes of its own each array has."""
        return (1,) * len(self.names)

    @property
    def common(self) -> tuple[bool, ...]:
        """Edges may be the same for all patients."""
        return tuple(name == "edges" for name in self.names)

    def prepare(
        self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]
    ) -> tuple[RosenbrockWindow, list[jax.Array]]:
        """The program for so many stops, shared or not, and its arguments."""
        edges = self.names.index("edges")
        table = jnp.asarray(step_weights(self.method.tableau))[:, None]
        window = RosenbrockWindow(self.method, len(arrays[edges]) - 1, shared[edges], self.inflow)
        return window, [*arrays, table]


@dataclass(frozen=True)
class WindowAdjointKernel:
    """The kernel of `RosenbrockWindowAdjoint`. Its arrays are those of the forward kernel, of which the first are the amounts
    at every edge but the last; then the steps' lengths there, and the cotangents of amounts and integrals."""

    forward: WindowKernel

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its arrays, in order."""
        of_integral = ["of_integral"] if self.forward.method.integrals else []
        return ("starts", *self.forward.names[1:], "step_lengths", "of_amounts", *of_integral)

    @property
    def results(self) -> tuple[str, ...]:
        """Names of its results, in order."""
        of_laws = ["of_law_parameters"] if "law_parameters" in self.forward.names else []
        return ("of_start", "of_linear", "of_constant", *of_laws, "of_edges")

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many axes of its own each array has."""
        return (2, *self.forward.ranks[1:], 1, 2, *([2] if self.forward.method.integrals else []))

    @property
    def common(self) -> tuple[bool, ...]:
        """Edges may be the same for all patients."""
        return self.forward.common + (False,) * (len(self.ranks) - len(self.forward.common))

    def prepare(
        self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]
    ) -> tuple[RosenbrockWindowAdjoint, list[jax.Array]]:
        """The program for so many stops, shared or not, and its arguments."""
        count = len(self.forward.ranks)
        window, arguments = self.forward.prepare(shared[:count], arrays[:count])
        return RosenbrockWindowAdjoint(window), [*arguments, *arrays[count:]]
