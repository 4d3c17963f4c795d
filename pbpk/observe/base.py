"""A measurement: what an instrument shows of the amounts that a model predicts. The page to read before adding a kind.

A kind is a final class in a file of its own, with a line in `KINDS` (declared.py) and its test. It says what is there at each
time (`present_value`) and in which unit (`natural_unit`); this class does what all share: units, decay correction, times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.errors import BadInput, nearest_names
from pbpk.observe.counting import read_noise
from pbpk.observe.quantity import convert_fields

if TYPE_CHECKING:
    from pbpk.nuclides import Nuclide
    from pbpk.observe.noise import NoiseModel


class SimulationLike(Protocol):
    """What a measurement needs of a simulation: times (T,) in h, curves (T, N) by name in `unit`, and the patients' numbers."""

    @property
    def time(self) -> np.ndarray:
        """(T,) h."""
        ...

    @property
    def observables(self) -> Mapping[str, jax.Array]:
        """Curves (T, N) by name."""
        ...

    @property
    def unit(self) -> Mapping[str, str]:
        """The unit of each curve."""
        ...

    @property
    def patients(self) -> Any:
        """Anything with `ids` (N,), the patients' numbers."""
        ...


@dataclass(frozen=True, eq=False)
class SampledSimulation:
    """A simulation at the times of one measurement: `sampled("thyroid")` is (T, N) in coherent units.

    `rows` (T,) are the measured ones of the simulated times; `nuclide` is None for what does not decay; `where` names the
    measurement in errors.
    """

    simulation: SimulationLike
    rows: np.ndarray
    nuclide: Nuclide | None
    where: str

    @property
    def hours(self) -> jax.Array:
        """The measured times (T, 1), h."""
        return jnp.asarray(self.simulation.time[self.rows], dtype=float)[:, None]

    @property
    def decay_constant(self) -> float:
        """λ in 1/h; 0 without a nuclide."""
        return self.nuclide.decay_constant if self.nuclide else 0.0

    def unit_of(self, region: str) -> str:
        """The unit of a region's curve. Raises `BadInput` for a region that was not simulated."""
        if region not in self.simulation.unit:
            meant = "".join(f"did you mean `{n}`? " for n in nearest_names(region, self.simulation.unit, count=1))
            hint = f"{meant}what is measured must be simulated: observe=[…, '{region}']"
            raise BadInput(f"the simulation has no `{region}`", where=self.where, hint=hint)
        return self.simulation.unit[region]

    def __call__(self, region: str) -> jax.Array:
        return self.simulation.observables[region][self.rows] * units.unit_factor(self.unit_of(region))


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement(ABC):
    """What one instrument measures of one region: the fields and methods that all kinds share.

    `decay_corrected` has no default; if it is true, `reference` (h) is the time to which. `at` (h): at these times alone, which
    must be among the simulated ones. `unit`: the shown unit, else the natural one. `noise`: the error model, None for none.
    `about` describes the measurement, and where its numbers come from goes into `source`.
    """

    name: str
    region: str
    decay_corrected: bool
    reference: Any = field(default=None, metadata={"unit": "h"})
    at: Sequence[float] | None = None
    unit: str | None = None
    noise: NoiseModel | None = None
    about: str = ""
    source: str = ""

    def __post_init__(self):
        convert_fields(self)
        if isinstance(self.noise, Mapping):
            object.__setattr__(self, "noise", read_noise(self.noise))
        if not isinstance(self.decay_corrected, bool):
            raise BadInput(f"`decay_corrected` = {self.decay_corrected!r} is neither true nor false")
        if self.decay_corrected and self.reference is None:
            raise BadInput(
                "`decay_corrected` needs the time to which",
                why="Corrected values mean nothing without it.",
                hint='reference = "0 h" for the time of the first dose, if that is at 0',
            )
        if not self.decay_corrected and self.reference is not None:
            raise BadInput("`reference` is given, but the measurement is not decay-corrected")
        self.check_fields()

    def check_fields(self) -> None:  # noqa: B027  a kind with nothing to check need not say so
        """Raise `BadInput` for fields that cannot be meant."""

    @property
    def regions(self) -> tuple[str, ...]:
        """The observables it is made of."""
        return (self.region,)

    @abstractmethod
    def natural_unit(self, sampled: SampledSimulation) -> str:
        """The unit of what is measured; `present_value` is in the coherent unit of its dimension."""

    @abstractmethod
    def present_value(self, sampled: SampledSimulation) -> jax.Array:
        """What is there, (T, N), coherent, with physical decay included as the simulation has it."""

    def list_assumptions(self, sampled: SampledSimulation) -> list[str]:
        """What the measurement assumes because it was not measured, one sentence each."""
        return []

    def find_scale(self, sampled: SampledSimulation) -> tuple[str, Any]:
        """The shown unit, and how many coherent units one of it is. Raises `BadInput` for a unit of another dimension."""
        natural = self.natural_unit(sampled)
        if self.unit is None:
            return natural, units.unit_factor(natural)
        return self.unit, units.require_dimension(self.unit, natural, "`unit`", where=sampled.where)
