"""The doses that `pbpk dosimetry` was asked for: from its flags to the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pbpk.commands.dosimetry_input import DoseSource
    from pbpk.commands.dosimetry_output import DosimetryAnswer
    from pbpk.commands.dosimetry_request import DosimetryRequest
    from pbpk.dosimetry.curves import DoseCourse
    from pbpk.dosimetry.patient.report import PatientReport
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.dosimetry.uncertain.result import DoseUncertainty, UncertaintyMethod


def compute_doses(request: DosimetryRequest) -> DosimetryAnswer:
    """Raises `WrongUsage` and `BadInput` for flags and sources that cannot be used."""
    from pbpk.commands.dosimetry_input import read_activity, read_mass, read_source, read_uncertain
    from pbpk.commands.dosimetry_output import DosimetryAnswer, describe_subjects, summarise_doses
    from pbpk.commands.dosimetry_request import check_flags
    from pbpk.commands.shared import read_pairs
    from pbpk.errors import WrongUsage

    one = request.is_of_one_patient
    uncertain, activity = read_uncertain(request.uncertain), read_activity(request.activity)
    check_flags(request)
    masses = {k: read_mass(k, v) for k, v in read_pairs(request.mass, "--mass").items()}
    source = read_source(request, activity if one else None)
    if one and source.model is not None and source.lesions:
        raise WrongUsage(
            "with --report and --uncertainty a model's lesions are its own", hint="--option lesions=neck,lung"
        )
    body = {"phantom": request.phantom, "masses": masses, "recoil": request.recoil}
    options = {"draws": request.draws, "seed": request.seed, **uncertain.options(source.kinetics)}
    page = _make_page(source, body, request.uncertainty, options) if request.report else None
    doses, course = _solve_doses(source, body, request, page)
    uncertainty = page.uncertainty if page else _estimate_uncertainty(source, body, request, options, activity)
    if activity is None and one and doses.tiac.administered is not None:
        activity = float(doses.tiac.administered[0])
    result = summarise_doses(doses, source.model, activity, request.patients, uncertainty)
    if source.subjects is not None:
        result |= describe_subjects(doses, source.subjects)
    if request.patients or uncertainty:
        result["seed"] = request.seed
    if page:
        result["report"] = page.to_dict()
    return DosimetryAnswer(doses, result, course, page, uncertainty)


def _make_page(
    source: DoseSource, body: dict[str, Any], uncertainty: str | None, options: dict[str, Any]
) -> PatientReport:
    from pbpk.dosimetry.patient.report import patient_report

    assert source.model is not None
    more = options if uncertainty else {}
    method = cast("UncertaintyMethod | None", uncertainty)
    return patient_report(source.model, source.regimen, uncertainty=method, **body, **more)


def _estimate_uncertainty(
    source: DoseSource,
    body: dict[str, Any],
    request: DosimetryRequest,
    options: dict[str, Any],
    activity: float | None,
) -> DoseUncertainty | None:
    from pbpk.dosimetry.uncertain.doses import dose_uncertainty
    from pbpk.errors import WrongUsage

    if request.uncertainty is None:
        return None
    method = cast("UncertaintyMethod", request.uncertainty)
    if source.model is not None:
        return dose_uncertainty(source.model, source.regimen, method=method, **body, **options)
    if activity is None:
        raise WrongUsage("--activity is missing: effects are of what is given", hint='--activity "7.4 GBq"')
    assert source.tiac is not None
    return dose_uncertainty(source.tiac, activity=activity, method=method, lesions=source.lesions, **body, **options)


def _solve_doses(
    source: DoseSource, body: dict[str, Any], request: DosimetryRequest, page: PatientReport | None
) -> tuple[AbsorbedDose, DoseCourse | None]:
    """Doses, and where files are wanted a model's dose rates, of at most 500 patients."""
    from pbpk.commands.shared import say
    from pbpk.commands.simulate_output import make_progress
    from pbpk.dosimetry.absorbed import absorbed_dose
    from pbpk.dosimetry.custom_svalues import icrp133_s_values
    from pbpk.dosimetry.treatment import simulate_treatment
    from pbpk.population.patients import virtual_patients

    table = icrp133_s_values(source.nuclide, request.phantom, request.saf, request.recoil) if request.saf else None
    if page:
        return page.treatment.dose, page.treatment.course
    if source.model is None:
        assert source.tiac is not None
        return absorbed_dose(source.tiac, lesions=source.lesions, table=table, **body), None
    assert source.regimen is not None
    patients = virtual_patients(source.model, request.patients, request.seed) if request.patients else source.subjects
    progress = make_progress(len(patients) if patients is not None else 1)
    path, doses, _ = simulate_treatment(
        *(source.model, source.regimen),
        **body,
        lesions=source.lesions,
        table=table,
        rates=False,
        patients=patients,
        progress=progress,
    )
    failed = int((path.result != 0).sum())
    if failed:
        say(f"warning: {failed} of {len(path.patients)} patients could not be solved and are left out")
    if not request.wants_files:
        return doses, None
    few = patients[:500] if patients is not None else None
    return doses, simulate_treatment(source.model, source.regimen, **body, patients=few).course
