"""A treatment simulated to the end of its decay: with what doses need, at times close enough for its dose rates.

What is observed (every compartment of activity) and asked for (time-integrals) is settled here, so that callers name a
model, a regimen and patients alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pbpk.dosimetry.curves import DoseCourse, dose_over_time
from pbpk.dosimetry.target_doses import AbsorbedDose, dose_of_simulation
from pbpk.dosimetry.tiac import compartments
from pbpk.dosimetry.treatment_plan import dose_rate_times
from pbpk.population.simulate import Simulation, simulate

if TYPE_CHECKING:
    from pbpk.compile.engine import Engine
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.dosimetry.svalues import SValues
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients
    from pbpk.regimen.regimen import Regimen


class SimulatedTreatment(NamedTuple):
    """A simulation with the doses of it; `course` has the dose rates, None where they were not asked for."""

    simulation: Simulation
    dose: AbsorbedDose
    course: DoseCourse | None


def simulate_for_doses(
    model: Model,
    regimen: Regimen,
    phantom: Phantom,
    *,
    rates: bool = False,
    patients: Patients | None = None,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Simulation:
    """What `absorbed_dose` needs of a simulation: amounts in every compartment of activity, and their integrals.

    Without `rates` a linear model is solved at one time, the end of the last dose: its integrals to infinity are exact.
    Otherwise it is solved at `dose_rate_times`, to 12 half-lives after the last dose.
    """
    observed, times = compartments(model, phantom), dose_rate_times(model, regimen)
    if not rates and _has_exact_integrals(model, regimen):
        ends = [d.at + d.addl * d.ii + d.over for d in regimen.doses]
        times = [max(*ends, *(t for v in regimen.voids for t in v.at), 0.0)]
    return simulate(
        *(model, regimen, times),
        patients=patients,
        observe=observed,
        integrate=True,
        engine=engine,
        progress=progress,
    )


def _has_exact_integrals(model: Model, regimen: Regimen) -> bool:
    """Whether one solve gives the integrals to infinity: of a linear model whose input is over at the last dose's end."""
    lags = any(c.lag for c in model.system.compartments)
    return not (model.system.nonlinear or lags or any(not v.at for v in regimen.voids))


def simulate_treatment(
    model: Model,
    regimen: Regimen,
    phantom: Phantom,
    *,
    masses: Mapping[str, Any] | None = None,
    recoil: bool = False,
    rates: bool = True,
    lesions: Sequence[Lesion] = (),
    table: SValues | None = None,
    patients: Patients | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> SimulatedTreatment:
    """A simulation, its doses, and with `rates` its dose rates over time.

    `masses`, `recoil`, `lesions` and `table` as in `absorbed_dose`; dose rates are by our own table and of the model's own
    lesions.
    """
    simulation = simulate_for_doses(model, regimen, phantom, rates=rates, patients=patients, progress=progress)
    doses = dose_of_simulation(simulation, phantom, masses, lesions, recoil, table=table)
    return SimulatedTreatment(simulation, doses, dose_over_time(simulation, phantom, masses, recoil) if rates else None)
