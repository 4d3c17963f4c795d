"""`pbpk.covsearch`, and the folder of a covariate search: of a finished run, RUN/covsearch/NNN, or of a study.

The library function prints and writes nothing; the command of the same name adds the folder, which it can resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pbpk.errors import BadInput
from pbpk.run_folders.analysis import write_analysis
from pbpk.run_folders.claim import OutputFolder, claim_folder
from pbpk.run_folders.find import find_run
from pbpk.run_folders.read import read_json_object
from pbpk.run_folders.record import copy_files, current_time, hash_files, list_model_sources, write_record
from pbpk.run_folders.resumable import COVSEARCH, SEARCH_FITS
from pbpk.run_folders.resume import (
    find_unfinished,
    keep_progress,
    list_unfinished,
    locate_source_run,
    partial_of_out,
    resume_folder,
)

if TYPE_CHECKING:
    from pbpk.covariate_search.options import CovariateSearchOptions
    from pbpk.covariate_search.result import CovariateSearchResult
    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """A covariate search that is to be computed: of which run or study (its folder), with which options, and with which
    settings of fit.toml changed."""

    source: Path
    options: CovariateSearchOptions
    settings: Mapping[str, str]


def covsearch(
    run: str | Path, relations: Sequence[str], *, settings: Mapping[str, str] | None = None, **choices: object
) -> CovariateSearchResult:
    """Search for covariate effects; nothing is printed or written.

    `relations` as `"CL: WT power, SEX equals"`. Keywords are the fields of
    `pbpk.covariate_search.options.CovariateSearchOptions`: method ("scm" or "full"), forward, backward, screen, estimation,
    references, bounds, level. `.table` has a row for each model tried, `.relations` what was chosen, `.forest` the factors
    with intervals. Raises `BadInput` for relations that the data cannot have and `ScienceFailed` where the model without
    any does not converge.
    """
    from pbpk.covariate_search.options import make_search_options
    from pbpk.covariate_search.run import search_covariates

    options = make_search_options(relations=tuple(relations), **choices)
    options.check_and_read_relations()
    return search_covariates(load_source_study(find_search_source(run), settings or {}), options)


def find_search_source(name: str | Path) -> Path:
    """The folder of a finished run, called as `pbpk compare` calls it, or else of a study. Raises `BadInput`."""
    from pbpk.study.load import find_study

    try:
        return find_run(name)
    except BadInput as no_run:
        if str(name).endswith(".partial"):
            raise
        try:
            return find_study(name)
        except BadInput as no_study:
            raise (no_run if Path(name).exists() or "/" in str(name) else no_study) from None


def load_source_study(source: Path, settings: Mapping[str, str]) -> Study:
    """The study in that folder; a run's under the name it was fitted under, with the solver it was fitted with."""
    from pbpk.study.load import load_study

    record = read_json_object(source / "run.json") if (source / "run.json").is_file() else {}
    study = load_study(source, settings=settings, solver=record.get("solver"))
    return replace(study, name=str(record.get("study") or study.name))


def claim_search(request: SearchRequest, study: Study, out: Path | None) -> OutputFolder:
    """Claim the folder of a search and write in it what is asked of what. Raises `BadInput` as `claim_folder` does."""
    source, verb = request.source, COVSEARCH.name
    finished = (source / "results.json").is_file()
    folder = claim_folder(source / verb if finished else Path("fits") / study.name / verb, out, COVSEARCH)
    with keep_progress(folder):
        (folder.partial / SEARCH_FITS).mkdir()
        record = {"verb": verb, "run": str(source), "of": _identify_source(source, study)}
        record |= {"settings": dict(request.settings), "plan": request.options.model_dump(), "started": current_time()}
        write_record(folder, record)
    return folder


def _identify_source(source: Path, study: Study) -> dict[str, str]:
    """The hashes of the files that a search is made from."""
    files = [source / "fit.toml", source / study.spec.data.file, source / "results.json"]
    files += [study.model.folder / n for n in study.model.files]
    return hash_files(files)


def resume_search(name: str) -> tuple[OutputFolder, SearchRequest]:
    """An interrupted search, by its folder or `--out`, or the latest one of a run or study.

    Raises `BadInput` where there is none, or where the run or study is no longer as it was.
    """
    from pbpk.covariate_search.options import CovariateSearchOptions

    hint = f'pbpk covsearch {name} --relation "CL: WT power"'
    partial = find_unfinished(name, COVSEARCH, _unfinished_searches(name), hint)
    folder, record = resume_folder(partial, COVSEARCH)
    source = locate_source_run(partial, record)
    settings = {str(k): str(v) for k, v in record["settings"].items()}
    if _identify_source(source, load_source_study(source, settings)) != record["of"]:
        raise BadInput(f"is not of {source} as it is now", where=str(partial), hint="start a new search")
    return folder, SearchRequest(source, CovariateSearchOptions.model_validate(record["plan"]), settings)


def _unfinished_searches(name: str) -> Iterator[Path]:
    beside = partial_of_out(name)
    if (beside / SEARCH_FITS).is_dir():
        yield beside
    yield from list_unfinished(find_search_source(name) / COVSEARCH.name, Path("fits") / name / COVSEARCH.name)


def write_search(folder: OutputFolder, study: Study, result: CovariateSearchResult) -> Path:
    """Write the tables, the result and the final model as a study, and give the folder its final name.

    The single fits, which only a resumed search needs, are removed.
    """
    import shutil

    from pbpk.covariate_search.final_model import format_final_study

    tables = {"steps": result.table, "parameters": result.parameters, "forest": result.forest, "tests": result.tests}
    write_analysis(folder, COVSEARCH.name, result.to_dict(), tables)
    model, home = study.model, f"final/model/{study.model.name}"
    sources = list_model_sources(model, home)
    beside_model = model.folder / "references.bib"
    sources[f"{home}/references.bib"] = (
        beside_model if beside_model.is_file() else model.folder.parent / "references.bib"
    )
    sources[f"final/{study.spec.data.file}"] = study.folder / study.spec.data.file
    copy_files(folder, sources)
    folder.write("final/fit.toml", format_final_study(study, result, f"model/{model.name}"))
    shutil.rmtree(folder.partial / SEARCH_FITS)
    return folder.finish()
