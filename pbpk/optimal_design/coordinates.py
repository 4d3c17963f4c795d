"""The numbers that a design is stated in: θ and Ω as a fit prints them, residual errors as variances.

−ln det of an information matrix depends on what it is taken in. Here: the units that a fit shows, and σ² for every residual
standard deviation, as NONMEM's $DESIGN and PopED have it. Which design is best does not depend on it, save through rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.parameter_layout import natural_with_jacobian

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class DesignCoordinates:
    """The P parameters that are estimated: `value` (P,) as shown (residual errors as SD), in `units`; `per_shown` (P,)
    ∂coordinate/∂shown; `psi_per_coordinate` (P, P)."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]
    value: np.ndarray
    per_shown: np.ndarray
    psi_per_coordinate: np.ndarray

    def compute_covariance(self, information: np.ndarray) -> np.ndarray:
        """The covariance (P, P) of the numbers as shown, from an information matrix in these coordinates."""
        return np.linalg.inv(information) / np.outer(self.per_shown, self.per_shown)

    def find_index(self, name: str) -> int:
        """The position of a parameter. Raises `BadInput` for one that is not estimated."""
        if name in self.names:
            return self.names.index(name)
        raise BadInput(f"`{name}` is none of the parameters estimated", hint=did_you_mean(name, self.names))


def build_coordinates(study: Study, psi: np.ndarray) -> DesignCoordinates:
    """The coordinates of a study's free parameters at ψ (P,)."""
    layout = study.problem.structure.layout
    natural, jacobian, _ = (
        np.asarray(x) for x in natural_with_jacobian(layout, psi, np.asarray(study.problem.initial))
    )
    free = ~np.asarray(layout.fixed_mask)
    scale = np.asarray(study.scale)[free]

    def select_free(words: Sequence[str]) -> tuple[str, ...]:
        return tuple(word for word, is_free in zip(words, free, strict=True) if is_free)

    names, value = select_free(layout.names), natural[free] / scale
    per_shown = np.array([2 * v if n in layout.sigmas else 1.0 for n, v in zip(names, value, strict=True)])
    psi_per_coordinate = np.linalg.inv(jacobian[free] * (per_shown / scale)[:, None])
    return DesignCoordinates(
        names, select_free(study.labels), select_free(study.units), value, per_shown, psi_per_coordinate
    )
