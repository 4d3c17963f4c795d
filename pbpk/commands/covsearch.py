"""`pbpk covsearch RUN|STUDY`: which covariates matter, stepwise or in a full model."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pbpk.covariate_search.options import Plan
    from pbpk.covariate_search.refit import Fitted
    from pbpk.covariate_search.result import Search
    from pbpk.run_folders.write import OutputFolder
    from pbpk.study.load import Study

VERB = "covsearch"


def register(app: typer.Typer) -> None:
    app.command(VERB)(covsearch)


def covsearch(
    run: str = typer.Argument(
        ..., help="A run (its estimates are the start) or a study; with --resume also an unfinished search."
    ),
    relation: list[str] = typer.Option(None, help='"CL: WT power, SEX equals"; may be given several times.'),
    plan: Path = typer.Option(None, help="A TOML file whose \\[search] table says the same; options given beside win."),
    method: str = typer.Option(None, help="scm (stepwise, the default) or full (all at once)."),
    forward: float = typer.Option(None, help="Level of p below which a relation is taken in; default 0.05."),
    backward: float = typer.Option(None, help="Level of p at or above which it is dropped again; default 0.01."),
    screen: float = typer.Option(
        None, help="Fit in forward steps only what the score test gives a smaller p than this."
    ),
    estimation: str = typer.Option(None, help="Estimation method; default: the run's, or the study's own."),
    seed: int = typer.Option(None, help="Recorded with the search, which is deterministic."),
    settings: list[str] = typer.Option(None, "--set", help="NAME=VALUE: an initial value or any entry of fit.toml."),
    out: Path = typer.Option(None, help="The folder; default: RUN/covsearch/NNN, or fits/STUDY/covsearch/NNN."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted search."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Search for covariate effects: a table of every step, the final model with intervals, and what its effects amount to."""
    from pbpk.commands.shared import print_json, read_pairs, say
    from pbpk.covariate_search.run import ready
    from pbpk.errors import WrongUsage
    from pbpk.run_folders.covariate_search import find_search_source, load_source_study

    asked = {
        "relations": relation or None,
        "method": method,
        "forward": forward,
        "backward": backward,
        "screen": screen,
    }
    asked |= {"estimation": estimation, "seed": seed}
    given = {k: v for k, v in asked.items() if v is not None}
    if resume:
        if given or plan or settings or out:
            raise WrongUsage("--resume goes on with what was started", hint="leave the other options out")
        folder, source, wanted, changed = _reopen(run)
    else:
        source, wanted, changed, folder = find_search_source(run), _plan(plan, given), read_pairs(settings, "--set"), None
        wanted.read()
    study = load_source_study(source, changed)
    enlarged = ready(study, wanted)
    folder = folder or _open(source, study, out, wanted, changed)
    say(f"{study.name}: {len(enlarged.candidates)} relations; first call compiles")
    for note in enlarged.notes:
        say(f"  {note}")
    try:
        found = _run(folder, study, wanted, enlarged)
        final = _write(folder, study, found)
    except KeyboardInterrupt:
        say(f"\ninterrupted; go on with:  pbpk {VERB} {folder.partial} --resume")
        sys.exit(130)
    except BaseException:
        if not any((folder.partial / "fits").glob("*.npz")):
            folder.abandon()
        raise
    if as_json:
        print_json(found.to_dict() | {"run": str(source), "folder": str(final)})
    else:
        from pbpk.report.covariate_search_text import search_block

        print(search_block(found, str(source)))
    say(f"wrote {final}; its final model is a study:  pbpk fit {final / 'final'}")


def _plan(file: Path | None, given: dict[str, Any]) -> Plan:
    from pbpk.covariate_search.options import make_plan, read_plan

    return make_plan(**((read_plan(file) if file else {}) | given))


def _open(source: Path, study: Study, out: Path | None, plan: Plan, settings: dict[str, str]) -> OutputFolder:
    """Claim the folder and say in it what is asked of what."""
    from datetime import UTC, datetime

    from pbpk.errors import BadInput
    from pbpk.run_folders.write import claim_folder, command_line, read_environment

    if out is not None and (partial := out.with_name(out.name + ".partial")).exists():
        hint = f"go on with it:  pbpk {VERB} {partial} --resume   (or remove it)"
        raise BadInput("an unfinished search is there", where=str(partial), hint=hint)
    finished = (source / "results.json").is_file()
    folder = claim_folder(source / VERB if finished else Path("fits") / study.name / VERB, out)
    try:
        (folder.partial / "fits").mkdir()
        folder.write("command.txt", command_line() + "\n")
        record = {"verb": VERB, "run": str(source), "of": _identity(source, study), "settings": settings}
        record |= {"plan": plan.model_dump(), "started": datetime.now(UTC).isoformat(timespec="seconds")}
        folder.write_json("run.json", record | read_environment())
    except BaseException:
        folder.abandon()
        raise
    return folder


def _identity(source: Path, study: Study) -> dict[str, str]:
    """The hashes of what a search is made from."""
    from hashlib import sha256

    files = [source / "fit.toml", source / study.spec.data.file, source / "results.json"]
    files += [study.model.folder / n for n in study.model.files]
    return {f.name: sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


def _reopen(name: str) -> tuple[OutputFolder, Path, Plan, dict[str, str]]:
    """The unfinished search called by its folder, or the latest one of a run or study."""
    from pbpk.covariate_search.options import Plan
    from pbpk.errors import BadInput
    from pbpk.run_folders.covariate_search import find_search_source, load_source_study
    from pbpk.run_folders.read import read_json_object
    from pbpk.run_folders.write import resume_folder

    path = Path(name)
    if not path.name.endswith(".partial"):
        started = path.with_name(f"{path.name}.partial") if path.name else path
        unfinished = [started] if (started / "fits").is_dir() else []
        if not unfinished:
            places = (find_search_source(name) / VERB, Path("fits") / name / VERB)
            unfinished = sorted(p for place in places for p in place.glob("*.partial"))
        if not unfinished:
            raise BadInput(
                f"no unfinished search of `{name}`", hint=f'start one:  pbpk {VERB} {name} --relation "CL: WT power"'
            )
        path = unfinished[-1]
    folder = resume_folder(path)
    record = read_json_object(path / "run.json")
    if record.get("verb") != VERB:
        raise BadInput("is not an unfinished search", where=str(path))
    beside = path.resolve().parent.parent  # where the run is, wherever it has been moved to
    source = beside if (beside / "results.json").exists() else Path(record["run"])
    settings = {str(k): str(v) for k, v in record["settings"].items()}
    if _identity(source, load_source_study(source, settings)) != record["of"]:
        raise BadInput(f"is not of {source} as it is now", where=str(path), hint="start a new search")
    return folder, source, Plan.model_validate(record["plan"]), settings


def _run(folder: OutputFolder, study: Study, plan: Plan, enlarged: Any) -> Search:
    from pbpk.commands.shared import say
    from pbpk.covariate_search.fitted_models import Watch
    from pbpk.covariate_search.run import search

    done = dict(_read_fits(folder))
    if done:
        say(f"resuming {folder.partial}: {len(done)} fits are there")
    lines = _Lines()

    def keep(name: str, model: Fitted) -> None:
        _save_fit(folder, name, model)
        lines.fitted(name, model)

    return search(study, plan, Watch(keep, lines.step, lines.seen, done), enlarged)


def _save_fit(folder: OutputFolder, name: str, model: Fitted) -> None:
    """At once and whole: what is written is what a resumed search need not fit again."""
    import os

    import numpy as np

    place = folder.partial / "fits"
    number = len(list(place.glob("[0-9]*.npz"))) + 1
    temporary = place / "next.tmp.npz"
    np.savez(temporary, name=name, **vars(model))
    os.replace(temporary, place / f"{number:04d}.npz")


def _read_fits(folder: OutputFolder):
    import numpy as np

    from pbpk.covariate_search.refit import Fitted

    for file in sorted((folder.partial / "fits").glob("[0-9]*.npz")):
        with np.load(file) as saved:
            counts = {k: int(saved[k]) for k in ("iterations", "evaluations")}
            yield (
                str(saved["name"]),
                Fitted(saved["psi"], saved["eta"], float(saved["ofv"]), str(saved["cause"]), **counts),
            )


class _Lines:
    """A line for each fit on stderr, with what is left of its step."""

    def __init__(self) -> None:
        self.done, self.of, self.fresh, self.begun = 0, 0, 0, time.monotonic()

    def step(self, words: str, fits: int) -> None:
        from pbpk.commands.shared import say

        self.done, self.of, self.fresh, self.begun = 0, fits, 0, time.monotonic()
        say(f"  {words}: {fits} fit{'s' * (fits != 1)}")

    def seen(self) -> None:
        self.done += 1

    def fitted(self, name: str, model: Fitted) -> None:
        from pbpk.commands.shared import say

        self.done, self.fresh = self.done + 1, self.fresh + 1
        elapsed = time.monotonic() - self.begun
        rest = self.of - self.done
        left = f", about {elapsed / self.fresh * rest:.0f} s left of this step" if rest > 0 else ""
        said = "" if model.converged else f"  FAILED: {model.cause}"
        say(f"    {self.done} of {self.of}  {model.ofv:>13.4f}  {name}  {elapsed:.0f} s{left}{said}")


def _write(folder: OutputFolder, study: Study, found: Search) -> Path:
    """The tables, the result and the final model as a study; the single fits go."""
    import shutil

    from pbpk.covariate_search.final_model import final_toml
    from pbpk.run_folders.write import copy_files

    tables = {"steps": found.table, "parameters": found.parameters, "forest": found.forest, "tests": found.tests}
    for name, table in tables.items():
        folder.write(f"{name}.csv", table.to_csv(index=False))
    folder.write_json(f"{VERB}.json", {"schema_version": 1, **found.to_dict()})
    model, home = study.model, f"final/model/{study.model.name}"
    sources = {f"{home}/{n}": model.folder / n for n in (*model.files, "README.md")}
    own = model.folder / "references.bib"
    sources[f"{home}/references.bib"] = own if own.is_file() else model.folder.parent / "references.bib"
    sources[f"final/{study.spec.data.file}"] = study.folder / study.spec.data.file
    copy_files(folder, {k: v for k, v in sources.items() if v.is_file()})
    folder.write("final/fit.toml", final_toml(study, found, f"model/{model.name}"))
    shutil.rmtree(folder.partial / "fits")
    return folder.finish()
