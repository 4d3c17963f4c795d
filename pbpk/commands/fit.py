"""`pbpk fit STUDY`: estimate, print the table, leave a run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pbpk.estimation.methods import METHODS

if TYPE_CHECKING:
    from pbpk.estimation.multistart import StartOutcome
    from pbpk.estimation.result import Fit
    from pbpk.estimation.state import EstimationState, IterationRecord
    from pbpk.run_folders.fit_run import FitRun


def register(app: typer.Typer) -> None:
    """Add `pbpk fit` to the command line."""
    app.command("fit")(fit)


def fit(
    study: str = typer.Argument(..., help="A study's name or folder; with --resume also an unfinished run."),
    method: str = typer.Option(None, help=f"One of {', '.join(METHODS)}; default: the study's own."),
    seed: int = typer.Option(None, help="Of draws and starts; recorded, and the same seed gives the same digits."),
    settings: list[str] = typer.Option(None, "--set", help="NAME=VALUE: an initial value or any entry of fit.toml."),
    solver: str = typer.Option(None, help="Solve by this method instead of the model's own choice."),
    engine: str = typer.Option(None, help="What computes: kernel, jax or diffrax; default: kernels where they can."),
    starts: int = typer.Option(
        None, min=1, help="Search from this many starts, spread around the initial values by --seed."
    ),
    start: str = typer.Option(
        None, "--from", help="A finished run whose estimates are the initial values where names match."
    ),
    out: Path = typer.Option(None, help="The run folder; default: fits/STUDY/runs/NNN under the current folder."),
    evaluate: bool = typer.Option(
        False,
        "--evaluate",
        help="The objective at the initial values alone, as NONMEM's MAXEVAL=0; nothing is estimated.",
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    device: str = typer.Option(None, help="cpu or gpu; default: what JAX finds."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Fit a study: iteration lines, a table of estimates with standard errors, a run folder and its report."""
    _choose_device(device)
    from pbpk.commands.shared import read_pairs

    _, code = fit_study(
        study,
        method=method,
        seed=seed,
        settings=read_pairs(settings, "--set"),
        solver=solver,
        engine=engine,
        starts=starts,
        start=start,
        out=out,
        evaluate=evaluate,
        resume=resume,
        as_json=as_json,
    )
    raise typer.Exit(code)


def fit_study(
    name: str,
    *,
    method: str | None = None,
    seed: int | None = None,
    settings: dict[str, str] | None = None,
    solver: str | None = None,
    engine: str | None = None,
    starts: int | None = None,
    start: str | None = None,
    out: Path | None = None,
    evaluate: bool = False,
    resume: bool = False,
    as_json: bool = False,
) -> tuple[Path, int]:
    """Fit a study by its name or folder: the run folder, and the exit code, which is 1 when the fit did not converge.

    Prints the iterations and the result. An interruption ends the process with code 130 and keeps what can be resumed.
    """
    from pbpk.commands.run_analyses import exit_when_interrupted
    from pbpk.commands.shared import choose_engine
    from pbpk.errors import WrongUsage
    from pbpk.run_folders.fit_run import start_fit
    from pbpk.run_folders.resumable import FIT
    from pbpk.study.load import load_study

    choose_engine(engine)
    if evaluate and starts:
        raise WrongUsage("--evaluate searches nothing, so it has no --starts", hint="leave one of them out")
    if resume:
        if method or solver or engine or settings or out or starts or start or evaluate or seed is not None:
            raise WrongUsage("--resume goes on with the run as it was started", hint="leave the other options out")
        run = _resume_fit(name)
    else:
        run = start_fit(
            load_study(name, settings=settings, solver=solver),
            method=method,
            seed=seed,
            starts=starts,
            start=start,
            settings=settings,
            solver=solver,
            out=out,
            evaluate=evaluate,
        )
    _announce_fit(run)
    with exit_when_interrupted(run.folder, FIT):
        result = _estimate_parameters(run)
        final = _write_results(run, result)
    _print_fit(result, final, as_json)
    return final, 0 if result.successful else 1


def _resume_fit(name: str) -> FitRun:
    """The interrupted fit that `name` calls, by the engine that it was started with."""
    from pbpk.commands.shared import choose_engine, say
    from pbpk.run_folders.fit_run import find_unfinished_fit, resume_fit

    folder, record = find_unfinished_fit(name)
    choose_engine(record.get("engine"))  # before the study is loaded: its programs are compiled for one engine
    run = resume_fit(folder, record)
    where = f"from iteration {run.checkpoint[0].iteration}" if run.checkpoint else "from the start"
    say(f"resuming {folder.partial} {where}")
    return run


def _announce_fit(run: FitRun) -> None:
    """What is fitted by what, with the notes on the data and the concerns about the study."""
    from pbpk.commands.shared import say
    from pbpk.estimation.preflight import warn_before_fit

    study = run.study
    say(
        f"{study.name}: {study.model.name}, {study.problem.subjects} subjects, {study.problem.observations} observations"
    )
    for note in study.events.notes:
        say(f"  note: {note}")
    for concern in [] if study.spec.summary else warn_before_fit(study.problem):
        say(f"  concern: {concern}")
    if run.origin:
        say(f"from the estimates of {run.origin.origin}")
    say(f"{run.method} with {study.problem.structure.solver.name}; first call compiles")


def _estimate_parameters(run: FitRun) -> Fit:
    """The fit's result, with a line and a checkpoint for each iteration, or for each start of a multistart."""
    from pbpk.estimation.methods import get_method
    from pbpk.estimation.multistart import run_multistart
    from pbpk.estimation.run import Callbacks, run_fit
    from pbpk.run_folders.checkpoint import load_ends, save_ends, save_state

    method = get_method(run.method)
    lines = _IterationLines(getattr(method, "iteration_headings", HEADINGS))

    def save_iteration(state: EstimationState, infos: list[IterationRecord]) -> None:
        save_state(run.folder, state, infos)
        lines.show_iteration(state, infos)

    def save_starts(ends: list[StartOutcome], of: int) -> None:
        save_ends(run.folder, ends)
        lines.show_end(ends, of)

    callbacks = Callbacks(save_iteration, lines.show_errors)
    if not run.starts:
        how = {"resume": run.checkpoint, "callbacks": callbacks, "seed": run.seed, "start": run.origin}
        return run_fit(run.study, method, **how, evaluate=run.evaluate)
    return run_multistart(
        run.study,
        method,
        run.starts,
        seed=run.seed,
        start=run.origin,
        known_outcomes=load_ends(run.folder),
        callbacks=callbacks,
        progress=save_starts,
    )


def _choose_device(device: str | None) -> None:
    """Set the device before JAX chooses one. Raises `WrongUsage` for an unknown one, `MissingExtra` where there is no GPU."""
    if device is None:
        return
    import os

    from pbpk.errors import MissingExtra, WrongUsage

    if device not in ("cpu", "gpu"):
        raise WrongUsage(f"no device `{device}`", hint="cpu or gpu")
    os.environ["JAX_PLATFORMS"] = "cpu" if device == "cpu" else "cuda"
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as e:  # JAX asserts, without a word, when it has no backend to try
        why = next(iter(str(e).splitlines()), "")
        raise MissingExtra("no GPU that JAX can use", why=why, hint='pip install "pbpk[gpu]"') from e


HEADINGS = ("iter", "OFV", "ΔOFV", "|g|", "step")


class _IterationLines:
    """Progress on stderr: a line for each iteration under the method's own headings, one for each start, one at the end of
    the standard errors. `last` is the number of the last iteration shown, -1 before the headings."""

    def __init__(self, headings: tuple[str, ...] = HEADINGS) -> None:
        self.start, self.last, self.headings = time.perf_counter(), -1, headings

    def show_iteration(self, state: EstimationState, infos: list[IterationRecord]) -> None:
        import numpy as np

        from pbpk.commands.shared import say

        if self.last < 0:
            a, b, c, d, e = self.headings
            say(f"  {a:>4} {b:>13} {c:>13} {d:>10} {e:>10} {'s':>6}")
            self.last = 0
            if not infos:
                say(f"  {0:>4} {state.ofv:>13.5f} {'':>13} {'':>10} {'':>10} {self._elapsed():>6}")
        if infos and infos[-1].iteration > self.last:
            i = infos[-1]
            self.last = i.iteration
            say(
                f"  {i.iteration:>4} {i.ofv:>13.5f} {i.change:>13.6f} {i.gradient:>10.3g} {i.step:>10.3g} {self._elapsed():>6}"
            )
        lost = int((~np.asarray(state.good)).sum())
        if lost:
            say(
                f"  {'':>4} {'':>13} ^ no likelihood: the modes of {lost} subjects are lost, and were sought from other starts"
            )
        if state.finished:
            say(f"  {state.status}")

    def show_end(self, ends: list[StartOutcome], of: int) -> None:
        from pbpk.commands.shared import say

        e = ends[-1]
        say(f"  start {e.number:>3}: OFV {e.ofv:.5f}, {e.cause} ({len(ends)} of {of}), {self._elapsed()} s")

    def show_errors(self, done: int, of: int) -> None:
        from pbpk.commands.shared import say

        if done == of:
            say(f"  standard errors from {of} gradients, {self._elapsed()} s")

    def _elapsed(self) -> str:
        return f"{time.perf_counter() - self.start:.1f}"


def _write_results(run: FitRun, result: Fit) -> Path:
    """Write results.json and the tables, then the report where its libraries are; returns the folder's final name."""
    from pbpk.commands.shared import say
    from pbpk.errors import MissingExtra
    from pbpk.run_folders.fit_run import write_fit

    write_fit(run.folder, run.study, result)
    try:
        from pbpk.report.page import write_report

        write_report(run.folder.partial)
    except MissingExtra as e:
        say(f"  no report.html: {e.what} ({e.hint})")
    return run.folder.finish()


def _print_fit(result: Fit, folder: Path, as_json: bool) -> None:
    """Print the result: one JSON object, or the table of estimates."""
    from pbpk.commands.shared import print_json, say
    from pbpk.report.aggregates import format_aggregates
    from pbpk.report.fit_text import format_fit

    if as_json:
        data = result.to_json() | {"run": str(folder)}
        data.pop("schema_version")
        print_json(data)
    else:
        content = result.to_json()
        print(format_fit(content, result.parameters))
        if "summary" in content:
            print(format_aggregates(content))
    say(f"wrote {folder}")
