"""What `dose_uncertainty` gives: the spread of each quantity at each target, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pbpk.dosimetry.uncertain.inputs import ORIGINS

if TYPE_CHECKING:
    from pbpk.dosimetry.uncertain.spread import DoseSpread

UncertaintyMethod = Literal["propagate", "montecarlo"]
DOSE, WEIGHTED, BED = "absorbed_dose", "rbe_weighted_dose", "bed"


@dataclass(frozen=True, eq=False)
class DoseUncertainty:
    """Spreads of dose and effect over all that is not known.

    `spreads[quantity][target]`: absorbed_dose, rbe_weighted_dose and bed (with RBE), Gy. `method` and `level` of the
    intervals; `draws` of Monte Carlo, None for first order; `failed_draws` those that gave no number; `notes` what is
    assumed.
    """

    method: UncertaintyMethod
    level: float
    draws: int | None
    failed_draws: int
    spreads: Mapping[str, Mapping[str, DoseSpread]]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return {
            "method": self.method,
            "level": self.level,
            "draws": self.draws,
            "lost": self.failed_draws,
            **{q: {t: _spread_to_dict(s) for t, s in by_target.items()} for q, by_target in self.spreads.items()},
            "notes": list(self.notes),
        }


def _spread_to_dict(spread: DoseSpread) -> dict[str, Any]:
    return {
        "value": spread.value,
        "mean": spread.mean,
        "sd": spread.sd,
        "interval": [spread.low, spread.high],
        "unit": "Gy",
        "share_of_variance": {o: spread.share.get(o, 0.0) for o in ORIGINS},
    }
