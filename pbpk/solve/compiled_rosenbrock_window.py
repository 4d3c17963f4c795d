"""A window of saturable kinetics by machine code for the model (pbpk.compile.programs.rosenbrock), which brings its own
derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import lax

from pbpk.compile.programs.rosenbrock.kernel import integrate_window, integrate_window_forward
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod
from pbpk.solve.interval import Advance, CrossedInterval, Interval
from pbpk.solve.rosenbrock_window import RosenbrockOptions, StepMemory

if TYPE_CHECKING:
    import jax


def make_compiled_advance(options: RosenbrockOptions, reverse: bool) -> Advance:
    """The `Advance` of a saturable solver by a kernel: differentiable by vjp if `reverse`, else by jvp."""
    integrate, method = integrate_window if reverse else integrate_window_forward, build_method(options)

    def advance(x: jax.Array, interval: Interval) -> CrossedInterval:
        memory = _kernel_memory(interval, x)
        result = integrate(method, x, interval.inflow, interval.stops, interval.parameters, memory)
        since = lax.stop_gradient(memory.since + interval.stops[-1])
        return CrossedInterval(result.amounts, result.integrals, result.code, StepMemory(result.length, since))

    return advance


def _kernel_memory(interval: Interval, x: jax.Array) -> StepMemory:
    """The memory with which a kernel begins: no step's length, and 0, where it is to find one itself."""
    none = jnp.zeros(x.shape[-1], x.dtype)
    if interval.step_memory is None:
        return StepMemory(none, none)
    return StepMemory(*(jnp.where(interval.restart, 0.0, m) for m in interval.step_memory))


def build_method(options: RosenbrockOptions) -> RosenbrockMethod:
    """The options as kernels take them."""
    return RosenbrockMethod(
        field=options.field,
        tableau=options.tableau,
        rtol=options.rtol,
        atol=options.atol,
        max_steps=options.max_steps,
        integrals=options.integrals,
        grid=options.grid,
        recorded_steps=options.max_recorded_steps,
    )
