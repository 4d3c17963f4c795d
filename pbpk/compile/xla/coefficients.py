"""What JAX differentiates in, as arrays apart: one for each part of a polynomial (jet.py), which need not be copied."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

Parts = tuple[jax.Array, ...]
"""A number (...), and with every nilpotent more as many parts again."""


def as_parts(*arrays: jax.Array | None) -> tuple[Parts, ...]:
    """An array without derivatives as the only coefficient of its polynomial."""
    return tuple((a,) for a in arrays if a is not None)


def join_parts(values: Sequence[Parts], tangents: Sequence[Parts]) -> tuple[Parts, ...]:
    """The tangents as the parts with one nilpotent more."""
    return tuple(a + b for a, b in zip(values, tangents, strict=True))


def split_parts(parts: Sequence[Parts]) -> tuple[tuple[Parts, ...], tuple[Parts, ...]]:
    """The parts without the last nilpotent, and with it."""
    half = len(parts[0]) // 2 if parts else 0
    return tuple(a[:half] for a in parts), tuple(a[half:] for a in parts)


def instantiate_parts(tangents) -> tuple[Parts, ...]:
    """Zeros for those that JAX knows to be none."""
    return tuple(tuple(instantiate_zero(a) for a in parts) for parts in tangents)


def instantiate_zero(a) -> jax.Array:
    """An array of zeros for a tangent that JAX knows to be zero."""
    return jnp.zeros(a.shape) if isinstance(a, SymbolicZero) else a
