"""`pbpk compare RUN RUN …`: side by side, with what the differences mean."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add `pbpk compare` to the command line."""
    app.command("compare")(compare)


def compare(
    runs: list[str] = typer.Argument(..., help="Run folders, STUDY/NUMBER, or studies (their latest); two or more."),
    out: Path = typer.Option(None, help="Write the table of parameters to this CSV file."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Compare finished runs: OFV, AIC, BIC, Akaike weights, estimates, and likelihood-ratio tests of those that are nested.

    Exits 1 when the runs cannot be compared (other data, other methods) or one of them is not minimised.
    """
    from pbpk.commands.shared import print_json, say
    from pbpk.run_comparison.compare import compare as compare_runs

    comparison = compare_runs(runs)
    if out is not None:
        from pbpk.run_folders.claim import write_new_text

        write_new_text(out, comparison.table.to_csv(index=False))
        say(f"wrote {out}")
    if as_json:
        for warning in comparison.warnings:
            say(warning)
        print_json(comparison.to_dict())
    else:
        from pbpk.report.comparison_text import format_comparison

        print(format_comparison(comparison), end="")
    raise typer.Exit(0 if comparison.sound else 1)
