"""Scales on which a residual is normal: both y and its prediction are transformed. To add one: a row in `TRANSFORMS`.

Each gives h(x), ln|h'(x)| (the Jacobian that keeps objectives comparable between scales) and the inverse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class ResidualTransform(NamedTuple):
    """A scale for residuals: h, ln|h'| and the inverse of h, functions of x (or z) and of the transform's own numbers (λ, or
    the ends). `parameters` are the names of those that are estimated; `positive`: x must be."""

    apply: Callable
    log_slope: Callable
    invert: Callable
    parameters: tuple[str, ...] = ()
    positive: bool = False


def _growth(x):
    """(exp(x) − 1)/x, differentiable at 0."""
    small = jnp.abs(x) < 1e-4
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1 + x / 2 + x**2 / 6 + x**3 / 24, jnp.expm1(safe) / safe)


def _boxcox(x, shape):
    return jnp.log(x) * _growth(shape * jnp.log(x))


def _boxcox_back(z, shape):
    flat = jnp.abs(shape) < 1e-8
    safe = jnp.where(flat, 1.0, shape)
    return jnp.where(flat, jnp.exp(z), jnp.maximum(1 + safe * z, 0.0) ** (1 / safe))


def _yeojohnson(x, shape):
    up, down = jnp.where(x >= 0, x, 0.0), jnp.where(x < 0, -x, 0.0)
    return jnp.where(x >= 0, _boxcox(1 + up, shape), -_boxcox(1 + down, 2 - shape))


def _yeojohnson_back(z, shape):
    up, down = jnp.where(z >= 0, z, 0.0), jnp.where(z < 0, -z, 0.0)
    return jnp.where(z >= 0, _boxcox_back(up, shape) - 1, 1 - _boxcox_back(down, 2 - shape))


TRANSFORMS: dict[str, ResidualTransform] = {
    "none": ResidualTransform(lambda x: x, lambda x: 0.0 * x, lambda z: z),
    "log": ResidualTransform(jnp.log, lambda x: -jnp.log(x), jnp.exp, (), True),
    "boxcox": ResidualTransform(_boxcox, lambda x, s: (s - 1) * jnp.log(x), _boxcox_back, ("lambda",), True),
    "yeojohnson": ResidualTransform(
        _yeojohnson,
        lambda x, s: jnp.where(x >= 0, s - 1, 1 - s) * jnp.log1p(jnp.abs(x)),
        _yeojohnson_back,
        ("lambda",),
    ),
    "logit": ResidualTransform(
        lambda x, low, high: jnp.log(x - low) - jnp.log(high - x),
        lambda x, low, high: jnp.log(high - low) - jnp.log(x - low) - jnp.log(high - x),
        lambda z, low, high: low + (high - low) * jax.nn.sigmoid(z),
    ),
}
