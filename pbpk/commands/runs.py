"""`pbpk runs [STUDY]`: every run, one line each, newest last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.run_folders.run_list import RunSummary


def register(app: typer.Typer) -> None:
    """Add `pbpk runs` to the command line."""
    app.command("runs")(runs)


def runs(
    study: str = typer.Argument(None, help="A study's name, or a folder of runs; default: all under fits/."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """List the runs: study, model, method, OFV, whether it minimised, when, how long; newest last."""
    from pbpk.commands.shared import print_json, say
    from pbpk.run_folders.run_list import runs as list_runs

    listed = list_runs(study)
    if as_json:
        print_json(listed.to_dict())
    elif listed.runs:
        print("\n".join(_list_lines(listed.runs)))
    else:
        say(f"no runs yet; make one:  pbpk fit {study or 'theophylline'}")


HEADER = ("run", "model", "method", "OFV", "par", "minimised", "started (UTC)", "seconds", "seed", "state")
NUMERIC = tuple(c in ("OFV", "par", "seconds", "seed") for c in HEADER)


def _list_lines(runs: tuple[RunSummary, ...]) -> list[str]:
    """The runs as an aligned table, and below it what is to be said of them."""
    from pbpk.report.grid import align_columns

    lines = align_columns(HEADER, [_format_row(r) for r in runs], NUMERIC)
    remarks = [f"  {r.run}: {r.remark}" for r in runs if r.remark]
    return [*lines, "", *remarks] if remarks else lines


def _format_row(r: RunSummary) -> tuple[str, ...]:
    """A run's cells, under `HEADER`."""
    from pbpk.report.numbers import MISSING, format_number, format_objective

    asked = " ".join(f"{k}={v}" for k, v in r.asked.items())
    minimised = {True: "yes", False: "NO", None: MISSING}[r.minimization_successful]
    count, seed = (MISSING if n is None else str(n) for n in (r.parameters, r.seed))
    model = f"{r.model or MISSING} {asked}".strip()
    when = r.date[:16].replace("T", " ")
    return (
        _short_name(r),
        model,
        r.method or MISSING,
        format_objective(r.ofv),
        count,
        minimised,
        when,
        format_number(r.seconds, 3),
        seed,
        r.state,
    )


def _short_name(r: RunSummary) -> str:
    """The run's name as other verbs take it: STUDY/NUMBER where it lies in its study's place, else its folder."""
    from pathlib import Path

    short = Path(r.run).parts[-3:-2]
    return f"{short[0]}/{Path(r.run).name}" if Path(r.run).parts[:-3] == ("fits",) and short else r.run
