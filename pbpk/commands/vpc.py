"""`pbpk vpc RUN`: a visual predictive check of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pbpk.diagnostics.vpc import VpcResult


def register(app: typer.Typer) -> None:
    """Add `pbpk vpc` to the command line."""
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
    from pbpk.commands.run_analyses import ProgressLines, print_notes, print_result, write_images
    from pbpk.commands.shared import say
    from pbpk.run_folders.analysis import claim_analysis, write_analysis
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_for_simulation
    from pbpk.run_folders.resume import keep_progress
    from pbpk.run_folders.simulation_checks import make_vpc_options
    from pbpk.run_folders.simulation_checks import vpc as check_run

    keywords: dict[str, Any] = {
        "replicates": replicates,
        "bins": _read_bins(bins),
        "bin_method": bin_method,
        "by": by,
        "prediction_corrected": corrected,
        "variability_corrected": variability,
        "quantiles": _read_numbers(quantiles, "--quantiles"),
        "interval": interval,
        "endpoint": endpoint,
        "seed": seed,
    }
    options = make_vpc_options(**keywords)  # refuses before the run is read
    source = find_run(run)
    fit = reopen_for_simulation(source)
    say(f"{fit.study.name}: {replicates} replicates of {fit.problem.subjects} subjects; first call compiles")
    folder = claim_analysis(source, "vpc", out, vars(options))
    with keep_progress(folder):
        result = check_run(fit, **keywords, progress=ProgressLines("replicates"))
        write_analysis(folder, "vpc", result.to_dict(), {"vpc": result.table, "points": result.points})
        missing = write_images(folder, lambda: _draw_images(result, source))
        final = folder.finish()
    print_result(result, source, final, as_json, _format_result)
    print_notes(result.notes, source, final)
    if missing is not None:
        raise missing


def _read_numbers(text: str, option: str) -> tuple[float, ...]:
    """`"5,50,95"` as numbers. Raises `WrongUsage`, naming `option`."""
    from pbpk.commands.shared import read_list
    from pbpk.errors import WrongUsage

    try:
        return tuple(float(part) for part in read_list(text) or ())
    except ValueError as e:
        raise WrongUsage(f'{option} "{text}" cannot be read', hint=f"write {option} 5,50,95") from e


def _read_bins(text: str | None) -> int | tuple[float, ...] | None:
    """`"8"` as a count, `"0,2,6,12"` as edges. Raises `WrongUsage`."""
    if text is None:
        return None
    return int(text) if text.strip().lstrip("-").isdigit() else _read_numbers(text, "--bins")


def _draw_images(result: VpcResult, source: Path) -> dict[str, bytes]:
    """The VPC's panels as PNG files, by name. Raises `MissingExtra` without the libraries for figures."""
    from pbpk.report.vpc import VpcFigures, draw_vpc_images
    from pbpk.run_folders.read import read_run

    return draw_vpc_images(VpcFigures(result.table, result.points, result.to_dict(), read_run(source).units))


def _format_result(result: VpcResult, source: Path) -> str:
    """The result in words: a table and the verdict."""
    from pbpk.commands.run_analyses import format_heading, format_table
    from pbpk.report.numbers import format_interval, format_number

    rows = result.table[result.table["PANEL"] != "survival"]
    table = rows.assign(
        band=[format_interval(a, b) for a, b in zip(rows["LOW"], rows["HIGH"], strict=True)],
        out=["" if x != 0 else "outside" for x in rows["INSIDE"]],
        what=[f"{p} {v}".strip() for p, v in zip(rows["PANEL"], rows["LEVEL"], strict=True)],
    )
    columns = [
        ("DVID", "DVID", None),
        *([("Stratum", "STRATUM", None)] if result.options.by else []),
        ("Time", "TIME", format_number),
        ("n", "N", str),
        ("What", "what", None),
        ("Observed", "OBSERVED", format_number),
        ("Median", "MEDIAN", format_number),
        (f"{result.options.interval:g} % interval", "band", str),
        ("", "out", None),
    ]
    what = "prediction-corrected VPC" if result.options.corrected else "VPC"
    head = format_heading(
        result.study, source, f"{what}, {result.options.replicates} replicates, seed {result.options.seed}"
    )
    return "\n".join([head, *([format_table(table, columns), ""] if len(table) else []), result.verdict])
