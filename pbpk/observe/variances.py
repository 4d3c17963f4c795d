"""The variance of a measurement around its expected value, by error model, and the parameters of these models.

fit.toml's `[error.NAME]`, the likelihood and simulated measurements all read these two tables. To add an error model: a row in
`VARIANCES`, for each new parameter a row in `VARIANCE_PARAMETERS` (and a field of `GaussianNoise` in noise.py, if measurements
are to be simulated with it), and a test. Needs no JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class VarianceParameter(NamedTuple):
    """A parameter of error models. `role`: "sd" for a standard deviation, "positive", "free" or "share" (between 0 and 1);
    `unit`: "1", "h", "1/h", "observable" or "1/observable"; `about` has {} where the endpoint's name goes."""

    role: str
    unit: str
    about: str


VARIANCE_PARAMETERS: dict[str, VarianceParameter] = {
    "add": VarianceParameter("sd", "observable", "additive residual SD of {}"),
    "prop": VarianceParameter("sd", "1", "proportional residual SD of {}"),
    "power": VarianceParameter("free", "1", "power of f in the residual SD of {}"),
}

# model: (its parameters by name, the variance from the expected value f and these), on NumPy or JAX arrays
VARIANCES: dict[str, tuple[tuple[str, ...], Callable]] = {
    "additive": (("add",), lambda f, add: add**2 + 0 * f),
    "proportional": (("prop",), lambda f, prop: (prop * f) ** 2),
    "combined1": (("add", "prop"), lambda f, add, prop: (add + prop * f) ** 2),
    "combined2": (("add", "prop"), lambda f, add, prop: add**2 + (prop * f) ** 2),
    "power": (("prop", "power"), lambda f, prop, power: prop**2 * abs(f) ** (2 * power)),
}
"""combined1 adds standard deviations, combined2 variances; both are in use, and they are different models."""
