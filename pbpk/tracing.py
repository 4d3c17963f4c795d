"""Whether JAX is tracing: where values are not known yet, checks of them must wait."""

from __future__ import annotations

from typing import Any

import jax
from jax.core import Tracer


def is_traced(tree: Any) -> bool:
    """Whether any leaf of a tree of arrays is a tracer of `jit`, `grad` or `vmap`, which has no value to look at."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))
