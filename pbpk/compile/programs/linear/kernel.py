"""One linear model's kernel as a function of JAX arrays, for use inside `jit`, `vmap`, `jvp` and `grad`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from pbpk.compile.programs.linear.integral import right_hand_side
from pbpk.compile.programs.linear.window import LinearWindowForward
from pbpk.compile.programs.linear.window_adjoint import LinearWindowAdjoint
from pbpk.compile.xla import bind, jit
from pbpk.compile.xla.coefficients import Parts, as_parts, instantiate_parts, join_parts, split_parts
from pbpk.errors import BadInput, MissingExtra, WrongUsage
from pbpk.linalg.packing import explain_nonlinear, plan_packing
from pbpk.linalg.series import ResolventSeries, double_integral_coefficients, series_coefficients

if TYPE_CHECKING:
    from pbpk.compile.programs.linear.layout import LinearWindow
    from pbpk.compile.xla.protocols import OperandProgram
    from pbpk.model.system import System

_WindowKind = TypeVar("_WindowKind", LinearWindowForward, LinearWindowAdjoint)


class LinearWindowResult(NamedTuple):
    """Amounts (M, n, ...) at the stops, their integrals from the window's start or None, and the error estimate (...)."""

    amounts: jax.Array
    integrals: jax.Array | None
    error: jax.Array


def compile_linear(system: System, series: ResolventSeries, *, integrals: bool = False) -> LinearKernel:
    """The kernel that crosses one window of a linear system by a series of `pbpk.linalg.series.design`.

    Machine code is made when the kernel is first called (or traced) for a number of stops, and kept on disk. Raises
    `BadInput` for a system that is not linear, `MissingExtra` where kernels cannot be compiled.
    """
    if reason := explain_nonlinear(system):
        raise BadInput("a linear kernel cannot be compiled for this model", why=reason)
    if reason := jit.explain_no_jit():
        raise MissingExtra("kernels are off", why=reason, hint="the JAX engine does the same, slower")
    return LinearKernel(system, series, integrals)


@dataclass(frozen=True)
class LinearKernel:
    """One linear system's kernel: call it to cross a window; `pull` goes back. `integrals`: of the amounts, too."""

    system: System
    series: ResolventSeries
    integrals: bool

    def __call__(
        self, rates: jax.Array, start: jax.Array, stops: jax.Array, source: jax.Array | None = None
    ) -> LinearWindowResult:
        """From amounts `start` (n, ...) and a constant inflow `source` (n, ...) on, under `rates` (entries, ...).

        `rates` are `System.rate_jacobian`'s, 1/h; `stops` (M,) h are shared by all patients, (M, ...) are their own, in
        order. The axes of patients are the same for all. float64 only. Differentiable by jvp to any order, in all but
        the stops: those raise `WrongUsage`.
        """
        entries, n = len(self.system.slopes[0]), len(self.system.names)
        arguments = {"rates": (rates, entries), "start": (start, n), "source": (source, n)}
        for name, (array, rows) in arguments.items():
            if array is not None and (array.dtype != np.float64 or array.shape != (rows, *start.shape[1:])):
                wanted = (rows, *start.shape[1:])
                raise TypeError(f"`{name}` must be float64 {wanted}, not {array.dtype} {array.shape}")
        if (
            stops.dtype != np.float64
            or stops.ndim == 0
            or stops.shape[1:] not in ((), start.shape[1:])
            or not len(stops)
        ):
            raise TypeError(f"`stops` must be float64 (M,) or (M, *{start.shape[1:]}), not {stops.dtype} {stops.shape}")
        stops = _without_derivative(stops)
        window = self._window(LinearWindowForward, stops, source)
        tables = series_tables(window, rates, stops)
        (amounts, *integrals), error = _propagate(window, as_parts(rates, start, source), tables)
        return LinearWindowResult(amounts[0], integrals[0][0] if integrals else None, error[0])

    def pull(self, rates, start, stops, source, of_amounts, of_integrals):
        """The cotangents of rates, start and source (or None) from those of amounts and integrals (M, n, ...): a vector
        times the Jacobian of the call with the same arguments. Differentiable by jvp in the same way."""
        window = self._window(LinearWindowAdjoint, stops, source)
        arguments, cotangents = as_parts(rates, start, source), as_parts(of_amounts, of_integrals)
        bars = _propagate_adjoint(window, arguments, cotangents, series_tables(window, rates, stops))
        return *(parts[0] for parts in bars), *([None] if source is None else [])

    def _window(self, kind: type[_WindowKind], stops: jax.Array, source: jax.Array | None) -> _WindowKind:
        """The program for these stops."""
        shared, inflow = stops.ndim == 1, source is not None
        return kind(self.system, self.series, len(stops), shared, self.integrals, inflow, registers=_sum_registers())


@jax.custom_jvp
def _without_derivative(stops: jax.Array) -> jax.Array:
    """The stops; to differentiate in them is an error instead of 0."""
    return stops


@partial(_without_derivative.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    if not isinstance(tangents[0], SymbolicZero):
        raise WrongUsage(
            "a window's kernel has no derivative in its stops",
            why="It would be taken for zero.",
            hint="the solvers of pbpk.solve have one",
        )
    return _without_derivative(*primals), jnp.zeros_like(primals[0])


@dataclass(frozen=True)
class _LinearCall:
    """The kernel of a window for arrays of the shapes that come (bind.py): all is known but whether the stops are shared."""

    window: LinearWindowForward | LinearWindowAdjoint

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many axes of its own each array has."""
        return tuple(len(b.shape) for b in self.window.arguments)

    @property
    def common(self) -> tuple[bool, ...]:
        """Tables of the stops may be the same for all patients."""
        tables = {b.name for b in self.window.stop_tables}
        return tuple(b.name in tables for b in self.window.arguments)

    def prepare(self, shared: tuple[bool, ...], arrays: Sequence[jax.Array]) -> tuple[OperandProgram, list[jax.Array]]:
        """The window with stops that are shared or not."""
        stops = [b.name for b in self.window.arguments].index("stops")
        return replace(self.window, shared=shared[stops]), list(arrays)

    def reached(self, moved: Sequence[bool]) -> list[bool]:
        """Which results depend on the arguments that `moved` says: a coefficient of a result is made of the same coefficient
        of every argument, and of those whose sets are in its own."""
        number = self.window.coefficient_number
        numbers = [number(b) for b, has in zip(self.window.arguments, moved, strict=True) if has]
        return [any(k & ~number(b) == 0 for k in numbers) for b in self.window.results]


def _call_program(
    window: _WindowKind, arguments: Sequence[Parts], tables: Sequence[jax.Array], cotangents: Sequence[Parts] = ()
):
    """The results, each as a tuple of its coefficients."""
    arrays = [*(a for parts in arguments for a in parts), *tables, *(a for parts in cotangents for a in parts)]
    results = bind.call_kernel(_LinearCall(replace(window, shared=True)), *arrays)
    return [tuple(results[k : k + window.coefficients]) for k in range(0, len(results), window.coefficients)]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _propagate(window: LinearWindowForward, arguments: tuple[Parts, ...], tables: Sequence[jax.Array]):
    """Amounts and integrals by coefficients, and the error."""
    *results, (error,) = _call_program(window, arguments, tables)
    return tuple(results), error


@partial(_propagate.defjvp, symbolic_zeros=True)
def _(window: LinearWindowForward, primals, tangents):
    """The same program with one derivative order more. Under rates that do not move the window is linear in what does: a
    tangent is a solution of its own, and no order more is needed."""
    (arguments, tables), (tangents, _) = primals, tangents
    rates_fixed = all(isinstance(a, SymbolicZero) for a in tangents[0])
    tangents = instantiate_parts(tangents)
    if rates_fixed:
        result = _propagate(window, arguments, tables)
        tangent, error = _propagate(window, (arguments[0], *tangents[1:]), tables)
    else:
        parts, error = _propagate(_raise_order(window), join_parts(arguments, tangents), tables)
        values, tangent = split_parts(parts)
        result = values, error
    return result, (tangent, jnp.zeros_like(error))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _propagate_adjoint(
    window: LinearWindowAdjoint,
    arguments: tuple[Parts, ...],
    cotangents: tuple[Parts, ...],
    tables: Sequence[jax.Array],
):
    """Cotangents of rates, start and inflow, by coefficients."""
    return tuple(_call_program(window, arguments, tables, cotangents))


@partial(_propagate_adjoint.defjvp, symbolic_zeros=True)
def _(window: LinearWindowAdjoint, primals, tangents):
    (arguments, cotangents, tables), (of_arguments, of_cotangents, _) = primals, tangents
    both = (
        join_parts(arguments, instantiate_parts(of_arguments)),
        join_parts(cotangents, instantiate_parts(of_cotangents)),
    )
    return split_parts(_propagate_adjoint(_raise_order(window), *both, tables))


def _raise_order(window: _WindowKind) -> _WindowKind:
    """The window with one derivative order more."""
    return replace(window, derivative_order=window.derivative_order + 1)


def handler_arguments(window: LinearWindow, rates, start, stops, source) -> list[jax.Array]:
    """The arguments of the compiled handler in order, from arrays with one axis of patients."""
    return [rates, start, *([] if source is None else [source]), *series_tables(window, rates, stops)]


def series_tables(window: LinearWindow, rates: jax.Array, stops: jax.Array) -> list[jax.Array]:
    """The arguments of the compiled handler from the stops on, in order (`LinearWindow.stop_tables` and the weights of the
    double integral): what the series makes of the stops (M, ...). `rates` (entries, ...) may have axes of patients that the
    stops have not. Not differentiated: time has its own rule, and any shift gives the same result."""
    rates, stops = lax.stop_gradient((rates, stops))
    length = jnp.where(stops[-1] > 0, stops[-1], 1.0)
    tau = stops / length
    plain = series_coefficients(window.series, tau)
    weights = jnp.concatenate([plain, jnp.max(jnp.abs(plain), axis=1, keepdims=True)], axis=1)

    def filled(table: jax.Array, rows: int) -> jax.Array:
        return jnp.pad(table, ((0, rows - len(table)), *[(0, 0)] * (table.ndim - 1)))

    arrays = [stops, filled(weights, window.table_rows + 2)]
    if window.inflow or window.integrals:
        arrays.append(right_hand_side(window.series.g, series_coefficients(window.extended_series, tau)))
    if window.inflow and window.integrals:
        packed = plan_packing(window.system)
        loss = -packed.pack(rates)[packed.elimination.diagonal]
        shift = jnp.maximum(jnp.min(loss, axis=0), 0.0)
        tau = tau.reshape(*tau.shape, *[1] * (rates.ndim - tau.ndim))
        arrays.append(filled(double_integral_coefficients(window.series, tau, shift * length), window.table_rows))
    return arrays


def _sum_registers() -> int:
    """Registers for sums; what is left is for what they are made of."""
    return jit.host_processor().registers * 3 // 4
