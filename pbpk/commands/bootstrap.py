"""`pbpk bootstrap RUN`: refit resampled or simulated studies; bias, standard errors and intervals from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pbpk.run_folders.claim import OutputFolder
    from pbpk.uncertainty.bootstrap import BootstrapOptions, BootstrapResult
    from pbpk.uncertainty.finished_fit import FinishedFit
    from pbpk.uncertainty.replicates import Replicate


def register(app: typer.Typer) -> None:
    """Add `pbpk bootstrap` to the command line."""
    app.command("bootstrap")(bootstrap)


def bootstrap(
    run: str = typer.Argument(
        ..., help="A run folder, STUDY/NUMBER, or a study; with --resume also an unfinished one."
    ),
    replicates: int = typer.Option(None, help="How many refits; default 500."),
    kind: str = typer.Option(
        None, help="case (subjects drawn with replacement, the default) or parametric (simulated)."
    ),
    seed: int = typer.Option(None, help="The same seed gives the same replicates; default 1."),
    strata: str = typer.Option(None, help="Draw as many subjects from each value of this column as are in it."),
    bca: bool = typer.Option(False, "--bca", help="Also BCa intervals: one more refit for each subject."),
    level: float = typer.Option(None, help="Of the intervals; default 0.95."),
    out: Path = typer.Option(None, help="The folder; default: RUN/bootstrap/NNN."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted bootstrap."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Bootstrap a finished run: percentile intervals, bias, standard errors and correlations of its estimates.

    Exits 1 when so many replicates failed that the rest may be a biased choice.
    """
    from pbpk.commands.run_analyses import exit_when_interrupted, print_result
    from pbpk.commands.shared import say
    from pbpk.errors import WrongUsage
    from pbpk.run_folders.analysis import claim_analysis, resume_bootstrap
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.resumable import BOOTSTRAP
    from pbpk.uncertainty.bootstrap import BootstrapOptions

    settings = {
        "replicates": replicates,
        "kind": kind,
        "seed": seed,
        "strata": strata,
        "bca": bca or None,
        "level": level,
    }
    stated: dict[str, Any] = {k: v for k, v in settings.items() if v is not None}
    if resume:
        if stated or out:
            raise WrongUsage("--resume goes on with what was started", hint="leave the other options out")
        folder, source, stated = resume_bootstrap(run)
        options = BootstrapOptions(**stated)
    else:
        source, options, folder = find_run(run), BootstrapOptions(**stated), None
        options.check()
    fit = _reopen_checked(source, options)
    if folder is None:
        folder = claim_analysis(source, BOOTSTRAP.name, out, vars(options))
    say(f"{fit.study.name}: {options.replicates} {options.kind} replicates by {fit.method.name}; first call compiles")
    with exit_when_interrupted(folder, BOOTSTRAP):
        result = _refit_replicates(folder, fit, options)
        final = _write_results(folder, result)
    print_result(result, source, final, as_json, _format_result)
    say(f"wrote {final}")
    raise typer.Exit(0 if result.is_reliable else 1)


def _reopen_checked(source: Path, options: BootstrapOptions) -> FinishedFit:
    """The run, once all that can be refused has been looked at."""
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.finished_fit import require_exact_gradient
    from pbpk.uncertainty.resampling import assign_strata

    fit = reopen_fit(source)
    require_exact_gradient(fit)
    assign_strata(fit.study, options.strata)
    return fit


def _refit_replicates(folder: OutputFolder, fit: FinishedFit, options: BootstrapOptions) -> BootstrapResult:
    """The bootstrap's result. Each replicate is written when it is there; those of an interrupted run are read back."""
    from pbpk.commands.run_analyses import ProgressLines
    from pbpk.run_folders.checkpoint import append_replicate
    from pbpk.run_folders.resumable import BOOTSTRAP_ROWS, JACKKNIFE_ROWS
    from pbpk.run_folders.uncertainty import bootstrap as bootstrap_run
    from pbpk.uncertainty.bootstrap import BootstrapProgress

    done, done_left_out = (_recover_rows(folder, name, fit) for name in (BOOTSTRAP_ROWS, JACKKNIFE_ROWS))
    resampled, left_out = ProgressLines("replicates"), ProgressLines("fits without a subject")
    subjects = fit.problem.subjects

    def save_replicate(replicate: Replicate) -> None:
        append_replicate(folder.partial / BOOTSTRAP_ROWS, replicate)
        resampled(replicate.number, options.replicates)

    def save_left_out(replicate: Replicate) -> None:
        append_replicate(folder.partial / JACKKNIFE_ROWS, replicate)
        left_out(replicate.number, subjects)

    progress = BootstrapProgress(save_replicate, save_left_out, done, done_left_out)
    return bootstrap_run(fit, **vars(options), progress=progress)


def _recover_rows(folder: OutputFolder, name: str, fit: FinishedFit) -> list[Replicate]:
    """The replicates that an interrupted run left in a table."""
    from pbpk.commands.shared import say
    from pbpk.run_folders.checkpoint import recover_replicates

    done = recover_replicates(folder, name, fit.names)
    if done:
        say(f"resuming {folder.partial}: {len(done)} lines of {name} are there")
    return done


def _write_results(folder: OutputFolder, result: BootstrapResult) -> Path:
    """Write the tables beside the replicates, which are there already; returns the folder's final name."""
    from pbpk.run_folders.analysis import write_analysis
    from pbpk.run_folders.resumable import BOOTSTRAP, JACKKNIFE_ROWS

    folder.write("correlation.csv", result.correlation.to_csv())
    if not result.options.bca:
        (folder.partial / JACKKNIFE_ROWS).unlink()
    tables = {"summary": result.summary} | ({} if result.drawn is None else {"drawn": result.drawn})
    write_analysis(folder, BOOTSTRAP.name, result.to_dict(), tables)
    return folder.finish()


def _format_result(result: BootstrapResult, source: Path) -> str:
    """The result in words: a table and the verdict."""
    from pbpk.commands.run_analyses import format_heading, format_table, format_unit
    from pbpk.report.numbers import format_interval, format_number

    options, percent = result.options, f"{100 * result.options.level:g} %"
    table = result.summary.assign(
        unit=[format_unit(u) for u in result.summary["unit"]],
        ci=[format_interval(a, b) for a, b in zip(result.summary["ci_low"], result.summary["ci_high"], strict=True)],
    )
    columns = [
        ("Parameter", "name", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", format_number),
        ("Median", "median", format_number),
        ("Bias", "bias", format_number),
        ("SE", "se", format_number),
        ("%RSE", "rse", format_number),
        (f"{percent} interval", "ci", str),
    ]
    if options.bca:
        ends = zip(result.summary["bca_low"], result.summary["bca_high"], strict=True)
        table = table.assign(bca=[format_interval(a, b) for a, b in ends])
        columns.append((f"{percent} BCa", "bca", str))
    strata = f" in strata of {options.strata}" if options.strata else ""
    what = f"{options.kind} bootstrap{strata}, {options.replicates} replicates, seed {options.seed}"
    return "\n".join([format_heading(result.study, source, what), format_table(table, columns), "", result.verdict])
