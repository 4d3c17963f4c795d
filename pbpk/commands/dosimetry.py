"""`pbpk dosimetry MODEL`: time-integrated activities, absorbed doses by organ, their effect, and what is not known of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pbpk.commands.dosimetry_request import DosimetryRequest

if TYPE_CHECKING:
    from pbpk.commands.dosimetry_output import DosimetryAnswer


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
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
    from pbpk.commands.dosimetry_doses import compute_doses
    from pbpk.commands.dosimetry_output import format_doses, list_regions
    from pbpk.commands.shared import choose_engine, print_json, say
    from pbpk.dosimetry.phantom.body import check_phantom
    from pbpk.errors import WrongUsage

    choose_engine(engine)
    body = check_phantom(phantom)
    if regions:
        list_regions(body, as_json)
        return
    if of is None:
        raise WrongUsage("which model?", hint="pbpk dosimetry iodide --nuclide I-131 --phantom adult-male")
    request = DosimetryRequest(
        *(of, body, nuclide, activity, dose, mass, lesion, recoil, option, settings, patients, individuals),
        *(seed, report, uncertainty, uncertain, draws, saf, out is not None),
    )
    answer = compute_doses(request)
    if out is not None:
        _write_files(answer, out)
    for note in answer.result["notes"]:
        say(f"note: {note}")
    if as_json:
        print_json(answer.result)
    else:
        print(answer.page.text() if answer.page else format_doses(answer.result, answer.uncertainty))


def _write_files(answer: DosimetryAnswer, out: Path) -> None:
    from pbpk.commands.dosimetry_output import write_doses
    from pbpk.commands.shared import say
    from pbpk.run_folders.claim import claim_folder

    folder = claim_folder(Path("dosimetry"), out, resumable=None)
    try:
        answer.result["notes"] += write_doses(folder, answer)
        answer.result["folder"] = str(folder.finish())
    except BaseException:
        folder.abandon()
        raise
    say(f"wrote {answer.result['folder']}")
