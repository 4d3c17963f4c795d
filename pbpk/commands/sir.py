"""`pbpk sir RUN`: sampling importance resampling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.uncertainty.sir import SirResult


def register(app: typer.Typer) -> None:
    """Add `pbpk sir` to the command line."""
    app.command("sir")(sir)


def sir(
    run: str = typer.Argument(..., help="A run folder, STUDY/NUMBER, or a study's name (its latest run)."),
    samples: str = typer.Option(None, help="Vectors drawn in each iteration; default 1000,1000,1000,2000,2000."),
    resamples: str = typer.Option(None, help="Vectors kept of these; default 200,400,500,1000,1000."),
    seed: int = typer.Option(1, help="The same seed gives the same vectors."),
    cap: int = typer.Option(1, help="How often a vector may be kept."),
    inflation: float = typer.Option(1.0, help="Of the covariance that the first vectors are drawn with."),
    level: float = typer.Option(0.95, help="Of the intervals."),
    out: Path = typer.Option(None, help="The folder; default: RUN/sir/NNN."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Sampling importance resampling of a finished run: intervals from parameter vectors as likely as the data make them.

    Exits 1 when a vector has a lower OFV than the run's, or too few of them carry all the weight.
    """
    from pbpk.commands.run_analyses import ProgressLines, print_result
    from pbpk.commands.shared import say
    from pbpk.run_folders.analysis import claim_analysis, write_analysis
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.run_folders.resume import keep_progress
    from pbpk.run_folders.uncertainty import sir as resample_run
    from pbpk.uncertainty.finished_fit import require_exact_gradient
    from pbpk.uncertainty.sir import DEFAULT_RESAMPLES, DEFAULT_SAMPLES, SirOptions, require_covariance

    drawn, kept = (
        _read_counts(samples, "--samples") or DEFAULT_SAMPLES,
        _read_counts(resamples, "--resamples") or DEFAULT_RESAMPLES,
    )
    options, source = SirOptions(drawn, kept, seed, cap, inflation, level), find_run(run)
    fit = reopen_fit(source)
    require_exact_gradient(fit)
    options.check(len(fit.names))
    require_covariance(fit)
    folder = claim_analysis(source, "sir", out, vars(options))
    say(f"{fit.study.name}: {sum(options.samples)} vectors by {fit.method.name}; first call compiles")
    lines = [ProgressLines(f"vectors of iteration {k}") for k in range(1, len(options.samples) + 1)]
    with keep_progress(folder):
        result = resample_run(fit, **vars(options), progress=lambda k, done, of: lines[k - 1](done, of))
        tables = {"sir": result.sample, "samples": result.samples, "iterations": result.iterations}
        write_analysis(folder, "sir", result.to_dict(), tables | {"summary": result.summary})
        final = folder.finish()
    print_result(result, source, final, as_json, _format_result)
    say(f"wrote {final}")
    raise typer.Exit(0 if result.is_reliable else 1)


def _read_counts(text: str | None, option: str) -> tuple[int, ...]:
    """`"1000,2000"` as numbers; none for nothing. Raises `WrongUsage`, naming `option`."""
    from pbpk.commands.shared import read_list
    from pbpk.errors import WrongUsage

    try:
        return tuple(int(part) for part in read_list(text) or ())
    except ValueError as e:
        raise WrongUsage(f'{option} "{text}" cannot be read', hint=f"write {option} 1000,2000") from e


def _format_result(result: SirResult, source: Path) -> str:
    """The result in words: a table and the verdict."""
    from pbpk.commands.run_analyses import format_heading, format_table, format_unit
    from pbpk.report.numbers import format_interval, format_number

    rows = result.summary
    table = rows.assign(
        unit=[format_unit(u) for u in rows["unit"]],
        ci=[format_interval(a, b) for a, b in zip(rows["ci_low"], rows["ci_high"], strict=True)],
    )
    columns = [
        ("Parameter", "name", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", format_number),
        ("Median", "median", format_number),
        ("SE", "se", format_number),
        ("%RSE", "rse", format_number),
        (f"{100 * result.options.level:g} % interval", "ci", str),
    ]
    counts = [(c, c, lambda x: f"{x:g}") for c in ("iteration", "samples", "failed", "resamples")]
    steps = [
        *counts,
        ("effective", "effective", format_number),
        ("largest weight", "largest", format_number),
        ("ΔOFV drawn", "proposed_delta_ofv", format_number),
        ("ΔOFV kept", "kept_delta_ofv", format_number),
    ]
    parts = [format_heading(result.study, source, f"sampling importance resampling, seed {result.options.seed}")]
    parts += [format_table(table, columns), "", format_table(result.iterations, steps), "", result.verdict]
    return "\n".join(parts)
