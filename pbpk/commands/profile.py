"""`pbpk profile RUN`: likelihood-profile intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.uncertainty.profile import ProfileResult, ProfileSide


def register(app: typer.Typer) -> None:
    """Add `pbpk profile` to the command line."""
    app.command("profile")(profile)


def profile(
    run: str = typer.Argument(..., help="A run folder, STUDY/NUMBER, or a study's name (its latest run)."),
    parameter: list[str] = typer.Option(None, help="One to profile, as it is named in the run; default: all."),
    level: float = typer.Option(0.95, help="Of the intervals: 0.95 is where the OFV has risen by 3.84."),
    out: Path = typer.Option(None, help="The folder; default: RUN/profile/NNN."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Profile a finished run's likelihood: how far each parameter can go, all others estimated again.

    Exits 1 when a lower OFV than the run's is met, or a search fails; a side that the data do not limit is said to be open.
    """
    from pbpk.commands.run_analyses import print_result
    from pbpk.commands.shared import say
    from pbpk.run_folders.analysis import claim_analysis, write_analysis
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.run_folders.resume import keep_progress
    from pbpk.run_folders.uncertainty import profile as profile_run
    from pbpk.uncertainty.finished_fit import require_exact_gradient
    from pbpk.uncertainty.profile import select_parameters

    source = find_run(run)
    fit = reopen_fit(source)
    require_exact_gradient(fit)
    names = select_parameters(fit, parameter or [])
    folder = claim_analysis(source, "profile", out, {"parameters": names, "level": level})
    say(f"{fit.study.name}: profiles of {len(names)} parameters by {fit.method.name}; first call compiles")
    with keep_progress(folder):
        result = profile_run(fit, names, level=level, progress=_show_side)
        write_analysis(folder, "profile", result.to_dict(), {"profile": result.table, "points": result.points})
        final = folder.finish()
    print_result(result, source, final, as_json, _format_result)
    say(f"wrote {final}")
    raise typer.Exit(0 if result.is_reliable else 1)


def _show_side(name: str, end: str, side: ProfileSide) -> None:
    """A line on stderr for each side of a profile."""
    from pbpk.commands.shared import say

    say(f"  {name} {end}: {side.status}, {len(side.points)} steps")


def _format_result(result: ProfileResult, source: Path) -> str:
    """The result in words: a table and the verdict."""
    from pbpk.commands.run_analyses import format_heading, format_table, format_unit
    from pbpk.report.numbers import format_interval, format_number
    from pbpk.uncertainty.profile import FOUND

    rows = result.table
    ends = {
        end: [
            format_number(v) if s == FOUND else s for v, s in zip(rows[f"ci_{end}"], rows[f"status_{end}"], strict=True)
        ]
        for end in ("low", "high")
    }
    table = rows.assign(
        unit=[format_unit(u) for u in rows["unit"]],
        **ends,
        wald=[format_interval(a, b) for a, b in zip(rows["wald_low"], rows["wald_high"], strict=True)],
    )
    columns = [
        ("Parameter", "name", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", format_number),
        ("Low", "low", str),
        ("High", "high", str),
        ("Wald's", "wald", str),
    ]
    what = f"profile likelihood, {100 * result.level:g} %: ΔOFV = {result.rise:.4g}"
    return "\n".join([format_heading(result.study, source, what), format_table(table, columns), "", result.verdict])
