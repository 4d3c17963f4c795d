"""`pbpk sir RUN`: sampling importance resampling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.uncertainty.sir import Sir


def register(app: typer.Typer) -> None:
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
    from pbpk.commands.run_analyses import Progress, open_subfolder
    from pbpk.commands.shared import print_json, say
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.finished_fit import require_gradient
    from pbpk.uncertainty.sir import RESAMPLES, SAMPLES, Plan, require_covariance
    from pbpk.uncertainty.sir import sir as of

    drawn, kept = _counts(samples, "--samples") or SAMPLES, _counts(resamples, "--resamples") or RESAMPLES
    plan, source = Plan(drawn, kept, seed, cap, inflation, level), find_run(run)
    fit = reopen_fit(source)
    require_gradient(fit)
    plan.check(len(fit.names))
    require_covariance(fit)
    folder = open_subfolder(source, "sir", out, vars(plan))
    say(f"{fit.study.name}: {sum(plan.samples)} vectors by {fit.method.name}; first call compiles")
    lines = {k: Progress(f"vectors of iteration {k}") for k in range(1, len(plan.samples) + 1)}
    try:
        found = of(fit, plan, lambda k, done, m: lines[k](done, m))
        folder.write("sir.csv", found.sample.to_csv(index=False))
        folder.write("samples.csv", found.samples.to_csv(index=False))
        folder.write("iterations.csv", found.iterations.to_csv(index=False))
        folder.write("summary.csv", found.summary.to_csv(index=False))
        folder.write_json("sir.json", {"schema_version": 1, **found.to_dict()})
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


def _counts(text: str | None, option: str) -> tuple[int, ...]:
    from pbpk.commands.shared import read_list
    from pbpk.errors import WrongUsage

    try:
        return tuple(int(part) for part in read_list(text) or ())
    except ValueError as e:
        raise WrongUsage(f'{option} "{text}" cannot be read', hint=f"write {option} 1000,2000") from e


def _block(found: Sir, source: Path) -> str:
    from pbpk.commands.run_analyses import header, table_text, unit_shown
    from pbpk.report.numbers import interval, shown

    rows = found.summary
    table = rows.assign(
        unit=[unit_shown(u) for u in rows["unit"]],
        ci=[interval(a, b) for a, b in zip(rows["ci_low"], rows["ci_high"], strict=True)],
    )
    columns = [
        ("Parameter", "name", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", shown),
        ("Median", "median", shown),
        ("SE", "se", shown),
        ("%RSE", "rse", shown),
        (f"{100 * found.plan.level:g} % interval", "ci", str),
    ]
    counts = [(c, c, lambda x: f"{x:g}") for c in ("iteration", "samples", "failed", "resamples")]
    steps = [
        *counts,
        ("effective", "effective", shown),
        ("largest weight", "largest", shown),
        ("ΔOFV drawn", "proposed_delta_ofv", shown),
        ("ΔOFV kept", "kept_delta_ofv", shown),
    ]
    parts = [header(found.study, source, f"sampling importance resampling, seed {found.plan.seed}")]
    parts += [table_text(table, columns), "", table_text(found.iterations, steps), "", found.verdict]
    return "\n".join(parts)
