"""A course of treatment followed to the end of its decay: at times close enough for the dose rate to be integrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from pbpk.dosimetry.absorbed import Dose, absorbed_dose
from pbpk.dosimetry.curves import DoseCourse, dose_over_time
from pbpk.dosimetry.effect.sampled import Sampled
from pbpk.dosimetry.tiac import compartments
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide
from pbpk.population.simulate import Simulation, simulate
from pbpk.regimen.dose import dose
from pbpk.regimen.regimen import Regimen

if TYPE_CHECKING:
    from pbpk.dosimetry.phantom.body import Phantom
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.dosimetry.svalues import SValues
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients

HALF_LIVES = 12  # after the last dose: 1/4096 is left
FIRST = 1 / 60  # h after a dose
EACH = 40  # times after it
_BEFORE = 1e-6  # h


class SimulatedTreatment(NamedTuple):
    """`course` is None where dose rates were not asked for."""

    path: Simulation
    dose: Dose
    course: DoseCourse | None


def default_regimen(model: Model) -> Regimen:
    """1 MBq by the model's first route."""
    route = next(iter(model.system.block.routes), None)
    if route is None:
        raise BadInput("what is given is not said, and the model has no route", hint='--dose "1 MBq to blood"')
    return dose("1 MBq", into=route)


def dose_rate_times(model: Model, regimen: Regimen) -> np.ndarray:
    """Times (h): from a minute to 12 half-lives after each dose or its end, and just before the next."""
    if model.nuclide is None:
        raise BadInput(f"the model `{model.name}` has no physical decay", hint="doses need activities, in MBq")
    starts = [d.at + k * d.ii for d in regimen.doses for k in range(d.addl + 1)]
    ends = [d.at + k * d.ii + d.over for d in regimen.doses for k in range(d.addl + 1) if d.over]
    events = np.unique([*starts, *ends])
    after = np.geomspace(FIRST, HALF_LIVES * load_nuclide(model.nuclide).half_life, EACH)
    times = [0.0]
    for now, then in zip(events, [*events[1:], np.inf], strict=True):
        inside = now + after
        times += [now, *inside[inside < then - 2 * _BEFORE], *([then - _BEFORE] if np.isfinite(then) else [])]
    return np.unique(times)


def stack_dose_rates(course: DoseCourse, targets: Sequence[str]) -> Sampled:
    """The dose rates of several targets in one curve, (T, targets, N)."""
    curves = [course.sampled(t) for t in targets]
    rate, tail = (jnp.stack([jnp.asarray(getattr(c, k)) for c in curves], axis=-2) for k in ("rate", "tail"))
    return Sampled(course.time, rate, tail)


def compute_protractions(course: DoseCourse, t_repair: Mapping[str, float]) -> dict[str, np.ndarray]:
    """G (N,) of each target from its own dose rate, for its half-time of repair (h)."""
    half = np.array([*t_repair.values()])[:, None]
    found = np.asarray(stack_dose_rates(course, [*t_repair]).protraction(half))
    return dict(zip(t_repair, found, strict=True))


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
    """Simulated with what doses need. Without `rates` a linear model is solved at one time: its integrals are exact.

    `lesions` and `table` as in `absorbed_dose`; dose rates are by our own table and of the model's own lesions.
    """
    if not regimen.doses:
        raise BadInput("nothing is given", hint='--dose "245 MBq to iv"')
    kept, fine = compartments(model, phantom), dose_rate_times(model, regimen)
    last = max(d.at + d.addl * d.ii + d.over for d in regimen.doses)
    times = fine if rates or model.system.nonlinear else [last]
    path = simulate(
        *(model, regimen, times),
        patients=patients,
        observe=kept,
        integrate=True,
        progress=progress,
    )
    found = absorbed_dose(path, phantom=phantom, masses=masses, lesions=lesions, recoil=recoil, table=table)
    return SimulatedTreatment(path, found, dose_over_time(path, phantom, masses, recoil) if rates else None)
