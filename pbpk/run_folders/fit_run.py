"""The folder of a fit: claimed with its inputs frozen in it, found again after an interruption, filled with the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pbpk.errors import BadInput
from pbpk.run_folders.claim import OutputFolder, claim_folder
from pbpk.run_folders.record import copy_files, current_time, list_model_sources, verify_inputs, write_record
from pbpk.run_folders.resumable import FIT
from pbpk.run_folders.resume import find_unfinished, keep_progress, list_unfinished, partial_of_out, resume_folder

if TYPE_CHECKING:
    from pbpk.estimation.result import Fit
    from pbpk.estimation.start import StartingValues
    from pbpk.estimation.state import EstimationState, IterationRecord
    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class FitRun:
    """A fit that is to be computed into `folder`.

    `method` by its name; `starts`: how many a multistart has, None without one; `origin`: the earlier estimates to start
    from; `checkpoint`: the state and iterations to resume from. Each is None where there is none. `evaluate`: the
    objective at the initial values is all that is asked for.
    """

    folder: OutputFolder
    study: Study
    method: str
    seed: int
    starts: int | None = None
    origin: StartingValues | None = None
    checkpoint: tuple[EstimationState, list[IterationRecord]] | None = None
    evaluate: bool = False


def start_fit(
    study: Study,
    *,
    method: str | None = None,
    seed: int | None = None,
    starts: int | None = None,
    start: str | Path | None = None,
    settings: Mapping[str, str] | None = None,
    solver: str | None = None,
    out: Path | None = None,
    evaluate: bool = False,
) -> FitRun:
    """Claim a folder for a fit, `out` or fits/STUDY/runs/NNN, and freeze the inputs in it.

    `start`: a finished run whose estimates are the initial values; `settings` and `solver`: what the study was loaded with.
    Raises `WrongUsage` or `BadInput`, before anything is written, where the method is unknown or no name of `start` matches.
    """
    from pbpk.estimation.methods import get_method
    from pbpk.estimation.start import apply_starting_values, read_starting_values
    from pbpk.run_folders.find import find_run

    method = get_method(method or study.spec.estimation.method).name
    seed = study.spec.estimation.seed if seed is None else seed
    origin = read_starting_values(find_run(start)) if start else None
    if origin:
        apply_starting_values(study, origin)
    folder = claim_folder(Path("fits") / study.name / "runs", out)
    with keep_progress(folder):
        record = {"method": method, "seed": seed, "starts": starts, "evaluate": evaluate, "started": current_time()}
        _freeze_inputs(folder, study, record, settings or {}, solver)
        if origin:
            folder.write_json("start.json", origin.to_json())
    return FitRun(folder, study, method, seed, starts, origin, evaluate=evaluate)


def _freeze_inputs(
    folder: OutputFolder, study: Study, record: dict[str, Any], settings: Mapping[str, str], solver: str | None
) -> None:
    """Copy the inputs in, and write what a resumed run reads them back by."""
    from pbpk.compile.engine import requested_engine
    from pbpk.study.settings import read_run_settings

    data, model = study.folder / study.spec.data.file, study.model
    sources = {"fit.toml": study.folder / "fit.toml", data.name: data}
    home = f"model/{model.name}"
    frozen = read_run_settings(study.folder) | dict(settings) | {"model": home, "data.file": data.name}
    if study.spec.summary:
        table = study.folder / study.spec.summary.file
        sources, frozen = sources | {table.name: table}, frozen | {"summary.file": table.name}
    sources |= list_model_sources(model, home)
    beside_model, shared = model.folder / "references.bib", model.folder.parent / "references.bib"
    both = {f"{home}/references.bib": beside_model, "model/references.bib": shared}
    sources |= both if beside_model.is_file() else {f"{home}/references.bib": shared}
    hashes = copy_files(folder, sources)
    about = {"study": study.name, "model": model.name, "options": dict(model.options), "nuclide": model.nuclide}
    inputs = {"settings": frozen, "solver": solver, "engine": requested_engine(), "sha256": hashes}
    write_record(folder, about | record | inputs)


def find_unfinished_fit(name: str) -> tuple[OutputFolder, dict[str, Any]]:
    """An interrupted fit, by its folder, by its study (the latest) or by its `--out`; and its run.json.

    Raises `BadInput` where there is none.
    """
    return resume_folder(find_unfinished(name, FIT, _unfinished_fits(name), f"pbpk fit {name}"), FIT)


def _unfinished_fits(name: str) -> Iterator[Path]:
    path = Path(name)
    study = path.resolve().parent.name if path.name == "fit.toml" else path.resolve().name
    yield from list_unfinished(Path("fits") / study / "runs")
    beside = partial_of_out(name)
    if (beside / "run.json").exists():
        yield beside


def resume_fit(folder: OutputFolder, record: Mapping[str, Any]) -> FitRun:
    """A fit that goes on in `folder` as its `record` says it was started, on the inputs that are frozen there."""
    from pbpk.estimation.start import read_starting_values
    from pbpk.run_folders.checkpoint import load_state
    from pbpk.study.load import load_study

    lacking = [key for key in ("solver", "study", "method", "seed") if key not in record]
    if lacking:
        hint = f"begin the fit again:  pbpk fit {record.get('study', 'STUDY')}"
        raise BadInput(f"has no `{lacking[0]}`", where=str(folder.partial / "run.json"), hint=hint)
    verify_inputs(folder.partial, record)
    study = replace(load_study(folder.partial, solver=record["solver"]), name=record["study"])
    start = folder.partial / "start.json"
    return FitRun(
        folder=folder,
        study=study,
        method=record["method"],
        seed=record["seed"],
        starts=record.get("starts"),
        origin=read_starting_values(start) if start.exists() else None,
        checkpoint=load_state(folder),
        evaluate=bool(record.get("evaluate")),
    )


def write_fit(folder: OutputFolder, study: Study, result: Fit) -> None:
    """Write results.json, the tables and the warnings of a fit. The folder is not given its final name yet."""
    import pandas as pd

    folder.write_json("results.json", result.to_json() | {"run": str(folder.final)})
    folder.write("parameters.csv", result.parameters.to_csv(index=False))
    folder.write("sdtab.csv", result.table.to_csv(index=False))
    folder.write("patab.csv", result.individual.to_csv(index=False))
    folder.write("covariance.csv", result.covariance.to_csv())
    folder.write("iterations.csv", pd.DataFrame(result.iterations).to_csv(index=False))
    if study.spec.summary:
        folder.write("summary_table.csv", result.summary.to_csv(index=False))  # type: ignore[attr-defined]
    _write_method_files(folder, result.files)
    folder.write("warnings.txt", "".join(f"{w}\n" for w in (*study.events.notes, *result.warnings)))


def _write_method_files(folder: OutputFolder, files: Mapping[str, Any]) -> None:
    """A method's own tables (CSV) and arrays by name (npz)."""
    for name, content in files.items():
        if isinstance(content, Mapping):
            np.savez_compressed(folder.partial / name, **content)
        else:
            folder.write(name, content.to_csv(index=False))
