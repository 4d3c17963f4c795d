"""`pbpk bootstrap RUN`: refit resampled or simulated studies; bias, standard errors and intervals from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pbpk.run_folders.write import OutputFolder
    from pbpk.uncertainty.bootstrap import Bootstrap, Plan
    from pbpk.uncertainty.replicates import Replicate

ROWS, LEFT_OUT = "bootstrap.csv", "jackknife.csv"


def register(app: typer.Typer) -> None:
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
    from pbpk.commands.run_analyses import open_subfolder
    from pbpk.commands.shared import print_json, say
    from pbpk.errors import WrongUsage
    from pbpk.run_folders.find import find_run
    from pbpk.uncertainty.bootstrap import Plan

    asked = {"replicates": replicates, "kind": kind, "seed": seed, "strata": strata, "level": level, "bca": bca or None}
    given: dict[str, Any] = {k: v for k, v in asked.items() if v is not None}
    if resume:
        if given or out:
            raise WrongUsage("--resume goes on with what was started", hint="leave the other options out")
        folder, source, plan = _reopen(run)
    else:
        source, plan, folder = find_run(run), Plan(**given), None
        plan.check()
    fit = _ready(source, plan)
    if folder is None:
        folder = open_subfolder(source, "bootstrap", out, vars(plan))
    say(f"{fit.study.name}: {plan.replicates} {plan.kind} replicates by {fit.method.name}; first call compiles")
    try:
        found = _run(folder, fit, plan)
        final = _write(folder, found)
    except KeyboardInterrupt:
        say(f"\ninterrupted; go on with:  pbpk bootstrap {folder.partial} --resume")
        sys.exit(130)
    except BaseException:
        _tidy(folder)
        raise
    if as_json:
        print_json(found.to_dict() | {"run": str(source), "folder": str(final)})
    else:
        print(_block(found, source))
    say(f"wrote {final}")
    raise typer.Exit(0 if found.sound else 1)


def _ready(source: Path, plan: Plan) -> Any:
    """The run, once all that can be refused has been looked at."""
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.finished_fit import require_gradient
    from pbpk.uncertainty.resampling import strata_of

    fit = reopen_fit(source)
    require_gradient(fit)
    strata_of(fit.study, plan.strata)
    return fit


def _reopen(name: str) -> tuple[OutputFolder, Path, Plan]:
    """The unfinished bootstrap called by its folder, or the latest one of a run."""
    from pbpk.errors import BadInput
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.read import read_json_object
    from pbpk.run_folders.reopen import check_same_run
    from pbpk.run_folders.write import resume_folder
    from pbpk.uncertainty.bootstrap import Plan

    path = Path(name)
    if not path.name.endswith(".partial"):
        started = path.with_name(f"{path.name}.partial") if path.name else path
        unfinished = (
            [started] if (started / ROWS).exists() else sorted((find_run(name) / "bootstrap").glob("*.partial"))
        )
        if not unfinished:
            raise BadInput(f"no unfinished bootstrap of `{name}`", hint=f"start one:  pbpk bootstrap {name}")
        path = unfinished[-1]
    folder = resume_folder(path)
    record = read_json_object(path / "run.json")
    if record.get("verb") != "bootstrap":
        raise BadInput("is not an unfinished bootstrap", where=str(path))
    beside = path.resolve().parent.parent  # where the run is, wherever it has been moved to
    source = find_run(beside if (beside / "results.json").exists() else record["run"])
    check_same_run(path, source)
    return folder, source, Plan(**record["settings"])


def _run(folder: OutputFolder, fit: Any, plan: Plan) -> Bootstrap:
    from pbpk.commands.run_analyses import Progress
    from pbpk.uncertainty.bootstrap import Watch
    from pbpk.uncertainty.bootstrap import bootstrap as resample

    done, done_left_out = (_recovered(folder, name, fit.names) for name in (ROWS, LEFT_OUT))
    progress = Progress("replicates"), Progress("fits without a subject")
    subjects = fit.problem.subjects
    rows, others = (folder.partial / name for name in (ROWS, LEFT_OUT))

    def keep(one: Replicate) -> None:
        _append(rows, one)
        progress[0](one.number, plan.replicates)

    def keep_other(one: Replicate) -> None:
        _append(others, one)
        progress[1](one.number, subjects)

    return resample(fit, plan, Watch(keep, keep_other, done, done_left_out))


def _append(file: Path, one: Replicate) -> None:
    """At once: what is written is what a resumed bootstrap need not do again."""
    with file.open("a", encoding="utf-8") as rows:
        rows.write(one.line)


def _recovered(folder: OutputFolder, name: str, names: tuple[str, ...]) -> list[Replicate]:
    """What an interrupted run left, in a file that ends after its last whole line; a new one where there is none."""
    from pbpk.commands.shared import say
    from pbpk.uncertainty.replicates import header, read_lines

    file = folder.partial / name
    done = read_lines(file.read_text(encoding="utf-8"), names) if file.exists() else []
    folder.write(name, header(names) + "".join(one.line for one in done))
    if done:
        say(f"resuming {folder.partial}: {len(done)} lines of {name} are there")
    return done


def _write(folder: OutputFolder, found: Bootstrap) -> Path:
    folder.write("summary.csv", found.summary.to_csv(index=False))
    folder.write("correlation.csv", found.correlation.to_csv())
    if found.drawn is not None:
        folder.write("drawn.csv", found.drawn.to_csv(index=False))
    if not found.plan.bca:
        (folder.partial / LEFT_OUT).unlink()
    folder.write_json("bootstrap.json", {"schema_version": 1, **found.to_dict()})
    return folder.finish()


def _tidy(folder: OutputFolder) -> None:
    """What failed before its first replicate leaves nothing behind."""
    rows = folder.partial / ROWS
    if not rows.exists() or rows.read_text(encoding="utf-8").count("\n") < 2:
        folder.abandon()


def _block(found: Bootstrap, source: Path) -> str:
    from pbpk.commands.run_analyses import header, table_text, unit_shown
    from pbpk.report.numbers import interval, shown

    plan, percent = found.plan, f"{100 * found.plan.level:g} %"
    table = found.summary.assign(
        unit=[unit_shown(u) for u in found.summary["unit"]],
        ci=[interval(a, b) for a, b in zip(found.summary["ci_low"], found.summary["ci_high"], strict=True)],
    )
    columns = [
        ("Parameter", "name", None),
        ("Unit", "unit", None),
        ("Est.", "estimate", shown),
        ("Median", "median", shown),
        ("Bias", "bias", shown),
        ("SE", "se", shown),
        ("%RSE", "rse", shown),
        (f"{percent} interval", "ci", str),
    ]
    if plan.bca:
        ends = zip(found.summary["bca_low"], found.summary["bca_high"], strict=True)
        table = table.assign(bca=[interval(a, b) for a, b in ends])
        columns.append((f"{percent} BCa", "bca", str))
    strata = f" in strata of {plan.strata}" if plan.strata else ""
    what = f"{plan.kind} bootstrap{strata}, {plan.replicates} replicates, seed {plan.seed}"
    return "\n".join([header(found.study, source, what), table_text(table, columns), "", found.verdict])
