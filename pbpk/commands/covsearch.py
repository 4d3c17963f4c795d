"""`pbpk covsearch RUN|STUDY`: which covariates matter, stepwise or in a full model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import EnlargedStudy
    from pbpk.covariate_search.options import CovariateSearchOptions
    from pbpk.covariate_search.refit import SubmodelFit
    from pbpk.covariate_search.result import CovariateSearchResult
    from pbpk.run_folders.claim import OutputFolder
    from pbpk.study.load import Study


def register(app: typer.Typer) -> None:
    """Add `pbpk covsearch` to the command line."""
    app.command("covsearch")(covsearch)


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
    from pbpk.commands.run_analyses import exit_when_interrupted, print_result
    from pbpk.commands.shared import read_pairs, say
    from pbpk.covariate_search.run import prepare_search
    from pbpk.errors import WrongUsage
    from pbpk.run_folders.covariate_search import (
        SearchRequest,
        claim_search,
        find_search_source,
        load_source_study,
        resume_search,
        write_search,
    )
    from pbpk.run_folders.resumable import COVSEARCH

    choices = {"relations": relation or None, "method": method, "forward": forward, "backward": backward}
    choices |= {"screen": screen, "estimation": estimation, "seed": seed}
    stated = {k: v for k, v in choices.items() if v is not None}
    if resume:
        if stated or plan or settings or out:
            raise WrongUsage("--resume goes on with what was started", hint="leave the other options out")
        folder, request = resume_search(run)
    else:
        request = SearchRequest(find_search_source(run), _read_options(plan, stated), read_pairs(settings, "--set"))
        request.options.check_and_read_relations()
        folder = None
    study = load_source_study(request.source, request.settings)
    enlarged = prepare_search(study, request.options)
    folder = folder or claim_search(request, study, out)
    say(f"{study.name}: {len(enlarged.candidates)} relations; first call compiles")
    for note in enlarged.notes:
        say(f"  {note}")
    with exit_when_interrupted(folder, COVSEARCH):
        result = _search_covariates(folder, study, request.options, enlarged)
        final = write_search(folder, study, result)
    print_result(result, request.source, final, as_json, _format_result)
    say(f"wrote {final}; its final model is a study:  pbpk fit {final / 'final'}")


def _format_result(result: CovariateSearchResult, source: Path) -> str:
    """The search in words."""
    from pbpk.report.covariate_search_text import format_search

    return format_search(result, str(source))


def _read_options(file: Path | None, stated: dict[str, Any]) -> CovariateSearchOptions:
    """The options of a search: those stated, then those of the file, then the defaults."""
    from pbpk.covariate_search.options import make_search_options, read_search_options

    return make_search_options(**((read_search_options(file) if file else {}) | stated))


def _search_covariates(
    folder: OutputFolder, study: Study, options: CovariateSearchOptions, enlarged: EnlargedStudy
) -> CovariateSearchResult:
    """The search's result. Each fitted model is written when it is there; those of an interrupted run are read back."""
    from pbpk.commands.shared import say
    from pbpk.covariate_search.fitted_models import SearchCallbacks
    from pbpk.covariate_search.run import search_covariates
    from pbpk.run_folders.checkpoint import load_search_fits, save_search_fit

    done = load_search_fits(folder)
    if done:
        say(f"resuming {folder.partial}: {len(done)} fits are there")
    lines = _SearchLines()

    def save_fit(key: str, model: SubmodelFit) -> None:
        save_search_fit(folder, key, model)
        lines.show_fit(key, model)

    callbacks = SearchCallbacks(save_fit, lines.begin_step, lines.count_known, done)
    return search_covariates(study, options, callbacks, enlarged)


class _SearchLines:
    """A line on stderr for each fit, with an estimate of the time that is left of its step.

    Of the step: `of` fits, of which `done` are there, `fresh` of them computed since it was `begun` (s).
    """

    def __init__(self) -> None:
        self.done, self.of, self.fresh, self.begun = 0, 0, 0, time.monotonic()

    def begin_step(self, words: str, fits: int) -> None:
        """Show the heading of a step of that many fits."""
        from pbpk.commands.shared import say

        self.done, self.of, self.fresh, self.begun = 0, fits, 0, time.monotonic()
        say(f"  {words}: {fits} fit{'s' * (fits != 1)}")

    def count_known(self) -> None:
        """Count a fit that an earlier step or run has left."""
        self.done += 1

    def show_fit(self, name: str, model: SubmodelFit) -> None:
        """Show a fit that has just been computed."""
        from pbpk.commands.shared import say

        self.done, self.fresh = self.done + 1, self.fresh + 1
        elapsed = time.monotonic() - self.begun
        rest = self.of - self.done
        left = f", about {elapsed / self.fresh * rest:.0f} s left of this step" if rest > 0 else ""
        failure = "" if model.converged else f"  FAILED: {model.cause}"
        say(f"    {self.done} of {self.of}  {model.ofv:>13.4f}  {name}  {elapsed:.0f} s{left}{failure}")
