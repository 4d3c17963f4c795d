"""`pbpk derived RUN --quantity "t_half=log(2)*V/CL"`: quantities that follow from the estimates, with their uncertainty."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.uncertainty.derived import Derived


def register(app: typer.Typer) -> None:
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
    from pbpk.commands.run_analyses import open_subfolder
    from pbpk.commands.shared import print_json, read_pairs, say
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_fit, read_sample
    from pbpk.uncertainty.derived import derived as of

    asked, source = read_pairs(quantity, "--quantity"), find_run(run)
    fit = reopen_fit(source)
    drawn = None if sample == "covariance" else read_sample(source, fit.names, sample)
    found = of(fit, asked, drawn, seed, level)
    folder = open_subfolder(
        source, "derived", out, {"quantities": asked, "sample": sample, "seed": seed, "level": level}
    )
    folder.write("derived.csv", found.table.to_csv(index=False))
    folder.write_json("derived.json", {"schema_version": 1, **found.to_dict()})
    final = folder.finish()
    if as_json:
        print_json(found.to_dict() | {"run": str(source), "folder": str(final)})
    else:
        print(_block(found, source))
    say(f"wrote {final}")


def _block(found: Derived, source: Path) -> str:
    from pbpk.commands.run_analyses import header, table_text, unit_shown
    from pbpk.report.numbers import interval, shown

    rows = found.table
    table = rows.assign(
        unit=[unit_shown(u) for u in rows["unit"]],
        delta=[interval(a, b) for a, b in zip(rows["ci_low"], rows["ci_high"], strict=True)],
        sampled=[interval(a, b) for a, b in zip(rows["sample_low"], rows["sample_high"], strict=True)],
    )
    columns = [
        ("Quantity", "name", None),
        ("Expression", "expression", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", shown),
        ("SE", "se", shown),
        ("delta method", "delta", str),
        ("Median", "median", shown),
        ("SE of sample", "sample_se", shown),
        ("of sample", "sampled", str),
    ]
    notes = [
        f"{r['name']}: no finite value for {r['invalid']} vectors." for r in rows.to_dict("records") if r["invalid"]
    ]
    what = f"derived quantities, {100 * found.level:g} % intervals"
    source_line = f"Sample: {found.source}."
    return "\n".join([header(found.study, source, what), table_text(table, columns), "", source_line, *notes])
