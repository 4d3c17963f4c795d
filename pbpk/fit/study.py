"""From `fits/NAME/` to a Problem: fit.toml and its data, read, checked and turned into arrays.

A user's own `fits/` under the current folder wins over the bundled ones. One study is assembled once a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pbpk import units
from pbpk.data.events import EventTable, read_events
from pbpk.errors import BadInput, did_you_mean
from pbpk.fit.layout import Layout, OmegaBlock, Theta
from pbpk.fit.problem import Problem, Spec
from pbpk.fit.residual import MODELS, Endpoint
from pbpk.fit.schema import FitSpec, read_spec
from pbpk.model.load import Model, load_model, places
from pbpk.model.parameters import read_number
from pbpk.observe import display_factor, observable_names, observable_unit
from pbpk.population.covariates import FORMS
from pbpk.population.individual import Factor, Individual, Varying
from pbpk.population.records import by_record, coherent_overrides, rows_needed
from pbpk.solve.choose import choose_solver
from pbpk.solve.timeline import build_timeline, moves_events
from pbpk.tables import read_toml


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
    """A study by name or folder. `settings` override parameters ("CL": "3") or any entry of fit.toml by its path."""
    folder = find_study(name)
    spec = read_spec(_with_settings(read_toml(folder / "fit.toml"), settings or {}, folder), folder / "fit.toml")
    own = folder / "model" / "structure.py"  # a run folder carries the model it was fitted with
    model_name = str(own.parent) if own.exists() else spec.model
    inside = folder / spec.model / "structure.py"
    if inside.exists():
        model_name = str(inside.parent)
    model = load_model(model_name, nuclide=spec.nuclide, values=spec.values)
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


def _with_settings(data: dict, settings: Mapping[str, str], folder: Path) -> dict:
    parameters = data.get("parameters", {})
    for key, text in settings.items():
        value = _plain(text)
        if key in parameters:
            parameters[key]["initial"] = value
            continue
        if "." not in key and key not in data:
            data.setdefault("values", {})[key] = value
            continue
        *path, last = key.split(".")
        inner = data
        for step in path:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise BadInput(f"`{key}` leads nowhere", where=str(folder / "fit.toml"))
        inner[last] = value
    return data


def _plain(text: str):
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number, unit = read_number(text)
    except ValueError:
        return text
    return text if unit else number


@cache
def _assemble(folder: Path, spec_json: str, system, held: _Held, stamp: int, solver: str | None) -> Study:
    spec, model = FitSpec.model_validate_json(spec_json), held.model
    where = str(folder / "fit.toml")
    endpoints = _endpoints(spec, model, where)
    _check_parameters(spec, model, where)
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
    _check_units(spec, model, events, where)
    individual = _individual(spec, events, where)
    layout, natural, scale, shown, labels = _layout(spec, model, individual, endpoints, where)
    chosen = choose_solver(system, solver).forward_mode()
    problem = _problem(Spec(system, chosen, individual, layout, endpoints), model, events, natural, where)
    return Study(folder.name, folder, spec, model, events, problem, scale, shown, labels)


def _endpoints(spec: FitSpec, model: Model, where: str) -> tuple[Endpoint, ...]:
    if not spec.error:
        raise BadInput("no residual error is given", where=where, hint='[error.cp] model = "additive", add = 1.0')
    out = []
    for name, part in spec.error.items():
        observable_names(model.system, [name])
        if part.model not in MODELS:
            hint = did_you_mean(part.model, MODELS)
            raise BadInput(f"`error.{name}`: no error model `{part.model}`", where=where, hint=hint)
        wanted = MODELS[part.model][0]
        given = tuple(k for k in ("add", "prop") if getattr(part, k) is not None)
        if set(given) != set(wanted):
            raise BadInput(
                f"`error.{name}`: {part.model} needs {', '.join(wanted)}; given {given or 'none'}", where=where
            )
        suffix = f"_{name}" if len(spec.error) > 1 else ""
        out.append(Endpoint(name, part.model, tuple(w + suffix for w in wanted)))
    return tuple(out)


def _check_parameters(spec: FitSpec, model: Model, where: str) -> None:
    for name, part in spec.parameters.items():
        if name not in model.parameters:
            raise BadInput(
                f"`parameters.{name}`: the model `{model.name}` has no such parameter",
                where=where,
                hint=did_you_mean(name, model.parameters),
            )
        for e in part.covariates:
            if e.form not in FORMS:
                raise BadInput(f"`{name}`: no covariate form `{e.form}`", where=where, hint=did_you_mean(e.form, FORMS))
            if (e.coefficient is None) == (e.estimate is None) or (e.estimate and e.initial is None):
                raise BadInput(
                    f"`{name}`: the effect of {e.covariate} needs either `coefficient`, or `estimate` with `initial`",
                    where=where,
                )


def _check_units(spec: FitSpec, model: Model, events: EventTable, where: str) -> None:
    frame = events.frame
    if unit := spec.data.units.get("AMT"):
        for place in frame.loc[frame["AMT"] > 0, "CMT"].unique():
            wanted = model.system.compartments[model.system.index(place)].unit
            units.require(unit, wanted, "AMT", where=f"{where}: data.units")
    if unit := spec.data.units.get("DV"):
        for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
            wanted = observable_unit(model.system, model.parameters, name)
            units.require(unit, wanted, f"DV ({name})", where=f"{where}: data.units")
    for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
        if name not in spec.error:
            raise BadInput(f"`{name}` is observed but has no error model", where=where, hint=f"add [error.{name}]")


def _individual(spec: FitSpec, events: EventTable, where: str) -> Individual:
    factors, used = [], []
    for name, part in spec.parameters.items():
        for e in part.covariates:
            if e.covariate not in events.covariates:
                raise BadInput(
                    f"`{name}`: the data have no covariate `{e.covariate}`",
                    where=where,
                    hint=did_you_mean(e.covariate, events.covariates),
                )
            changes = bool((events.frame.groupby("ID")[e.covariate].nunique() > 1).any())
            coefficient = e.estimate if e.estimate else float(e.coefficient or 0.0)
            factors.append(Factor(name, e.covariate, e.form, e.reference, coefficient, changes))
            used.append(e.covariate)
    varying = tuple(Varying(n, p.distribution, p.iiv is not None) for n, p in spec.parameters.items())
    return Individual(varying, tuple(factors), tuple(dict.fromkeys(used)), events.overrides)


def _layout(spec: FitSpec, model: Model, individual: Individual, endpoints: tuple[Endpoint, ...], where: str):
    """The layout, initial natural values (coherent), their scale to shown units, units and labels."""
    thetas, natural, scale, shown, labels = [], [], [], [], []
    for name, part in spec.parameters.items():
        row = model.parameters[name]
        if part.initial is not None:
            row = model.parameters.with_values({name: part.initial})[name]
        positive = part.distribution == "lognormal"
        if positive and row.value <= 0:
            raise BadInput(f"`parameters.{name}`: a log-normal parameter must start above zero", where=where)
        thetas.append(Theta(name, positive, part.fixed))
        natural.append(row.internal)
        scale.append(units.factor(row.unit))
        shown.append(row.unit)
        labels.append(part.label or row.about)
    for name, part in spec.parameters.items():
        for e in part.covariates:
            if e.estimate:
                thetas.append(Theta(e.estimate, False))
                natural.append(float(e.initial or 0.0))
                scale.append(1.0)
                shown.append("1")
                labels.append(f"effect of {e.covariate} on {name} ({e.form}, reference {e.reference:g})")
    blocks = _blocks(spec, individual.etas, where)
    if tuple(e for b in blocks for e in b.etas) != individual.etas:
        raise AssertionError("random effects and blocks must have one order")
    size = {
        n: units.factor(model.parameters[n].unit) if p.distribution == "normal" else 1.0
        for n, p in spec.parameters.items()
    }
    for block in blocks:
        for i, a in enumerate(block.etas):
            for b in block.etas[: i + 1]:
                given = spec.omega.covariances.get(f"{a},{b}", spec.omega.covariances.get(f"{b},{a}", 0.0))
                value = float(spec.parameters[a].iiv or 0.0) if a == b else given
                natural.append(value * size[a] * size[b])
                scale.append(size[a] * size[b])
                shown.append("1" if size[a] * size[b] == 1.0 else f"({model.parameters[a].unit})**2")
                labels.append(f"variance of η on {a}" if a == b else f"covariance of η on {b} and {a}")
    for e in endpoints:
        part = spec.error[e.observable]
        for kind in MODELS[e.model][0]:
            factor = display_factor(model.system, model.parameters, e.observable) if kind == "add" else 1.0
            natural.append(float(getattr(part, kind)) * factor)
            scale.append(factor)
            shown.append(observable_unit(model.system, model.parameters, e.observable) if kind == "add" else "1")
            kinds = {"add": "additive", "prop": "proportional"}
            labels.append(f"{kinds[kind]} residual SD of {e.observable}")
    layout = Layout(tuple(thetas), blocks, tuple(n for e in endpoints for n in e.names))
    if len(set(layout.names)) != len(layout.names):
        doubled = next(n for n in layout.names if layout.names.count(n) > 1)
        raise BadInput(f"two estimated parameters are called `{doubled}`", where=where)
    if layout.fixed.all():
        raise BadInput("every parameter is fixed: there is nothing to estimate", where=where)
    return layout, np.array(natural), np.array(scale), tuple(shown), tuple(labels)


def _blocks(spec: FitSpec, etas: tuple[str, ...], where: str) -> tuple[OmegaBlock, ...]:
    """The blocks asked for and singletons for the rest, in the order of η; a block's members must stand together."""
    inside: dict[str, list[str]] = {}
    for block in spec.omega.blocks:
        for name in block:
            if name not in etas:
                raise BadInput(f"`omega.blocks`: {name} has no iiv", where=where, hint=did_you_mean(name, etas))
            if name in inside:
                raise BadInput(f"`omega.blocks`: {name} is in two blocks", where=where)
            inside[name] = block
    out, done = [], set()
    for name in etas:
        if name in done:
            continue
        members = [e for e in etas if e in inside.get(name, [name])]
        start = etas.index(members[0])
        if etas[start : start + len(members)] != tuple(members):
            raise BadInput(
                f"`omega.blocks`: {', '.join(members)} must be neighbours under [parameters]",
                where=where,
                hint="list the correlated parameters one after another",
            )
        out.append(OmegaBlock(tuple(members), all(spec.parameters[m].iiv_fixed for m in members)))
        done |= set(members)
    return tuple(out)


def _problem(spec: Spec, model: Model, events: EventTable, natural: np.ndarray, where: str) -> Problem:
    frames = [g for _, g in events.frame.groupby("ID", sort=False)]
    if not any((g["MDV"] == 0).any() for g in frames):
        raise BadInput("holds no observation", where=events.source)
    varied = [*spec.individual.overrides, *(f.covariate for f in spec.individual.factors)]
    rows = rows_needed(frames, varied)
    covariates = by_record(frames, spec.individual.covariates, rows)
    overrides = by_record(frames, spec.individual.overrides, rows)
    varying = {v.name for v in spec.individual.varying} | set(spec.individual.overrides)
    infusions = bool(((events.frame["RATE"] > 0) | (events.frame["DUR"] > 0)).any())
    moving = moves_events(spec.system, model.values[None, :, None], varying, infusions)
    timeline = build_timeline(frames, spec.system, moving=moving)
    t, n = timeline.seen.shape
    y, endpoint, row = np.zeros((t, n)), np.zeros((t, n), int), np.zeros((t, n), int)
    names = [e.observable for e in spec.endpoints]
    for i, g in enumerate(frames):
        seen = np.flatnonzero(g["MDV"].to_numpy() == 0)
        y[: len(seen), i] = g["DV"].to_numpy()[seen]
        endpoint[: len(seen), i] = [names.index(d) for d in g["DVID"].to_numpy()[seen]]
        row[: len(seen), i] = seen if rows > 1 else 0
    return Problem(spec, timeline, y, timeline.seen, endpoint, row, covariates, overrides, model.values, natural)
