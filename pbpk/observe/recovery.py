"""Partial volume: the share of a region's activity that a camera of finite resolution shows inside it.

    R(v) = 1 / (1 + (half/v)^slope)

A logistic curve in ln v: 0 for a point, 1/2 at the volume `half`, 1 without end, and the steeper the larger `slope`. It is the
two-parameter form 1 - 1/(1 + (v/β)^γ) that is commonly fitted to spheres of a phantom; both numbers belong to a camera, a
collimator, a nuclide and a reconstruction, so there are no defaults. The form is assumed here: check it on your own spheres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp

from pbpk.errors import BadInput
from pbpk.observe.quantity import convert_fields


@dataclass(frozen=True)
class RecoveryCurve:
    """A camera's recovery by volume. `half`: the volume at which half is shown ("2 mL", or L); `slope` has no unit."""

    half: Any = field(default=None, metadata={"unit": "mL"})
    slope: Any = 1.0

    def __post_init__(self):
        convert_fields(self)
        if self.half is None:
            raise BadInput("a recovery needs the volume `half` at which half is shown", hint='half = "2 mL"')
        for name in ("half", "slope"):
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not value > 0:
                raise BadInput(f"`{name}` = {value:g} of the recovery must be above 0")

    def __call__(self, volume: Any) -> Any:
        """The recovery coefficient of a region of `volume` (L)."""
        return 1 / (1 + (self.half / jnp.asarray(volume, dtype=float)) ** self.slope)
