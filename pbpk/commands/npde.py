"""`pbpk npde RUN`: normalised prediction distribution errors of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pbpk.diagnostics.npde import NpdeResult


def register(app: typer.Typer) -> None:
    """Add `pbpk npde` to the command line."""
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
    from pbpk.commands.run_analyses import ProgressLines, print_notes, print_result, write_images
    from pbpk.commands.shared import say
    from pbpk.diagnostics.options import check_replicates
    from pbpk.run_folders.analysis import claim_analysis, write_analysis
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_for_simulation
    from pbpk.run_folders.resume import keep_progress
    from pbpk.run_folders.simulation_checks import npde as check_run

    check_replicates(replicates)
    source = find_run(run)
    fit = reopen_for_simulation(source)
    say(f"{fit.study.name}: {replicates} replicates of {fit.problem.subjects} subjects; first call compiles")
    settings = {"replicates": replicates, "endpoint": endpoint, "seed": seed}
    folder = claim_analysis(source, "npde", out, settings)
    with keep_progress(folder):
        result = check_run(fit, replicates, endpoint=endpoint, seed=seed, progress=ProgressLines("replicates"))
        write_analysis(folder, "npde", result.to_dict(), {"npde": result.table})
        missing = write_images(folder, lambda: _draw_images(result, source))
        final = folder.finish()
    print_result(result, source, final, as_json, _format_result)
    print_notes(result.notes, source, final)
    if missing is not None:
        raise missing


def _draw_images(result: NpdeResult, source: Path) -> dict[str, bytes]:
    """The panels as PNG files, by name. Raises `MissingExtra` without the libraries for figures."""
    from pbpk.report.npde import draw_npde_images
    from pbpk.run_folders.read import read_run

    return draw_npde_images(result.table, read_run(source).units)


def _format_result(result: NpdeResult, source: Path) -> str:
    """The result in words: a table and the verdict."""
    import pandas as pd

    from pbpk.commands.run_analyses import format_heading, format_table
    from pbpk.report.numbers import format_number

    rows = pd.DataFrame(
        [
            {"what": kind, "DVID": name, **test.to_dict()}
            for kind, by in result.tests.items()
            for name, test in by.items()
        ]
    )
    columns = [
        ("", "what", None),
        ("DVID", "DVID", None),
        ("n", "count", str),
        ("Mean", "mean", format_number),
        ("Variance", "variance", format_number),
        ("Skewness", "skewness", format_number),
        ("Kurtosis", "kurtosis", format_number),
        ("p mean", "p_mean", format_number),
        ("p variance", "p_variance", format_number),
        ("p normality", "p_normality", format_number),
        ("p global", "p_global", format_number),
    ]
    head = format_heading(
        result.study, source, f"prediction distribution errors, {result.replicates} replicates, seed {result.seed}"
    )
    caution = (
        "p are adjusted for three tests. npd are correlated within subjects, so their p are too small; judge by npde."
    )
    return "\n".join([head, format_table(rows, columns), "", caution, "", result.verdict])
