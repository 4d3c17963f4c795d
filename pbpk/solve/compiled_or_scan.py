"""Values and first gradients from machine code, every other derivative from the same function in JAX.

A solution (compiled_solution.py) and a likelihood (compiled_likelihood.py) are each one call of machine code. Its adjoint
has the cotangents of some inputs, once. What it has none for is differentiated through a scan of the portable engine that
computes the same: other inputs (times), derivatives forward, and derivatives of derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from pbpk.compile.xla.opaque import opaque


def _keep_result(result: Any) -> Any:
    return result


def _keep_cotangents(_: Any, bars: Any) -> Any:
    return bars


@dataclass(frozen=True)
class CompiledOrScan:
    """One function of a pytree, written as machine code and as scans. Results are NamedTuples of floats, `code` last.

    `evaluate` gives the result where no derivative is wanted. `record` gives the full result, and the residuals from which
    `adjoint(inputs, residuals, cotangents)` makes the cotangents of what `partition` takes from the inputs; `combine` puts
    such a part in the place of theirs. `scan` (for vjp, and jvp of that) and `scan_forward` (for jvp) give the full result.
    `finish` makes the result of the full one, and `finish_adjoint(inputs, cotangents)` is its adjoint.
    """

    evaluate: Callable[[Any], Any]
    record: Callable[[Any], tuple[Any, Any]]
    adjoint: Callable[[Any, Any, Any], Any]
    scan: Callable[[Any], Any]
    scan_forward: Callable[[Any], Any]
    partition: Callable[[Any], Any]
    combine: Callable[[Any, Any], Any]
    finish: Callable[[Any], Any] = _keep_result
    finish_adjoint: Callable[[Any, Any], Any] = _keep_cotangents


def evaluate_for_jvp(f: CompiledOrScan, inputs: Any) -> Any:
    """The function's result, differentiable by jvp to any order."""

    @jax.custom_jvp
    def evaluate(inputs: Any) -> Any:
        return f.evaluate(inputs)

    @partial(evaluate.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        return jvp(lambda inputs: f.finish(f.scan_forward(inputs)), primals, tangents)

    return evaluate(inputs)


def evaluate_for_vjp(f: CompiledOrScan, inputs: Any) -> Any:
    """The function's result, differentiable by vjp, and by jvp of that.

    `record` and `adjoint` are opaque: where a loop is differentiated backwards JAX would drop their rules.
    """

    @jax.custom_jvp
    def record(inputs: Any):
        return f.record(inputs)

    @partial(record.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        result, residuals = record(*primals)
        moved = jvp(f.scan_forward, primals, tangents)[1]
        return (result, residuals), (moved, jax.tree.map(jnp.zeros_like, residuals))  # `adjoint` has those of residuals

    @jax.custom_jvp
    def adjoint(inputs: Any, residuals: Any, bars: Any):
        return f.adjoint(inputs, residuals, bars)

    @partial(adjoint.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        (inputs, residuals, bars), (inputs_moved, _, bars_moved) = primals, tangents

        def scan_adjoint(inputs: Any, bars: Any):
            result, pull = jax.vjp(lambda part: f.scan(f.combine(inputs, part)), f.partition(inputs))
            return pull(type(result)(*bars, zero_cotangent(result.code)))[0]

        return adjoint(inputs, residuals, bars), jvp(scan_adjoint, (inputs, bars), (inputs_moved, bars_moved))[1]

    @jax.custom_vjp
    def evaluate(inputs: Any) -> Any:
        return f.evaluate(inputs)

    def forward(inputs: Any):
        values = jax.tree.map(lambda leaf: leaf.value, inputs)
        perturbed = jax.tree.map(lambda leaf: leaf.perturbed and jnp.issubdtype(leaf.value.dtype, jnp.floating), inputs)
        others = f.combine(perturbed, jax.tree.map(lambda _: False, f.partition(perturbed)))
        if any(jax.tree.leaves(others)):  # derivatives that `adjoint` does not have
            result, pull = jax.vjp(lambda inputs: f.finish(f.scan(inputs)), values)
            return result, (values, None, pull)
        result, residuals = opaque(record)(values)
        return f.finish(result), (values, residuals, None)

    def backward(kept: Any, bars: Any):
        inputs, residuals, pull = kept
        bars = jax.tree.map(_fill_zero, bars, is_leaf=lambda x: isinstance(x, SymbolicZero))
        if pull is not None:
            return pull(bars)
        part = opaque(adjoint)(inputs, residuals, f.finish_adjoint(inputs, bars[:-1]))
        return (f.combine(jax.tree.map(zero_cotangent, inputs), part),)

    evaluate.defvjp(forward, backward, symbolic_zeros=True)
    return evaluate(inputs)


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """f and its derivative along tangents. Those that JAX knows to be none are not differentiated."""
    leaves, tree = jax.tree.flatten(primals)
    moved = jax.tree.leaves(tangents, is_leaf=lambda x: isinstance(x, SymbolicZero))
    moving = [k for k, tangent in enumerate(moved) if not isinstance(tangent, SymbolicZero)]

    def of_moving(*values: jax.Array) -> Any:
        replaced = dict(zip(moving, values, strict=True))
        return f(*jax.tree.unflatten(tree, [replaced.get(k, leaf) for k, leaf in enumerate(leaves)]))

    return jax.jvp(of_moving, [leaves[k] for k in moving], [moved[k] for k in moving])


def zero_cotangent(leaf: jax.Array) -> Any:
    """The cotangent of what has none."""
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, jax.dtypes.float0)


def _fill_zero(bar: Any) -> Any:
    """A cotangent as an array, also where JAX knows it to be none."""
    if not isinstance(bar, SymbolicZero):
        return bar
    shape: Any = bar.shape
    dtype: Any = bar.dtype
    return jnp.zeros(shape, dtype) if jnp.issubdtype(dtype, jnp.floating) else np.zeros(shape, jax.dtypes.float0)
