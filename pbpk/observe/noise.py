"""Error models of a measurement: the variance around an expected value, and draws from it.

Counting noise has a file of its own (counting.py). To add a variance: variances.py says how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from pbpk.errors import BadInput, did_you_mean
from pbpk.observe.variances import VARIANCE_PARAMETERS, VARIANCES

if TYPE_CHECKING:
    from pbpk.nuclides import Nuclide


class ExpectedSignal(NamedTuple):
    """What an error model acts on: the value `present` (T, N) at its time, in the coherent unit of the dimension of `unit`;
    `factor`, by which it becomes what is shown (its unit, decay correction); and the nuclide."""

    present: Any
    factor: Any
    unit: str
    nuclide: Nuclide | None

    @property
    def expected(self) -> Any:
        """The expected value as it is shown, (T, N)."""
        return self.present * self.factor


class NoiseModel(ABC):
    """The noise of a measurement. Both methods answer in what is shown, (T, N)."""

    @abstractmethod
    def sd(self, signal: ExpectedSignal) -> Any:
        """The standard deviation around the expected value."""

    @abstractmethod
    def draw(self, signal: ExpectedSignal, keys: Any) -> Any:
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
        for name in VARIANCE_PARAMETERS:
            value = getattr(self, name, None)
            if (value is not None) != (name in needed):
                what = "needs" if name in needed else "has no"
                raise BadInput(f"the error model `{self.model}` {what} `{name}`", hint=f"it takes {', '.join(needed)}")
            if isinstance(value, (int, float)) and not value >= 0:
                raise BadInput(f"`{name}` = {value:g} of an error model is no standard deviation")

    def sd(self, signal: ExpectedSignal) -> Any:
        """The square root of the model's variance at the expected value."""
        names, variance = VARIANCES[self.model]
        return jnp.sqrt(variance(signal.expected, *(getattr(self, n) for n in names)))

    def draw(self, signal: ExpectedSignal, keys: Any) -> Any:
        """Normal draws around the expected value."""
        normal = jax.vmap(jax.vmap(jax.random.normal))(keys)
        return signal.expected + self.sd(signal) * normal
