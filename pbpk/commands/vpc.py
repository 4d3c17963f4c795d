"""`pbpk vpc RUN`: a visual predictive check of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.diagnostics.vpc import Vpc
    from pbpk.run_folders.write import OutputFolder


def register(app: typer.Typer) -> None:
    app.command("vpc")(vpc)


def vpc(
    run: str = typer.Argument(..., help="A run folder, STUDY/NUMBER, or a study's name (its latest run)."),
    replicates: int = typer.Option(1000, help="How many times the study is simulated."),
    bins: str = typer.Option(None, help="How many, or their edges: 0,2,6,12; default: one for each usual time."),
    bin_method: str = typer.Option(
        "jenks", help="jenks (natural breaks), quantile (equal counts) or time (equal widths)."
    ),
    by: str = typer.Option(None, help="A covariate: its values, or below and above its median."),
    corrected: bool = typer.Option(False, "--prediction-corrected", help="Take out what dose and covariates explain."),
    variability: bool = typer.Option(False, "--variability-corrected", help="Also what they explain of the spread."),
    quantiles: str = typer.Option("5,50,95", help="The percentiles compared."),
    interval: float = typer.Option(90.0, help="Per cent of the replicates that a band holds."),
    endpoint: str = typer.Option(None, help="Only this DVID."),
    seed: int = typer.Option(1, help="The same seed gives the same replicates."),
    out: Path = typer.Option(None, help="The folder; default: RUN/vpc/NNN."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Simulate a finished run's study and set observed percentiles, shares and survival against the replicates'."""
    from pbpk.commands.run_analyses import Progress, open_subfolder
    from pbpk.commands.shared import print_json, say
    from pbpk.diagnostics.options import Plan
    from pbpk.diagnostics.vpc import vpc as of
    from pbpk.errors import MissingExtra
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.simulation_checks import reopen_for_simulation

    levels = tuple(sorted(_numbers(quantiles, "--quantiles")))
    corrected = corrected or variability
    plan = Plan(*(replicates, _bins(bins), bin_method, by, corrected, variability, levels, interval, endpoint, seed))
    plan.check()
    source = find_run(run)
    fit = reopen_for_simulation(source)
    say(f"{fit.study.name}: {plan.replicates} replicates of {fit.problem.subjects} subjects; first call compiles")
    found = of(fit, plan, Progress("replicates"))
    folder = open_subfolder(source, "vpc", out, vars(plan))
    missing: MissingExtra | None = None
    try:
        folder.write("vpc.csv", found.table.to_csv(index=False))
        folder.write("points.csv", found.points.to_csv(index=False))
        folder.write_json("vpc.json", {"schema_version": 1, **found.to_dict()})
        try:
            _figures(folder, found, source)
        except MissingExtra as e:
            missing = e
        final = folder.finish()
    except BaseException:
        folder.abandon()
        raise
    if as_json:
        print_json(found.to_dict() | {"run": str(source), "folder": str(final)})
    else:
        print(_block(found, source))
    for note in found.notes:
        say(f"  note: {note}")
    say(f"wrote {final}; in the run's page after  pbpk report {source}")
    if missing is not None:
        raise missing


def _numbers(text: str, option: str) -> tuple[float, ...]:
    from pbpk.commands.shared import read_list
    from pbpk.errors import WrongUsage

    try:
        return tuple(float(part) for part in read_list(text) or ())
    except ValueError as e:
        raise WrongUsage(f'{option} "{text}" cannot be read', hint=f"write {option} 5,50,95") from e


def _bins(text: str | None) -> int | tuple[float, ...] | None:
    if text is None:
        return None
    return int(text) if text.strip().lstrip("-").isdigit() else _numbers(text, "--bins")


def _figures(folder: OutputFolder, found: Vpc, source: Path) -> None:
    from pbpk.report.vpc import Checked, vpc_images
    from pbpk.run_folders.read import read_run

    units = read_run(source).units
    for name, picture in vpc_images(Checked(found.table, found.points, found.to_dict(), units)).items():
        (folder.partial / name).write_bytes(picture)


def _block(found: Vpc, source: Path) -> str:
    from pbpk.commands.run_analyses import header, table_text
    from pbpk.report.numbers import interval, shown

    rows = found.table[found.table["PANEL"] != "survival"]
    table = rows.assign(
        band=[interval(a, b) for a, b in zip(rows["LOW"], rows["HIGH"], strict=True)],
        out=["" if x != 0 else "outside" for x in rows["INSIDE"]],
        what=[f"{p} {v}".strip() for p, v in zip(rows["PANEL"], rows["LEVEL"], strict=True)],
    )
    columns = [
        ("DVID", "DVID", None),
        *([("Stratum", "STRATUM", None)] if found.plan.by else []),
        ("Time", "TIME", shown),
        ("n", "N", str),
        ("What", "what", None),
        ("Observed", "OBSERVED", shown),
        ("Median", "MEDIAN", shown),
        (f"{found.plan.interval:g} % interval", "band", str),
        ("", "out", None),
    ]
    what = "prediction-corrected VPC" if found.plan.corrected else "VPC"
    head = header(found.study, source, f"{what}, {found.plan.replicates} replicates, seed {found.plan.seed}")
    return "\n".join([head, *([table_text(table, columns), ""] if len(table) else []), found.verdict])
