"""`pbpk report RUN`: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    run: str = typer.Argument(..., help="A run folder, or a study's name (its latest run)."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Write a finished run's report.html: tables and figures in one page."""
    from pbpk.commands.shared import print_json, say
    from pbpk.report.page import write_report

    page = write_report(find_run(run))
    if as_json:
        print_json({"report": str(page)})
    else:
        say(f"wrote {page}")


def find_run(run: str) -> Path:
    """A run by its folder, or the latest finished run of a study under the current folder."""
    from pbpk.errors import BadInput, did_you_mean

    folder = Path(run)
    if (folder / "results.json").exists():
        return folder
    runs = Path("fits") / run / "runs"
    finished = sorted(p for p in runs.glob("[0-9]*") if (p / "results.json").exists())
    if finished:
        return finished[-1]
    if folder.exists():
        raise BadInput("holds no results.json, so it is no finished run", where=run)
    known = [p.parent.name for p in Path("fits").glob("*/runs")] if Path("fits").is_dir() else []
    raise BadInput(f"no run `{run}`", hint=did_you_mean(run, known) or "give the folder that a fit wrote")
