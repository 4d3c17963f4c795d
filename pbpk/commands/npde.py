"""`pbpk npde RUN`: normalised prediction distribution errors of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.diagnostics.npde import Npde


def register(app: typer.Typer) -> None:
    app.command("npde")(npde)


def npde(
    run: str = typer.Argument(..., help="A run folder, STUDY/NUMBER, or a study's name (its latest run)."),
    replicates: int = typer.Option(1000, help="How many times the study is simulated."),
    endpoint: str = typer.Option(None, help="Only this DVID."),
    seed: int = typer.Option(1, help="The same seed gives the same errors."),
    out: Path = typer.Option(None, help="The folder; default: RUN/npde/NNN."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Where each observation lies in its own predictive distribution, as normal scores, and whether these are normal."""
    from pbpk.commands.run_analyses import Progress, open_subfolder
    from pbpk.commands.shared import print_json, say
    from pbpk.diagnostics.npde import npde as of
    from pbpk.diagnostics.options import check_replicates
    from pbpk.errors import MissingExtra
    from pbpk.report.npde import npde_images
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.read import read_run
    from pbpk.run_folders.simulation_checks import reopen_for_simulation

    check_replicates(replicates)
    source = find_run(run)
    fit = reopen_for_simulation(source)
    say(f"{fit.study.name}: {replicates} replicates of {fit.problem.subjects} subjects; first call compiles")
    found = of(fit, replicates, seed, endpoint, Progress("replicates"))
    settings = {"replicates": replicates, "endpoint": endpoint, "seed": seed}
    folder = open_subfolder(source, "npde", out, settings)
    missing: MissingExtra | None = None
    try:
        folder.write("npde.csv", found.table.to_csv(index=False))
        folder.write_json("npde.json", {"schema_version": 1, **found.to_dict()})
        try:
            for name, picture in npde_images(found.table, read_run(source).units).items():
                (folder.partial / name).write_bytes(picture)
        except MissingExtra as e:
            missing = e
        final = folder.finish()
    except BaseException:
        folder.abandon()
        raise
    if as_json:
        print_json(found.to_dict() | {"run": str(source), "folder": str(final)})
    else:
        print(_block(found, source))
    for note in found.notes:
        say(f"  note: {note}")
    say(f"wrote {final}; in the run's page after  pbpk report {source}")
    if missing is not None:
        raise missing


def _block(found: Npde, source: Path) -> str:
    import pandas as pd

    from pbpk.commands.run_analyses import header, table_text
    from pbpk.report.numbers import shown

    rows = pd.DataFrame(
        [
            {"what": kind, "DVID": name, **test.to_dict()}
            for kind, by in found.tests.items()
            for name, test in by.items()
        ]
    )
    columns = [
        ("", "what", None),
        ("DVID", "DVID", None),
        ("n", "count", str),
        ("Mean", "mean", shown),
        ("Variance", "variance", shown),
        ("Skewness", "skewness", shown),
        ("Kurtosis", "kurtosis", shown),
        ("p mean", "p_mean", shown),
        ("p variance", "p_variance", shown),
        ("p normality", "p_normality", shown),
        ("p global", "p_global", shown),
    ]
    head = header(
        found.study, source, f"prediction distribution errors, {found.replicates} replicates, seed {found.seed}"
    )
    told = (
        "p are adjusted for three tests. npd are correlated within subjects, so their p are too small; judge by npde."
    )
    return "\n".join([head, table_text(rows, columns), "", told, "", found.verdict])
