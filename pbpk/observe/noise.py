"""Error models of a measurement: the variance around an expected value, and draws from it.

Counting noise has a file of its own (counting.py). To add a variance: a line in `VARIANCES` and its test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from pbpk.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    from pbpk.nuclides import Nuclide

# model: (its standard deviations by name, variance from the expected value f and those)
VARIANCES: dict[str, tuple[tuple[str, ...], Callable]] = {
    "additive": (("add",), lambda f, add: add**2 + 0 * f),
    "proportional": (("prop",), lambda f, prop: (prop * f) ** 2),
    "combined1": (("add", "prop"), lambda f, add, prop: (add + prop * f) ** 2),
    "combined2": (("add", "prop"), lambda f, add, prop: add**2 + (prop * f) ** 2),
    "power": (("prop", "power"), lambda f, prop, power: prop**2 * jnp.abs(f) ** (2 * power)),
}
"""combined1 adds standard deviations, combined2 variances; both are in use, and they are different models."""


class ExpectedSignal(NamedTuple):
    """What an error model is given: `present` (T, N), coherent, of the unit `natural`, as it is at its time; `factor`, by
    which it becomes what is shown (its unit, decay correction); and the nuclide."""

    present: Any
    factor: Any
    unit: str
    nuclide: Nuclide | None

    @property
    def expected(self) -> Any:
        return self.present * self.factor


class NoiseModel(ABC):
    """Both methods answer in what is shown, (T, N)."""

    @abstractmethod
    def sd(self, shown: ExpectedSignal) -> Any: ...

    @abstractmethod
    def draw(self, shown: ExpectedSignal, keys: Any) -> Any:
        """One value for each key (T, N)."""


@dataclass(frozen=True)
class GaussianNoise(NoiseModel):
    """Normal around the expected value; `add` in the shown unit, `prop` a fraction, both standard deviations.

    A draw may be negative where the expected value is within reach of 0, as a background-corrected reading may.
    """

    model: str
    add: Any = None
    prop: Any = None
    power: Any = None

    def __post_init__(self):
        if self.model not in VARIANCES:
            hint = did_you_mean(self.model, [*VARIANCES, "poisson"])
            raise BadInput(f"no error model `{self.model}`", hint=hint)
        needed = VARIANCES[self.model][0]
        for name in ("add", "prop", "power"):
            value = getattr(self, name)
            if (value is not None) != (name in needed):
                what = "needs" if name in needed else "has no"
                raise BadInput(f"the error model `{self.model}` {what} `{name}`", hint=f"it takes {', '.join(needed)}")
            if isinstance(value, (int, float)) and not value >= 0:
                raise BadInput(f"`{name}` = {value:g} of an error model is no standard deviation")

    def sd(self, shown: ExpectedSignal) -> Any:
        names, variance = VARIANCES[self.model]
        return jnp.sqrt(variance(shown.expected, *(getattr(self, n) for n in names)))

    def draw(self, shown: ExpectedSignal, keys: Any) -> Any:
        normal = jax.vmap(jax.vmap(jax.random.normal))(keys)
        return shown.expected + self.sd(shown) * normal
