"""`pbpk derived RUN --quantity "t_half=log(2)*V/CL"`: quantities that follow from the estimates, with their uncertainty."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.uncertainty.derived import DerivedResult


def register(app: typer.Typer) -> None:
    """Add `pbpk derived` to the command line."""
    app.command("derived")(derived)


def derived(
    run: str = typer.Argument(..., help="A run folder, STUDY/NUMBER, or a study's name (its latest run)."),
    quantity: list[str] = typer.Option(
        ..., help="NAME=EXPRESSION of the run's parameters; may be given several times."
    ),
    sample: str = typer.Option(
        "covariance", help="Vectors of: covariance, bootstrap, sir (the run's latest), or a folder."
    ),
    seed: int = typer.Option(1, help="Of the vectors drawn from the covariance."),
    level: float = typer.Option(0.95, help="Of the intervals."),
    out: Path = typer.Option(None, help="The folder; default: RUN/derived/NNN."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Quantities derived from a finished run's estimates, by the delta method and by a sample of parameter vectors.

    Expressions know + - * / **, exp, log, sqrt, pow, min, max, the run's parameters and constants such as "1 L/h".
    """
    from pbpk.commands.run_analyses import print_result
    from pbpk.commands.shared import read_pairs, say
    from pbpk.run_folders.analysis import claim_analysis, write_analysis
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.resume import keep_progress
    from pbpk.run_folders.uncertainty import derived as derive_quantities

    quantities, source = read_pairs(quantity, "--quantity"), find_run(run)
    settings = {"quantities": quantities, "sample": sample, "seed": seed, "level": level}
    folder = claim_analysis(source, "derived", out, settings)
    with keep_progress(folder):
        result = derive_quantities(source, quantities, sample=sample, seed=seed, level=level)
        write_analysis(folder, "derived", result.to_dict(), {"derived": result.table})
        final = folder.finish()
    print_result(result, source, final, as_json, _format_result)
    say(f"wrote {final}")


def _format_result(result: DerivedResult, source: Path) -> str:
    """The result in words: a table, where the sample is from, and which quantities had no finite value."""
    from pbpk.commands.run_analyses import format_heading, format_table, format_unit
    from pbpk.report.numbers import format_interval, format_number

    rows = result.table
    table = rows.assign(
        unit=[format_unit(u) for u in rows["unit"]],
        delta=[format_interval(a, b) for a, b in zip(rows["ci_low"], rows["ci_high"], strict=True)],
        sampled=[format_interval(a, b) for a, b in zip(rows["sample_low"], rows["sample_high"], strict=True)],
    )
    columns = [
        ("Quantity", "name", None),
        ("Expression", "expression", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", format_number),
        ("SE", "se", format_number),
        ("delta method", "delta", str),
        ("Median", "median", format_number),
        ("SE of sample", "sample_se", format_number),
        ("of sample", "sampled", str),
    ]
    notes = [
        f"{r['name']}: no finite value for {r['invalid']} vectors." for r in rows.to_dict("records") if r["invalid"]
    ]
    what = f"derived quantities, {100 * result.level:g} % intervals"
    source_line = f"Sample: {result.source}."
    return "\n".join(
        [format_heading(result.study, source, what), format_table(table, columns), "", source_line, *notes]
    )
