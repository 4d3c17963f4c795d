"""What `pbpk dosimetry` computes doses from: a model, a finished fit or a file of activities, a regimen, lesions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pbpk.commands.dosimetry_request import DosimetryRequest
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.dosimetry.tiac import Tiac
    from pbpk.dosimetry.uncertain.inputs import UncertainKinetics
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients
    from pbpk.regimen.regimen import Regimen


class DoseSource(NamedTuple):
    """A model with a regimen, or time-integrated activities. `kinetics`: a fit's; `lesions`: those that the model does
    not have; `subjects`: those of the fit, each at its own estimates."""

    model: Model | None
    regimen: Regimen | None
    tiac: Tiac | None
    nuclide: str
    kinetics: UncertainKinetics | None
    lesions: tuple[Lesion, ...]
    subjects: Patients | None = None


def read_source(request: DosimetryRequest, activity: float | None) -> DoseSource:
    """Read what doses are computed from. `activity` (MBq) takes the place of the amount of a single dose, so that
    effects are of what is given."""
    from pbpk.commands.shared import read_pairs
    from pbpk.dosimetry.region_map import Lesion
    from pbpk.dosimetry.tiac import read_tiac
    from pbpk.errors import WrongUsage
    from pbpk.model.load import load_model

    extra = []
    for label, text in read_pairs(request.lesion, "--lesion").items():
        weight, at, within = text.partition("@")
        if not at or not within.strip():
            raise WrongUsage(f'--lesion "{label}={text}" cannot be read', hint='--lesion "node=2 g@muscle"')
        extra.append(Lesion(label, read_mass(label, weight), within.strip()))
    if request.of.lower().endswith(".csv"):
        if request.nuclide is None:
            raise WrongUsage("--nuclide is missing: the file does not say it", hint="--nuclide I-131")
        if request.dose or request.patients or request.settings or request.option:
            raise WrongUsage("--dose, --set, --option and --patients go with a model")
        tiac = read_tiac(request.of, request.nuclide, request.phantom, frozenset(x.name for x in extra))
        return DoseSource(None, None, tiac, tiac.nuclide, None, tuple(extra))
    kinetics, subjects, run = None, None, _find_finished_run(request.of)
    if request.individuals and run is None:
        raise WrongUsage("--individuals is of a fit's subjects", hint="pbpk dosimetry STUDY/001 --individuals")
    if run is not None:
        from pbpk.run_folders.fitted_individuals import fitted_individuals
        from pbpk.run_folders.fitted_kinetics import fitted_kinetics

        if request.nuclide or request.settings or request.option:
            raise WrongUsage("--nuclide, --set and --option are the fit's own", hint="name the model to change them")
        if request.individuals:
            model, subjects = fitted_individuals(run)
        else:
            model, kinetics = fitted_kinetics(run)
    else:
        values, options = read_pairs(request.settings, "--set"), read_pairs(request.option, "--option")
        model = load_model(request.of, nuclide=request.nuclide, values=values, options=options)
    regimen = _read_regimen(model, request.dose, activity)
    return DoseSource(model, regimen, None, str(model.nuclide), kinetics, tuple(extra), subjects)


def _find_finished_run(of: str) -> Path | None:
    """A finished fit's folder, where `of` is no model."""
    from pbpk.errors import BadInput
    from pbpk.model.load import list_models
    from pbpk.run_folders.find import find_run

    if of in list_models() or (Path(of) / "structure.py").exists():
        return None
    try:
        return find_run(of)
    except BadInput:
        return None


def _read_regimen(model: Model, words: list[str] | None, activity: float | None) -> Regimen:
    from dataclasses import replace

    from pbpk.dosimetry.treatment_plan import default_regimen
    from pbpk.errors import WrongUsage
    from pbpk.regimen.dose import parse_dose
    from pbpk.regimen.regimen import Regimen

    regimen = sum((parse_dose(d) for d in words), Regimen(())) if words else default_regimen(model)
    if activity is None:
        return regimen
    if len(regimen.doses) != 1 or regimen.doses[0].addl or regimen.doses[0].per_kg:
        what = "--activity is of one dose, and --dose says how much of several, or by weight"
        raise WrongUsage(what, hint="leave --activity out")
    return Regimen((replace(regimen.doses[0], amount=activity, unit="MBq"),), regimen.voids)


class UncertainInputs(NamedTuple):
    """What --uncertain says. Relative SDs: `kinetics` by parameter or region; of masses, `*` for all others; of S by
    radiation."""

    kinetics: Mapping[str, float]
    masses: Mapping[str, float]
    s: Mapping[str, float]

    def options(self, kinetics: Any) -> dict[str, Any]:
        """The keywords of `dose_uncertainty`."""
        from pbpk.errors import WrongUsage

        if kinetics is not None and self.kinetics:
            what = f"what is not known of {', '.join(self.kinetics)} is in the fit's covariance"
            raise WrongUsage(what, hint="--uncertain mass.REGION and S.RADIATION go with a fit")
        return {"kinetics": kinetics or self.kinetics, "mass_sd": self.masses, "s_sd": self.s}


def read_uncertain(pairs: list[str] | None) -> UncertainInputs:
    """Read relative SDs from NAME=20 % or NAME=0.2; `mass=`, `mass.kidneys=`, `S.photon=`, or the name of a parameter
    or region."""
    from pbpk.commands.shared import read_pairs
    from pbpk.errors import WrongUsage

    inputs = UncertainInputs({}, {}, {})
    for name, text in read_pairs(pairs, "--uncertain").items():
        try:
            value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            raise WrongUsage(f'--uncertain "{name}={text}" cannot be read', hint='--uncertain "thyroid=20 %"') from None
        kind, _, rest = name.partition(".")
        if kind == "mass":
            inputs.masses[rest or "*"] = value  # type: ignore[index]
        elif kind == "S" and rest:
            inputs.s[rest] = value  # type: ignore[index]
        else:
            inputs.kinetics[name] = value  # type: ignore[index]
    return inputs


def read_mass(name: str, text: str) -> float:
    """A mass in g. Raises `BadInput`."""
    from pbpk import units
    from pbpk.errors import BadInput
    from pbpk.model.parameters import read_number

    try:
        number, unit = read_number(text.strip())
    except ValueError:
        raise BadInput(f'the mass "{text}" of {name} cannot be read', hint='"30 g"') from None
    return number * units.require_dimension(unit or "g", "g", f"the mass of {name}") / units.unit_factor("g")


def read_activity(text: str | None) -> float | None:
    """An activity in MBq, None where none is given. Raises `BadInput`."""
    from pbpk import units
    from pbpk.errors import BadInput
    from pbpk.model.parameters import read_number

    if text is None:
        return None
    try:
        number, unit = read_number(text)
    except ValueError:
        number, unit = 0.0, ""
    if not unit or number <= 0:
        raise BadInput(f'the activity "{text}" cannot be read', hint='--activity "3.7 GBq"')
    return number * units.require_dimension(unit, "MBq", "the activity")
