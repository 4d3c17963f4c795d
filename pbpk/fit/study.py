"""From `fits/NAME/` to a Study: fit.toml found, read, its settings applied; assemble.py turns it into arrays.

A user's own `fits/` under the current folder wins over the bundled ones. One study is assembled once a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pbpk.data.events import EventTable, read_events
from pbpk.errors import BadInput, did_you_mean
from pbpk.fit.assemble import (
    build_individual,
    build_layout,
    build_problem,
    check_parameters,
    check_units,
    read_endpoints,
    read_voids,
)
from pbpk.fit.problem import Problem, Spec
from pbpk.fit.schema import FitSpec
from pbpk.fit.settings import spec_of
from pbpk.model.load import Model, load_model, places
from pbpk.observe import observable_names
from pbpk.population.records import coherent_overrides
from pbpk.solve.choose import choose_solver


@dataclass(frozen=True, eq=False)
class Study:
    """A loaded study. `scale` turns the natural vector's coherent numbers into shown ones by division."""

    name: str
    folder: Path
    spec: FitSpec
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
    for root in places("fits"):
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


def load_study(name: str | Path, *, settings: Mapping[str, str] | None = None, solver: str | None = None) -> Study:
    """A study by name or folder. `settings` override parameters ("CL": "3") or any entry of fit.toml by its path.

    A run's folder is a study too: its own settings come first, which point at the model and data it was fitted with.
    """
    folder = find_study(name)
    spec = spec_of(folder, settings)
    inside = folder / spec.model  # a study may carry its model, as every run folder does
    carried = (inside / "structure.py").exists()
    model = load_model(
        inside if carried else spec.model, nuclide=spec.nuclide, values=spec.values, options=spec.options
    )
    data = folder / spec.data.file
    stamp = data.stat().st_mtime_ns if data.exists() else 0
    return _assemble(folder, spec.model_dump_json(), model.system, _Held(model), stamp, solver)


class _Held:
    """A model as a cache key: by its structure and numbers."""

    def __init__(self, model: Model):
        self.model = model
        self._key = (model.name, model.folder, model.values.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self._key == other._key


@cache
def _assemble(folder: Path, spec_json: str, system, held: _Held, stamp: int, solver: str | None) -> Study:
    spec, model = FitSpec.model_validate_json(spec_json), held.model
    where = str(folder / "fit.toml")
    endpoints = read_endpoints(spec, model, where)
    check_parameters(spec, model, where)
    events = read_events(
        folder / spec.data.file,
        compartments=system.names,
        parameters=system.parameter_names,
        observables=observable_names(system),
        default_compartment=spec.data.dose_into,
        default_observable=spec.data.observable or (endpoints[0].observable if len(endpoints) == 1 else None),
        columns=spec.data.columns,
        units=spec.data.units,
        ignore=spec.data.ignore,
    )
    events = coherent_overrides(events, model, spec.data.units)
    check_units(spec, model, events, where)
    individual = build_individual(spec, events, where)
    layout, natural, scale, shown, labels = build_layout(spec, model, individual, endpoints, where)
    chosen = choose_solver(system, solver).forward_mode()
    problem = build_problem(
        Spec(system, chosen, individual, layout, endpoints),
        model,
        events,
        natural,
        where,
        given=spec.values,
        voids=read_voids(spec, where),
        between=spec.data.covariates_over_time,
    )
    return Study(folder.name, folder, spec, model, events, problem, scale, shown, labels)
