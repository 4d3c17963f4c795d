"""A function that JAX differentiates whole, or not at all.

Where a loop is differentiated backwards, JAX divides its body into what is known and what is linear, and drops the rules
(`custom_jvp`) of all that is known: it takes for granted that nobody will differentiate that again. Forward over reverse
does, `jax.hessian` before all. What is opaque is one operation to it, with its rules inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_opaque = Primitive("opaque")
_opaque.multiple_results = True


def opaque(f: Callable[..., Any]) -> Callable[..., Any]:
    """f of pytrees of arrays, differentiable as often as f is by jvp, in loops and outside; not to be transposed."""

    def call(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        shapes, out = jax.tree.flatten(jax.eval_shape(f, *arguments))

        def flat(*values: jax.Array) -> list[jax.Array]:
            return jax.tree.leaves(f(*jax.tree.unflatten(tree, values)))

        types = tuple(ShapedArray(s.shape, s.dtype) for s in shapes)
        return jax.tree.unflatten(out, _opaque.bind(*map(jnp.asarray, leaves), f=flat, types=types))

    return call


@_opaque.def_impl
def _(*values, f, types):
    return jax.jit(f)(*values)


@_opaque.def_abstract_eval
def _(*values, f, types):
    return types


mlir.register_lowering(_opaque, mlir.lower_fun(lambda *values, f, types: f(*values), multiple_results=True))


def _batch_opaque(values, axes, f, types):
    mapped = jax.vmap(f, in_axes=tuple(axes))
    results = opaque(mapped)(*values)
    return results, [0] * len(results)


batching.primitive_batchers[_opaque] = _batch_opaque


def _jvp_opaque(values, tangents, f, types):
    moving = [k for k, t in enumerate(tangents) if not isinstance(t, ad.Zero)]
    floating = [jnp.issubdtype(t.dtype, jnp.floating) for t in types]

    def onward(values, moved):
        def of(*some):
            replaced = dict(zip(moving, some, strict=True))
            return f(*(replaced.get(k, v) for k, v in enumerate(values)))

        tangents_out = jax.jvp(of, [values[k] for k in moving], moved)[1]
        return [t for t, has in zip(tangents_out, floating, strict=True) if has]

    # Apart, so that under a vmap of tangents alone values stay without its axis, as `jax.jacfwd` wants them.
    left = iter(opaque(onward)(list(values), [tangents[k] for k in moving]))
    moved = [
        next(left) if has else np.zeros(t.shape, jax.dtypes.float0) for has, t in zip(floating, types, strict=True)
    ]
    return opaque(f)(*values), moved


ad.primitive_jvps[_opaque] = _jvp_opaque
