"""How a covariate multiplies a parameter; every form is 1 at its reference. To add one: a line in `FORMS` and its test."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

# form: (covariate x, reference, coefficient) -> factor; x and reference in the covariate's own unit
FORMS: dict[str, Callable] = {
    "power": lambda x, reference, b: (x / reference) ** b,
    "linear": lambda x, reference, b: 1 + b * (x - reference),
    "exponential": lambda x, reference, b: jnp.exp(b * (x - reference)),
    "below": lambda x, reference, b: 1 + b * (x < reference),
    "above": lambda x, reference, b: 1 + b * (x > reference),
    "equals": lambda x, reference, b: 1 + b * (x == reference),
    "linear_below": lambda x, reference, b: 1 + b * jnp.minimum(x - reference, 0.0),
    "linear_above": lambda x, reference, b: 1 + b * jnp.maximum(x - reference, 0.0),
}
"""`below`, `above` and `equals` are categorical: the factor is 1 + b where the condition holds, 1 elsewhere. `linear_below` and
`linear_above` are the two slopes of a hockey stick that bends at the reference."""
