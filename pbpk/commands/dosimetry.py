"""`pbpk dosimetry MODEL`: time-integrated activities, absorbed doses by organ, their effect, and what is not known of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

if TYPE_CHECKING:
    from pbpk.commands.dosimetry_input import Asked
    from pbpk.dosimetry.patient.report import PatientReport
    from pbpk.dosimetry.target_doses import AbsorbedDose
    from pbpk.dosimetry.uncertain.result import DoseUncertainty, UncertaintyMethod


def register(app: typer.Typer) -> None:
    app.command("dosimetry")(dosimetry)


def dosimetry(
    of: str = typer.Argument(
        None, help="A model's name or folder, a finished fit's run, or a CSV file of time-integrated activities."
    ),
    nuclide: str = typer.Option(None, help="Such as I-131; default: the model's own."),
    phantom: str = typer.Option("adult-male", help="adult-male or adult-female."),
    activity: str = typer.Option(None, help='What is given, such as "3.7 GBq": doses in Gy too.'),
    dose: list[str] = typer.Option(
        None,
        "--dose",
        help='How it is given, such as "1 MBq oral" or "3.5 MBq/kg iv"; default: 1 MBq by the model\'s first route.',
    ),
    mass: list[str] = typer.Option(None, "--mass", help='ORGAN=MASS with its blood, such as "thyroid=30 g".'),
    lesion: list[str] = typer.Option(None, "--lesion", help='NAME=MASS@REGION, such as "node=2 g@muscle".'),
    recoil: bool = typer.Option(False, "--recoil", help="Count the energy of recoiling nuclei with the alphas."),
    option: list[str] = typer.Option(None, "--option", help="NAME=CHOICE of a model that comes in variants."),
    settings: list[str] = typer.Option(None, "--set", help='NAME=VALUE, such as "CL=50 mL/min" or WT=70.'),
    patients: int = typer.Option(None, help="Virtual patients: medians, with intervals of 90 %."),
    individuals: bool = typer.Option(
        False,
        "--individuals",
        help="Of a fit: each subject at its own estimates, and the interval of 90 % between them.",
    ),
    seed: int = typer.Option(1, help="Of the virtual patients, and of --uncertainty montecarlo."),
    report: bool = typer.Option(
        False,
        "--report",
        help="One patient on one page: RBE, BED, cells hit by hit, and the beta formalism beside them.",
    ),
    uncertainty: str = typer.Option(
        None, help="propagate or montecarlo: mean, SD, interval of 90 %, and shares of kinetics, mass, S, RBE."
    ),
    uncertain: list[str] = typer.Option(
        None, "--uncertain", help='NAME=RELATIVE SD of a parameter or region, mass.REGION, S.RADIATION: "mass=10 %".'
    ),
    draws: int = typer.Option(2000, help="Of --uncertainty montecarlo."),
    engine: str = typer.Option(None, help="What computes: kernel, jax or diffrax; default: kernels where they can."),
    regions: bool = typer.Option(False, "--regions", help="List the phantom's regions and their masses."),
    saf: Path = typer.Option(None, help="Your folder with SAF files of ICRP 133, in place of our tables."),
    out: Path = typer.Option(None, help="A new folder for tiac.csv, dose.csv, case.cas, dosimetry.json and figures."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Absorbed dose by organ, from a model's kinetics, a fit or time-integrated activities; and what it does."""
    from pbpk.commands.dosimetry_input import Flags, grams, megabecquerels, read_doubts, read_source
    from pbpk.commands.dosimetry_output import as_text, by_subject, list_regions, summary
    from pbpk.commands.shared import choose_engine, print_json, read_pairs, say
    from pbpk.dosimetry.phantom.body import check_phantom
    from pbpk.errors import WrongUsage
    from pbpk.run_folders.claim import claim_folder

    choose_engine(engine)
    body = check_phantom(phantom)
    if regions:
        list_regions(body, as_json)
        return
    if of is None:
        raise WrongUsage("which model?", hint="pbpk dosimetry iodide --nuclide I-131 --phantom adult-male")
    judged, doubts = report or uncertainty is not None, read_doubts(uncertain)
    given = megabecquerels(activity)
    for wrong, what, hint in (
        (uncertainty not in (None, "propagate", "montecarlo"), "--uncertainty is not known", "propagate or montecarlo"),
        (uncertain and uncertainty is None, "--uncertain goes with --uncertainty", "--uncertainty propagate"),
        (judged and patients, "--patients is of many, --report and --uncertainty of one", "leave one of them out"),
        (
            individuals and (judged or patients),
            "--individuals is of a fit's subjects as they are",
            "leave --patients, --report and --uncertainty out",
        ),
        (judged and saf, "--report and --uncertainty know our S values alone", "leave --saf out"),
        (report and of.lower().endswith(".csv"), "--report needs a model: dose rates come from kinetics", ""),
    ):
        if wrong:
            raise WrongUsage(what, hint=hint)
    masses = {k: grams(k, v) for k, v in read_pairs(mass, "--mass").items()}
    flags = Flags(nuclide, dose, option, settings, patients, lesion, individuals)
    asked = read_source(of, flags, body, given if judged else None)
    if judged and asked.model is not None and asked.lesions:
        raise WrongUsage(
            "with --report and --uncertainty a model's lesions are its own", hint="--option lesions=neck,lung"
        )
    about = {"phantom": body, "masses": masses, "recoil": recoil}
    options = {"draws": draws, "seed": seed, **doubts.options(asked.kinetics)}
    page = _page(asked, about, uncertainty, options) if report else None
    found, curves = _doses(asked, about, saf, patients, seed, out is not None, page)
    unknown = page.uncertainty if page else _unknown(asked, about, uncertainty, options, given)
    if given is None and judged and found.tiac.administered is not None:
        given = float(found.tiac.administered[0])
    result = summary(found, asked.model, given, patients, unknown)
    if asked.subjects is not None:
        result |= by_subject(found, asked.subjects)
    if patients or unknown:
        result["seed"] = seed
    if page:
        result["report"] = page.to_dict()
    folder = claim_folder(Path("dosimetry"), out) if out is not None else None
    if folder:
        from pbpk.commands.dosimetry_output import write

        try:
            result["notes"] += write(folder, found, result, curves, page)
            result["folder"] = str(folder.finish())
        except BaseException:
            folder.abandon()
            raise
        say(f"wrote {result['folder']}")
    for note in result["notes"]:
        say(f"note: {note}")
    if as_json:
        print_json(result)
    else:
        print(page.text() if page else as_text(result, unknown))


def _page(asked: Asked, about: dict[str, Any], uncertainty: str | None, options: dict[str, Any]) -> PatientReport:
    from pbpk.dosimetry.patient.report import patient_report

    assert asked.model is not None
    more = options if uncertainty else {}
    return patient_report(
        asked.model, asked.regimen, uncertainty=cast("UncertaintyMethod | None", uncertainty), **about, **more
    )


def _unknown(
    asked: Asked, about: dict[str, Any], method: str | None, options: dict[str, Any], given: float | None
) -> DoseUncertainty | None:
    from pbpk.dosimetry.uncertain.doses import dose_uncertainty
    from pbpk.errors import WrongUsage

    if method is None:
        return None
    if asked.model is not None:
        return dose_uncertainty(
            asked.model, asked.regimen, method=cast("UncertaintyMethod", method), **about, **options
        )
    if given is None:
        raise WrongUsage("--activity is missing: effects are of what is given", hint='--activity "7.4 GBq"')
    assert asked.tiac is not None
    return dose_uncertainty(
        asked.tiac, activity=given, method=cast("UncertaintyMethod", method), lesions=asked.lesions, **about, **options
    )


def _doses(
    asked: Asked,
    about: dict[str, Any],
    saf: Path | None,
    patients: int | None,
    seed: int,
    rates: bool,
    page: PatientReport | None,
) -> tuple[AbsorbedDose, Any]:
    """Doses, and where `rates` are wanted a model's dose rates, of at most 500 patients."""
    from pbpk.commands.shared import say
    from pbpk.commands.simulate_output import progress
    from pbpk.dosimetry.absorbed import absorbed_dose
    from pbpk.dosimetry.custom_svalues import icrp133_s_values
    from pbpk.dosimetry.treatment import simulate_treatment
    from pbpk.population.patients import virtual_patients

    table = icrp133_s_values(asked.nuclide, about["phantom"], saf, about["recoil"]) if saf else None
    if page:
        return page.treatment.dose, page.treatment.course
    if asked.model is None:
        assert asked.tiac is not None
        return absorbed_dose(asked.tiac, lesions=asked.lesions, table=table, **about), None
    assert asked.regimen is not None
    who = virtual_patients(asked.model, patients, seed) if patients else asked.subjects
    told, more = progress(len(who) if who is not None else 1), {"lesions": asked.lesions, "table": table}
    path, found, _ = simulate_treatment(
        asked.model, asked.regimen, **about, **more, rates=False, patients=who, progress=told
    )
    failed = int((path.result != 0).sum())
    if failed:
        say(f"warning: {failed} of {len(path.patients)} patients could not be solved and are left out")
    few = who[:500] if who is not None else None
    return found, simulate_treatment(asked.model, asked.regimen, **about, patients=few).course if rates else None
