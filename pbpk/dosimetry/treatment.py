"""A treatment simulated to the end of its decay: with what doses need, at times close enough for its dose rates.

What is observed (every compartment of activity) and asked for (time-integrals) is settled here, so that callers name a
model, a regimen and patients alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.curves import DoseCourse, dose_over_time
from pbpk.dosimetry.effect.sampled import Sampled
from pbpk.dosimetry.target_doses import AbsorbedDose, dose_of_simulation
from pbpk.dosimetry.tiac import compartments
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide
from pbpk.population.simulate import Simulation, simulate
from pbpk.regimen.dose import dose

if TYPE_CHECKING:
    from pbpk.compile.engine import Engine
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.dosimetry.svalues import SValues
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients
    from pbpk.regimen.regimen import Regimen

HALF_LIVES = 12  # after the last dose: 1/4096 is left
FIRST = 1 / 60  # h after a dose
TIMES_AFTER_DOSE = 40
_BEFORE = 1e-6  # h


class SimulatedTreatment(NamedTuple):
    """A simulation with the doses of it; `course` has the dose rates, None where they were not asked for."""

    simulation: Simulation
    dose: AbsorbedDose
    course: DoseCourse | None


def default_regimen(model: Model) -> Regimen:
    """1 MBq by the model's first route. Raises `BadInput` where the model has none."""
    route = next(iter(model.system.block.routes), None)
    if route is None:
        raise BadInput("no dose is given, and the model has no route", hint='--dose "1 MBq to blood"')
    return dose("1 MBq", into=route)


def dose_rate_times(model: Model, regimen: Regimen) -> np.ndarray:
    """Times (h): from a minute to 12 half-lives after each dose or its end, and just before the next."""
    if model.nuclide is None:
        raise BadInput(f"the model `{model.name}` has no physical decay", hint="doses need activities, in MBq")
    starts = [d.at + k * d.ii for d in regimen.doses for k in range(d.addl + 1)]
    ends = [d.at + k * d.ii + d.over for d in regimen.doses for k in range(d.addl + 1) if d.over]
    events = np.unique([*starts, *ends])
    after = np.geomspace(FIRST, HALF_LIVES * load_nuclide(model.nuclide).half_life, TIMES_AFTER_DOSE)
    times = [0.0]
    for event, following in zip(events, [*events[1:], np.inf], strict=True):
        sampled = event + after
        times += [event, *sampled[sampled < following - 2 * _BEFORE]]
        times += [following - _BEFORE] if np.isfinite(following) else []
    return np.unique(times)


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
    if not regimen.doses:
        raise BadInput("no dose is given", hint='--dose "245 MBq to iv"')
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


def stack_dose_rates(course: DoseCourse, targets: Sequence[str]) -> Sampled:
    """The dose rates of several targets in one curve, (T, targets, N)."""
    curves = [course.sampled(t) for t in targets]
    rate, tail = (jnp.stack([jnp.asarray(getattr(c, k)) for c in curves], axis=-2) for k in ("rate", "tail"))
    return Sampled(course.time, rate, tail)


def compute_protractions(course: DoseCourse, t_repair: Mapping[str, float]) -> dict[str, np.ndarray]:
    """G (N,) of each target from its own dose rate, for its half-time of repair (h)."""
    half_times = np.array([*t_repair.values()])[:, None]
    protraction = np.asarray(stack_dose_rates(course, [*t_repair]).protraction(half_times))
    return dict(zip(t_repair, protraction, strict=True))
