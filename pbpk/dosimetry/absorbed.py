"""Absorbed dose of anything that has time-integrated activities: a model, a simulation, or hours by region.

`absorbed_dose` is the way in. It finds the time-integrated activities and masses; target_doses.py sums them with S values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pbpk.dosimetry.phantom.body import check_phantom
from pbpk.dosimetry.target_doses import AbsorbedDose, dose_of_simulation, sum_doses
from pbpk.dosimetry.tiac import Tiac, tiac_from_hours
from pbpk.dosimetry.treatment import simulate_for_doses
from pbpk.dosimetry.treatment_plan import default_regimen
from pbpk.errors import BadInput
from pbpk.model.load import Model
from pbpk.nuclides import load_nuclide
from pbpk.population.simulate import Simulation
from pbpk.regimen.regimen import Regimen

if TYPE_CHECKING:
    from pbpk.compile.engine import Engine
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.dosimetry.svalues import SValues
    from pbpk.nuclides import Evaluation
    from pbpk.population.patients import Patients

Dose = AbsorbedDose  # the documented name


def absorbed_dose(
    of: Simulation | Model | Tiac | Mapping[str, Any],
    nuclide_or_regimen: str | Regimen | None = None,
    phantom: str = "adult-male",
    *,
    nuclide: str | None = None,
    regimen: Regimen | None = None,
    patients: Patients | None = None,
    masses: Mapping[str, Any] | None = None,
    lesions: Sequence[Lesion] = (),
    recoil: bool = False,
    evaluation: Evaluation = "ensdf",
    table: SValues | None = None,
    engine: Engine | None = None,
) -> AbsorbedDose:
    """Doses of a model, of a simulation, or of time-integrated activities.

    absorbed_dose(model, regimen)                       the model's typical patient
    absorbed_dose(model, regimen, patients=patients)    virtual patients, each with the masses that are rows of the model
    absorbed_dose(simulation)                           of `compartments(model)`, simulated with `integrate=True`
    absorbed_dose({"thyroid": 76.6}, "I-131")           hours by region ("76.6 h" too), numbers or arrays (N,); or a `Tiac`

    The second argument is the `regimen` of a model or the `nuclide` of hours; both may be named instead. A model is given
    1 MBq by its first route unless a regimen says otherwise, and keeps its own nuclide unless another is named. `masses` (g,
    with blood; numbers or arrays) replaces the phantom's reference masses and the model's. `lesions` are spheres, sources by
    their own name, which take what the region they are `within` takes from elsewhere. `recoil` adds the energy of recoiling
    nuclei to alphas (+1.9 % for 211At), which most tables leave out. `table` replaces our S values by the user's own
    (custom_svalues.py). `engine` is what solves a model (docs/kernels.md). Pure in the activities and masses: jit, grad and
    vmap work.

    Raises `BadInput` for a region the phantom lacks, a mass of 0, a nuclide without data, more decays than were given, and
    a simulation that lacks what doses need.

    >>> dose = pbpk.absorbed_dose({"thyroid": 76.6}, "I-131")
    >>> round(float(dose.coefficient["thyroid"][0]))  # mGy/MBq
    380
    """
    body = check_phantom(phantom)
    if isinstance(nuclide_or_regimen, Regimen):
        if regimen is not None:
            raise BadInput("two regimens are given", hint="absorbed_dose(model, regimen)")
        if not isinstance(of, Model):
            raise BadInput("a regimen goes with a model", hint="absorbed_dose(model, regimen)")
        regimen = nuclide_or_regimen
    elif nuclide_or_regimen is not None:
        if nuclide is not None:
            raise BadInput("two nuclides are given", hint=f"absorbed_dose(…, nuclide={nuclide!r})")
        nuclide = nuclide_or_regimen
    if patients is not None and not isinstance(of, Model):
        raise BadInput("patients go with a model", hint="absorbed_dose(model, regimen, patients=patients)")
    if isinstance(of, Model):
        model = of if nuclide is None else of.with_nuclide(nuclide)
        treatment = default_regimen(model) if regimen is None else regimen
        of = simulate_for_doses(model, treatment, body, patients=patients, engine=engine)
    if isinstance(of, Simulation):
        simulated = of.model.nuclide if of.model else None
        if nuclide is not None and simulated is not None and load_nuclide(nuclide).name != simulated:
            what = f"this was simulated with {simulated}, not {nuclide}"
            raise BadInput(what, hint=f"load_model(…, nuclide={nuclide!r})")
        return dose_of_simulation(of, body, masses, lesions, recoil, evaluation, table)
    if isinstance(of, Tiac):
        tiac = of
    elif nuclide is None:
        raise BadInput("time-integrated activities need a nuclide", hint='nuclide="I-131"')
    else:
        tiac = tiac_from_hours(of, nuclide, body, frozenset(x.name for x in lesions))
    return sum_doses(
        *(tiac, body, masses or {}, tuple(lesions)), recoil=recoil, evaluation=evaluation, custom_table=table
    )
