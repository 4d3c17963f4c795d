"""What one cycle does to each target and patient: doses of alphas and of low LET, protraction, RBE; BED for any activity.

A linear model's doses go with the activity and the shape of their course stays, so one simulation serves every activity: D in
proportion, G as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from pbpk.dosimetry.curves import dose_over_time
from pbpk.dosimetry.effect.bed import rbe_bed
from pbpk.dosimetry.effect.defaults import radiobiology
from pbpk.dosimetry.effect.rbe import split
from pbpk.dosimetry.phantom.body import check_phantom
from pbpk.dosimetry.target_doses import dose_of_simulation
from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.population.simulate import Simulation


class Cycle(NamedTuple):
    """One cycle's effect on one target: `alpha` and `low` LET (N,), Gy for the activity simulated; `protraction` (N,) of their
    course; `rbe`, a number or (N,); `alpha_beta` Gy."""

    alpha: Any
    low: Any
    protraction: Any
    rbe: Any
    alpha_beta: Any

    def bed(self, times: Any = 1.0) -> Any:
        """BED, Gy (N,), for so many times the activity simulated."""
        return rbe_bed(times * self.alpha, times * self.low, self.rbe, self.alpha_beta, self.protraction)


def one_cycle(
    path: Simulation,
    tissues: Mapping[str, str],
    *,
    phantom: str = "adult-male",
    masses: Mapping[str, Any] | None = None,
    recoil: bool = False,
    key: jax.Array | None = None,
) -> dict[str, Cycle]:
    """By target, the effect of a simulation of `compartments(model)` with integrals, at times dense enough to draw the dose
    rate through.

    `tissues` names for each target the radiobiology on file ({"lesion_1": "tumour"}). With a `key` each patient and target
    has an RBE drawn from its distribution, else the median. Doses are exact, as `absorbed_dose` has them; the curve through
    the samples serves protraction alone. Pure in `path` and `masses`. Raises `BadInput` for a model that is not linear.
    """
    if path.to_infinity is None:
        why = f"There is no exact integral to infinity: {path.no_infinity}."
        raise BadInput("this simulation is no single cycle of a linear model", why=why, hint="simulate every cycle")
    dose = dose_of_simulation(path, check_phantom(phantom), masses, recoil=recoil)
    course = dose_over_time(path, phantom, masses, recoil, targets=tuple(tissues))
    cycles = {}
    for k, (target, tissue) in enumerate(tissues.items()):
        biology = radiobiology(tissue)
        alpha, low = (x * dose.tiac.administered * 1e-3 for x in split(dose.by_radiation, target))
        rbe = biology.rbe.median() if key is None else biology.rbe.draws(jax.random.fold_in(key, k), alpha.shape)
        protraction = course.sampled(target).protraction(biology["t_repair"])
        cycles[target] = Cycle(alpha, low, protraction, rbe, biology["alpha_beta"])
    return cycles
