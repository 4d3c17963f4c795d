"""`pbpk fit STUDY`: estimate, print the table, leave a run folder."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pbpk.estimation.methods import METHODS

if TYPE_CHECKING:
    from pbpk.estimation.base import Info, State
    from pbpk.estimation.multistart import End
    from pbpk.estimation.result import Fit
    from pbpk.estimation.start import Start
    from pbpk.run_folders.write import OutputFolder
    from pbpk.study.load import Study


def register(app: typer.Typer) -> None:
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
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run."),
    device: str = typer.Option(None, help="cpu or gpu; default: what JAX finds."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Fit a study: iteration lines, a table of estimates with standard errors, a run folder and its report."""
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
        resume=resume,
        device=device,
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
    resume: bool = False,
    device: str | None = None,
    as_json: bool = False,
) -> tuple[Path, int]:
    """The run folder and the exit code: 0, or 1 when the fit did not converge."""
    _choose_device(device)
    from pbpk.commands.shared import choose_engine, say
    from pbpk.estimation.methods import get_method
    from pbpk.estimation.multistart import run_multistart
    from pbpk.estimation.preflight import beforehand
    from pbpk.estimation.run import Watch, run_fit
    from pbpk.estimation.start import begun_from, read_start
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.write import load_ends, load_state, save_ends, save_state
    from pbpk.study.load import load_study

    choose_engine(engine)
    if resume:
        from pbpk.errors import WrongUsage

        if method or solver or engine or settings or out or starts or start or seed is not None:
            raise WrongUsage("--resume goes on with the run as it was started", hint="leave the other options out")
        folder, study, method, seed, starts = _reopen(name)
        origin = read_start(folder.partial / "start.json") if (folder.partial / "start.json").exists() else None
        begun = load_state(folder)
        where = f"from iteration {begun[0].iteration}" if begun else "from the start"
        say(f"resuming {folder.partial} {where}")
    else:
        study = load_study(name, settings=settings, solver=solver)
        method = get_method(method or study.spec.estimation.method).name
        seed = study.spec.estimation.seed if seed is None else seed
        origin = read_start(find_run(start)) if start else None
        if origin:
            begun_from(study, origin)  # refuses before anything is written
        folder, begun = _open(study, method, seed, settings or {}, solver, out, starts, origin), None
    say(
        f"{study.name}: {study.model.name}, {study.problem.subjects} subjects, {study.problem.observations} observations"
    )
    for note in study.events.notes:
        say(f"  note: {note}")
    for concern in [] if study.spec.summary else beforehand(study.problem):
        say(f"  concern: {concern}")
    if origin:
        say(f"from the estimates of {origin.origin}")
    say(f"{method} with {study.problem.spec.solver.name}; first call compiles")
    chosen = get_method(method)
    lines = _Lines(getattr(chosen, "heads", HEADS))

    def keep(state: State, infos: list[Info]) -> None:
        save_state(folder, state, infos)
        lines.iteration(state, infos)

    try:
        watch = Watch(keep, lines.errors)
        if starts:
            known = load_ends(folder)
            result = run_multistart(
                *(study, chosen, starts), seed=seed, start=origin, ended=known, watch=watch,
                progress=lambda ends, of: (save_ends(folder, ends), lines.ended(ends, of))[0],
            )  # fmt: skip
        else:
            result = run_fit(study, chosen, resume=begun, watch=watch, seed=seed, start=origin)
        final = _write(folder, study, result)
    except KeyboardInterrupt:
        say(f"\ninterrupted; go on with:  pbpk fit {folder.partial} --resume")
        sys.exit(130)
    except BaseException:
        _tidy(folder)
        raise
    _show(result, final, as_json)
    return final, 0 if result.successful else 1


def _choose_device(device: str | None) -> None:
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


HEADS = ("iter", "OFV", "ΔOFV", "|g|", "step")


class _Lines:
    """Iteration lines on stderr, under the method's own heads; standard errors with a count."""

    def __init__(self, heads: tuple[str, ...] = HEADS) -> None:
        self.start, self.last, self.heads = time.perf_counter(), -1, heads

    def iteration(self, state: State, infos: list[Info]) -> None:
        from pbpk.commands.shared import say

        if self.last < 0:
            a, b, c, d, e = self.heads
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
        if state.finished:
            say(f"  {state.status}")

    def ended(self, ends: list[End], of: int) -> None:
        from pbpk.commands.shared import say

        e = ends[-1]
        say(f"  start {e.number:>3}: OFV {e.ofv:.5f}, {e.cause} ({len(ends)} of {of}), {self._elapsed()} s")

    def errors(self, done: int, of: int) -> None:
        from pbpk.commands.shared import say

        if done == of:
            say(f"  standard errors from {of} gradients, {self._elapsed()} s")

    def _elapsed(self) -> str:
        return f"{time.perf_counter() - self.start:.1f}"


def _open(
    study: Study, method: str, seed: int, settings: dict[str, str], solver: str | None, out: Path | None,
    starts: int | None = None, origin: Start | None = None,
) -> OutputFolder:  # fmt: skip
    """Claim the run folder and freeze the inputs in it."""
    from pbpk.run_folders.write import claim_folder

    folder = claim_folder(Path("fits") / study.name / "runs", out)
    try:
        _freeze(folder, study, method, seed, settings, solver, starts)
        if origin:
            folder.write_json("start.json", origin.to_json())
    except BaseException:
        folder.abandon()
        raise
    return folder


def _freeze(
    folder: OutputFolder,
    study: Study,
    method: str,
    seed: int,
    settings: dict[str, str],
    solver: str | None,
    starts: int | None,
) -> None:
    """Copy the inputs in, and write what a resumed run reads them back by."""
    from datetime import UTC, datetime

    from pbpk.compile.engine import asked
    from pbpk.run_folders.write import command_line, copy_files, read_environment
    from pbpk.study.settings import of_run

    data, model = study.folder / study.spec.data.file, study.model
    sources = {"fit.toml": study.folder / "fit.toml", data.name: data}
    home = f"model/{model.name}"
    frozen = of_run(study.folder) | settings | {"model": home, "data.file": data.name}
    if study.spec.summary:
        table = study.folder / study.spec.summary.file
        sources, frozen = sources | {table.name: table}, frozen | {"summary.file": table.name}
    sources |= {f"{home}/{n}": model.folder / n for n in (*model.files, "README.md")}
    own, shared = model.folder / "references.bib", model.folder.parent / "references.bib"
    beside = {f"{home}/references.bib": own, "model/references.bib": shared}
    sources |= beside if own.is_file() else {f"{home}/references.bib": shared}
    hashes = copy_files(folder, {k: v for k, v in sources.items() if v.is_file()})
    folder.write("command.txt", command_line() + "\n")
    folder.write_json(
        "run.json",
        {
            "study": study.name,
            "model": model.name,
            "options": dict(model.options),
            "nuclide": model.nuclide,
            "method": method,
            "seed": seed,
            "starts": starts,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": frozen,
            "solver": solver,
            "engine": asked(),
            "sha256": hashes,
            **read_environment(),
        },
    )


def _reopen(name: str) -> tuple[OutputFolder, Study, str, int, int | None]:
    """The unfinished run called by its folder, or a study's latest one."""
    import json
    from dataclasses import replace

    from pbpk.commands.shared import choose_engine
    from pbpk.errors import BadInput
    from pbpk.run_folders.write import resume_folder
    from pbpk.study.load import load_study

    path = Path(name)
    if not path.name.endswith(".partial"):
        study_name = path.resolve().parent.name if path.name == "fit.toml" else path.resolve().name
        unfinished = sorted((Path("fits") / study_name / "runs").glob("*.partial"))
        started = path.with_name(f"{path.name}.partial") if path.name else path  # by its --out
        if not unfinished and not (started / "run.json").exists():
            raise BadInput(f"no unfinished run of `{name}`", hint=f"start one:  pbpk fit {name}")
        path = unfinished[-1] if unfinished else started
    folder = resume_folder(path)
    run = json.loads((folder.partial / "run.json").read_text())
    choose_engine(run.get("engine"))
    study = load_study(folder.partial, solver=run["solver"])
    return folder, replace(study, name=run["study"]), run["method"], run["seed"], run.get("starts")


def _tidy(folder: OutputFolder) -> None:
    """A run that failed before its first iteration leaves nothing behind."""
    if not any((folder.partial / n).exists() for n in ("checkpoint.npz", "ends.npz")):
        folder.abandon()


def _write(folder: OutputFolder, study: Study, result: Fit) -> Path:
    """results.json and the tables, then the report where its libraries are, then the final name."""
    import pandas as pd

    from pbpk.commands.shared import say
    from pbpk.errors import MissingExtra
    from pbpk.run_folders.write import write_method_files

    folder.write_json("results.json", result.to_json() | {"run": str(folder.final)})
    folder.write("parameters.csv", result.parameters.to_csv(index=False))
    folder.write("sdtab.csv", result.table.to_csv(index=False))
    folder.write("patab.csv", result.individual.to_csv(index=False))
    folder.write("covariance.csv", result.covariance.to_csv())
    folder.write("iterations.csv", pd.DataFrame(result.iterations).to_csv(index=False))
    if study.spec.summary:
        folder.write("summary_table.csv", result.summary.to_csv(index=False))  # type: ignore[attr-defined]
    write_method_files(folder, result.files)
    folder.write("warnings.txt", "".join(f"{w}\n" for w in (*study.events.notes, *result.warnings)))
    try:
        from pbpk.report.page import write_report

        write_report(folder.partial)
    except MissingExtra as e:
        say(f"  no report.html: {e.what} ({e.hint})")
    return folder.finish()


def _show(result: Fit, folder: Path, as_json: bool) -> None:
    from pbpk.commands.shared import print_json, say
    from pbpk.report.aggregates import aggregate_block
    from pbpk.report.fit_text import fit_block

    if as_json:
        data = result.to_json() | {"run": str(folder)}
        data.pop("schema_version")
        print_json(data)
    else:
        print(fit_block(found := result.to_json(), result.parameters))
        if "summary" in found:
            print(aggregate_block(found))
    say(f"wrote {folder}")
