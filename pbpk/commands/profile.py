"""`pbpk profile RUN`: likelihood-profile intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.uncertainty.profile import Profile, Side


def register(app: typer.Typer) -> None:
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
    from pbpk.commands.run_analyses import open_subfolder
    from pbpk.commands.shared import print_json, say
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.finished_fit import require_gradient
    from pbpk.uncertainty.profile import check_names
    from pbpk.uncertainty.profile import profile as of

    source = find_run(run)
    fit = reopen_fit(source)
    require_gradient(fit)
    names = check_names(fit, parameter or [])
    folder = open_subfolder(source, "profile", out, {"parameters": names, "level": level})
    say(f"{fit.study.name}: profiles of {len(names)} parameters by {fit.method.name}; first call compiles")

    def told(name: str, end: str, side: Side) -> None:
        say(f"  {name} {end}: {side.status}, {len(side.points)} steps")

    try:
        found = of(fit, names, level, told)
        folder.write("profile.csv", found.table.to_csv(index=False))
        folder.write("points.csv", found.points.to_csv(index=False))
        folder.write_json("profile.json", {"schema_version": 1, **found.to_dict()})
        final = folder.finish()
    except BaseException:
        folder.abandon()
        raise
    if as_json:
        print_json(found.to_dict() | {"run": str(source), "folder": str(final)})
    else:
        print(_block(found, source))
    say(f"wrote {final}")
    raise typer.Exit(0 if found.sound else 1)


def _block(found: Profile, source: Path) -> str:
    from pbpk.commands.run_analyses import header, table_text, unit_shown
    from pbpk.report.numbers import interval, shown
    from pbpk.uncertainty.profile import FOUND

    rows = found.table
    ends = {
        end: [shown(v) if s == FOUND else s for v, s in zip(rows[f"ci_{end}"], rows[f"status_{end}"], strict=True)]
        for end in ("low", "high")
    }
    table = rows.assign(
        unit=[unit_shown(u) for u in rows["unit"]],
        **ends,
        wald=[interval(a, b) for a, b in zip(rows["wald_low"], rows["wald_high"], strict=True)],
    )
    columns = [
        ("Parameter", "name", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", shown),
        ("Low", "low", str),
        ("High", "high", str),
        ("Wald's", "wald", str),
    ]
    what = f"profile likelihood, {100 * found.level:g} %: ΔOFV = {found.rise:.4g}"
    return "\n".join([header(found.study, source, what), table_text(table, columns), "", found.verdict])
