"""From `fits/NAME/` to a Study: fit.toml found, read, its settings applied; assemble.py turns it into arrays.

A user's own `fits/` under the current folder wins over the bundled ones. One study is assembled once a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from pbpk.data.events import EventTable, read_events
from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.problem import ModelStructure, Problem
from pbpk.model.load import Model, list_folders, load_model
from pbpk.observe.readings import select_observables
from pbpk.population.records import convert_overrides
from pbpk.solve.choose import choose_solver
from pbpk.study.assemble import (
    build_individual,
    build_layout,
    build_problem,
    check_parameters,
    check_units,
    read_endpoints,
    read_priors,
    settle_records,
)
from pbpk.study.schema import StudySpec
from pbpk.study.settings import load_spec


@dataclass(frozen=True, eq=False)
class Study:
    """A loaded study. `scale` turns the natural vector's coherent numbers into shown ones by division."""

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
        return list(self.events.frame["ID"].unique())


def list_studies() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in list_folders("fits"):
        for folder in sorted(root.iterdir()):
            if (folder / "fit.toml").exists():
                found.setdefault(folder.name, folder)
    return found


def find_study(name: str | Path) -> Path:
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
    """A study by name or folder. `settings` override parameters ("CL": "3") or any entry of fit.toml by its path.

    `planned`: no DV is needed, and where none is given every observation row stands for a sample (see `as_samples`).

    A run's folder is a study too: its own settings come first, which point at the model and data it was fitted with.
    """
    folder = find_study(name)
    spec = load_spec(folder, settings)
    inside = folder / spec.model  # a study may carry its model, as every run folder does
    carried = (inside / "structure.py").exists()
    model = load_model(
        inside if carried else spec.model, nuclide=spec.nuclide, values=spec.values, options=spec.options
    )
    data = folder / spec.data.file
    stamp = data.stat().st_mtime_ns if data.exists() else 0
    if spec.summary and (folder / spec.summary.file).exists():
        stamp += (folder / spec.summary.file).stat().st_mtime_ns
    return _assemble_study(folder, spec.model_dump_json(), model.system, _ModelKey(model), stamp, solver, planned)


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
    folder: Path, spec_json: str, system, held: _ModelKey, stamp: int, solver: str | None, planned: bool
) -> Study:
    spec, model = StudySpec.model_validate_json(spec_json), held.model
    where = str(folder / "fit.toml")
    if spec.summary:
        from pbpk.aggregate_data.study import study_with_summary

        return study_with_summary(
            *(folder, spec, model, solver),
            lambda plain: _assemble_study(folder, plain.model_dump_json(), system, held, stamp, solver, planned),
        )
    declared = read_endpoints(spec, model, where)
    check_parameters(spec, model, where)
    events = read_events(
        folder / spec.data.file,
        compartments=system.names,
        parameters=system.parameter_names,
        observables=list(dict.fromkeys([*select_observables(system), *spec.error])),
        default_compartment=spec.data.dose_into,
        default_observable=spec.data.observable or (declared[0].endpoint.name if len(declared) == 1 else None),
        columns=spec.data.columns,
        units=spec.data.units,
        ignore=spec.data.ignore,
        need_dv=not planned,
    )
    events = mark_samples(events) if planned else events
    events = convert_overrides(events, model, spec.data.units)
    check_units(spec, model, events, where)
    events, declared = settle_records(spec, model, events, declared, where)
    individual = build_individual(spec, model, events, where)
    layout, natural, scale, shown, labels = build_layout(spec, model, individual, declared, where)
    individual = replace(individual, order=layout.etas)
    priors = read_priors(spec, layout, natural, scale, where)
    endpoints = tuple(d.endpoint for d in declared)
    chosen = choose_solver(system, solver).forward_mode()
    problem = _state(
        ModelStructure(system, chosen, individual, layout, endpoints, priors), spec, model, events, natural, where
    )
    return Study(folder.name, folder, spec, model, events, problem, scale, shown, labels)


def _state(
    structure: ModelStructure, spec: StudySpec, model: Model, events: EventTable, natural: np.ndarray, where: str
) -> Problem:
    return build_problem(structure, spec, model, events, natural, where)


def replace_spec(study: Study, spec: StudySpec) -> Study:
    """The same study under another specification of its parameters: same model, same records, same solver."""
    data = study.folder / spec.data.file
    stamp = data.stat().st_mtime_ns if data.exists() else 0
    held, solver = _ModelKey(study.model), study.problem.structure.solver.name
    found = _assemble_study(study.folder, spec.model_dump_json(), study.model.system, held, stamp, solver, False)
    return replace(found, name=study.name)


def replace_records(study: Study, frame: pd.DataFrame) -> Problem:
    """The problem of the same study with other records: a frame of the same columns, in coherent units."""
    events = replace(study.events, frame=frame)
    initial, where = np.asarray(study.problem.initial), str(study.folder / "fit.toml")
    return _state(study.problem.structure, study.spec, study.model, events, initial, where)


def mark_samples(events: EventTable) -> EventTable:
    """A table without a single DV is a design: each of its observation rows is a sample to be taken (DV 0 stands for it)."""
    frame = events.frame
    if (frame["MDV"] == 0).any():
        return events
    sampled = frame["EVID"] == 0
    changed = frame.assign(MDV=(~sampled).astype(int), DV=frame["DV"].mask(sampled, 0.0))
    return replace(events, frame=changed)
