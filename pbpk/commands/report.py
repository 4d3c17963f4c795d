"""`pbpk report RUN`: one self-contained HTML page."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add `pbpk report` to the command line."""
    app.command("report")(report)


def report(
    run: str = typer.Argument(..., help="A run folder, STUDY/NUMBER, or a study's name (its latest run)."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Write a finished run's report.html: tables and figures in one page."""
    from pbpk.commands.shared import print_json, say
    from pbpk.report.page import write_report
    from pbpk.run_folders.find import find_run

    page = write_report(find_run(run))
    if as_json:
        print_json({"report": str(page)})
    else:
        say(f"wrote {page}")
