"""From `fits/NAME/` to a `Study`: fit.toml is found and read, its settings applied, its records made arrays (assemble/).

A user's own `fits/` under the current folder wins over the bundled ones. One study is assembled once in a process.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.data.events import EventTable, read_events
from pbpk.errors import BadInput, Note, did_you_mean, require_name
from pbpk.likelihood.problem import ModelStructure, Problem
from pbpk.model.load import Model, list_folders, load_model
from pbpk.observe.readings import select_observables
from pbpk.population.records import convert_overrides
from pbpk.runtime.trust import require_trust
from pbpk.solve.choose import choose_solver
from pbpk.study.assemble.endpoints import read_endpoints
from pbpk.study.assemble.individual_model import build_individual_model, list_text_covariates
from pbpk.study.assemble.layout import build_layout
from pbpk.study.assemble.parameters import check_parameters
from pbpk.study.assemble.priors import read_priors
from pbpk.study.assemble.problem import build_problem
from pbpk.study.assemble.records import (
    check_units,
    mark_samples,
    prepare_records,
    read_row_conditions,
    refuse_silent_overrides,
)
from pbpk.study.data_units import convert_observations
from pbpk.study.kinds import find_study_kind, get_study_loader, list_section_files
from pbpk.study.schema import StudySpec
from pbpk.study.settings import load_spec

if TYPE_CHECKING:
    from pbpk.model.system import System


@dataclass(frozen=True, eq=False)
class Study:
    """A loaded study: its specification, model and records, and the `problem` that estimation works on.

    `scale` turns the natural vector's coherent numbers into shown ones by division; `units` and `labels` are those of its
    entries.
    """

    name: str
    folder: Path
    spec: StudySpec
    model: Model
    events: EventTable
    problem: Problem
    scale: np.ndarray
    units: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def subjects(self) -> list[str]:
        """The IDs in the order of the data, which is that of the problem's columns."""
        return list(self.events.frame["ID"].unique())


def list_studies() -> dict[str, Path]:
    """The folders of all studies by name, the user's own first.

    >>> "theophylline" in pbpk.list_studies()
    True
    """
    studies: dict[str, Path] = {}
    for root in list_folders("fits"):
        for folder in sorted(root.iterdir()):
            if (folder / "fit.toml").exists():
                studies.setdefault(folder.name, folder)
    return studies


def find_study(name: str | Path) -> Path:
    """The folder of a study by its name, its folder or its fit.toml. Raises `BadInput` with the nearest known name."""
    require_name(name, "a study")
    known = list_studies()
    if str(name) in known:
        return known[str(name)]
    folder = Path(name)
    if folder.name == "fit.toml" and folder.exists():
        return folder.parent.resolve()
    if (folder / "fit.toml").exists():
        return folder.resolve()
    if folder.exists():
        raise BadInput("holds no fit.toml, so it is no study", where=str(name))
    raise BadInput(f"no study `{name}`", hint=did_you_mean(str(name), known))


def load_study(
    name: str | Path, *, settings: Mapping[str, str] | None = None, solver: str | None = None, planned: bool = False
) -> Study:
    """Load a study by name or folder. `settings` override parameters ("CL": "3") or any entry of fit.toml by its path.

    `planned`: no DV is needed, and where none is given every observation row stands for a sample (see `mark_samples`).

    A run's folder is a study too: its own settings come first, which point at the model and data it was fitted with.

    >>> pbpk.load_study("theophylline", settings={"CL": "3"}).model.name
    'oral_one_compartment'
    """
    folder = find_study(name)
    spec = load_spec(folder, settings)
    carried = folder / spec.model  # a study may carry its model, as every run folder does
    carries_model = (carried / "structure.py").exists()
    if carries_model:
        require_trust(carried.resolve(), named=False)
    _note_data_elsewhere(folder, spec.data.file)
    model = load_model(
        carried if carries_model else spec.model,
        nuclide=spec.nuclide,
        values=spec.values,
        options=spec.options,
    )
    stamp = _modification_time(folder, (spec.data.file, *list_section_files(spec)))
    return _assemble_study(folder, spec.model_dump_json(), model.system, _ModelKey(model), stamp, solver, planned)


def _note_data_elsewhere(folder: Path, file: str) -> None:
    """Say that a study's data are not in its folder: who sends the folder sends no data, and who gets one may read others'."""
    place = (folder / file).resolve()
    if not place.is_relative_to(folder.resolve()):
        warnings.warn(f"the data of study `{folder.name}` lie outside its folder: {place}", Note, stacklevel=3)


def _modification_time(folder: Path, files: Iterable[str]) -> int:
    """The files' times of modification in ns, added up: part of the key of the cache, so that edited data are read again."""
    return sum((folder / file).stat().st_mtime_ns for file in files if (folder / file).exists())


class _ModelKey:
    """A model as a cache key: by its structure and numbers."""

    def __init__(self, model: Model):
        self.model = model
        self._key = (model.name, model.folder, model.values.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ModelKey) and self._key == other._key


@cache
def _assemble_study(
    folder: Path, spec_json: str, system: System, model_key: _ModelKey, stamp: int, solver: str | None, planned: bool
) -> Study:
    """The study of a specification; the arguments are its key in the cache, `system` among them."""
    spec, model = StudySpec.model_validate_json(spec_json), model_key.model
    if kind := find_study_kind(spec):

        def assemble_individual_data(plain: StudySpec) -> Study:
            return _assemble_study(folder, plain.model_dump_json(), system, model_key, stamp, solver, planned)

        return get_study_loader(kind)(folder, spec, model, solver, assemble_individual_data)
    where = str(folder / "fit.toml")
    declared = read_endpoints(spec, model, where)
    check_parameters(spec, model, where)
    events = read_events(
        folder / spec.data.file,
        compartments=system.held_names,
        parameters=system.parameter_names,
        observables=list(dict.fromkeys([*select_observables(system), *spec.error])),
        default_compartment=spec.data.dose_into,
        default_observable=spec.data.observable or (declared[0].endpoint.name if len(declared) == 1 else None),
        columns=spec.data.columns,
        units={column: unit for column, unit in spec.data.units.items() if column != "DV"}
        | dict.fromkeys(list_text_covariates(spec, where), "text"),
        ignore=[*spec.data.ignore, *read_row_conditions(spec)],
        split_dose_rows=spec.data.split_dose_rows,
        need_dv=not planned,
    )
    events = convert_observations(spec, events, where)
    events = mark_samples(events) if planned else events
    refuse_silent_overrides(spec, events, where)
    events = convert_overrides(events, model, spec.data.units)
    check_units(spec, model, events, where)
    events, declared = prepare_records(spec, model, events, declared, where)
    individual = build_individual_model(spec, model, events, where)
    layout, natural, scale, units, labels = build_layout(spec, model, individual, declared, where)
    individual = replace(individual, order=layout.etas)
    priors = read_priors(spec, layout, natural, scale, where)
    endpoints = tuple(d.endpoint for d in declared)
    structure = ModelStructure(
        system, choose_solver(system, solver).forward_mode(), individual, layout, endpoints, priors
    )
    problem = build_problem(structure, spec, model, events, natural, where)
    return Study(folder.name, folder, spec, model, events, problem, scale, units, labels)


def replace_spec(study: Study, spec: StudySpec) -> Study:
    """The same study under another specification of its parameters: same model, same records, same solver."""
    stamp = _modification_time(study.folder, (spec.data.file,))
    key, solver = _ModelKey(study.model), study.problem.structure.solver.name
    other = _assemble_study(study.folder, spec.model_dump_json(), study.model.system, key, stamp, solver, False)
    return replace(other, name=study.name)


def replace_records(study: Study, frame: pd.DataFrame) -> Problem:
    """The problem of the same study with other records: a frame of the same columns, in coherent units."""
    events = replace(study.events, frame=frame)
    initial, where = np.asarray(study.problem.initial), str(study.folder / "fit.toml")
    return build_problem(study.problem.structure, study.spec, study.model, events, initial, where)
