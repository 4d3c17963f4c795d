"""A validated fit.toml, its model and its records as the pieces of a Problem: endpoints, parameters, layout, arrays."""

from __future__ import annotations

from collections.abc import Collection

import jax.numpy as jnp
import numpy as np

from pbpk import units
from pbpk.data.events import EventTable
from pbpk.errors import BadInput, did_you_mean
from pbpk.fit.layout import Layout, OmegaBlock, Theta
from pbpk.fit.problem import Problem, Spec
from pbpk.fit.residual import MODELS, Endpoint
from pbpk.fit.schema import FitSpec
from pbpk.model.load import Model
from pbpk.model.parameters import DERIVED
from pbpk.observe import display_factor, observable_names, observable_unit
from pbpk.population.covariates import FORMS
from pbpk.population.individual import Factor, Individual, Varying
from pbpk.population.records import by_record, check_dose_unit, covariates_used, parameters_by_record, rows_needed
from pbpk.solve.timeline import Between, build_timeline, moves_events
from pbpk.voids import Void, void


def read_endpoints(spec: FitSpec, model: Model, where: str) -> tuple[Endpoint, ...]:
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


def check_parameters(spec: FitSpec, model: Model, where: str) -> None:
    for name, part in spec.parameters.items():
        if name in model.parameters and model.parameters[name].status == DERIVED:
            raise BadInput(
                f"`{name}` is derived, so it cannot be estimated", where=where, hint=model.parameters[name].source
            )
        if name not in model.parameters:
            raise BadInput(
                f"`parameters.{name}`: the model `{model.name}` has no such parameter",
                where=where,
                hint="; or ".join(
                    filter(None, (did_you_mean(name, model.parameters), f"leave it out:  --set {name}=none"))
                ),
            )
        for e in part.covariates:
            if e.form not in FORMS:
                raise BadInput(f"`{name}`: no covariate form `{e.form}`", where=where, hint=did_you_mean(e.form, FORMS))
            if (e.coefficient is None) == (e.estimate is None) or (e.estimate and e.initial is None):
                raise BadInput(
                    f"`{name}`: the effect of {e.covariate} needs either `coefficient`, or `estimate` with `initial`",
                    where=where,
                )


def check_units(spec: FitSpec, model: Model, events: EventTable, where: str) -> None:
    frame = events.frame
    check_dose_unit(events, model, spec.data.units, f"{where}: data.units")
    if unit := spec.data.units.get("DV"):
        for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
            wanted = observable_unit(model.system, model.parameters, name)
            units.require(unit, wanted, f"DV ({name})", where=f"{where}: data.units")
    for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
        if name not in spec.error:
            raise BadInput(f"`{name}` is observed but has no error model", where=where, hint=f"add [error.{name}]")


def build_individual(spec: FitSpec, events: EventTable, where: str) -> Individual:
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


def build_layout(spec: FitSpec, model: Model, individual: Individual, endpoints: tuple[Endpoint, ...], where: str):
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
    held = tuple(n for e in endpoints if spec.error[e.observable].fixed for n in e.names)
    layout = Layout(tuple(thetas), blocks, tuple(n for e in endpoints for n in e.names), held)
    if len(set(layout.names)) != len(layout.names):
        doubled = next(n for n in layout.names if layout.names.count(n) > 1)
        raise BadInput(f"two estimated parameters are called `{doubled}`", where=where)
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


def read_voids(spec: FitSpec, where: str) -> tuple[Void, ...]:
    out: tuple[Void, ...] = ()
    for part in spec.void:
        try:
            out += void(**part.model_dump()).voids
        except BadInput as e:
            raise BadInput(f"`void`: {e.what}", where=where, why=e.why, hint=e.hint) from None
    return out


def build_problem(
    spec: Spec,
    model: Model,
    events: EventTable,
    natural: np.ndarray,
    where: str,
    *,
    given: Collection[str] = (),
    voids: tuple[Void, ...] = (),
    between: Between = "nocb",
) -> Problem:
    frames = [g for _, g in events.frame.groupby("ID", sort=False)]
    if not any((g["MDV"] == 0).any() for g in frames):
        raise BadInput("holds no observation", where=events.source)
    varied = [
        *spec.individual.overrides,
        *(f.covariate for f in spec.individual.factors),
        *covariates_used(model, events),
    ]
    rows = rows_needed(frames, list(dict.fromkeys(varied)))
    # A covariate that neither the data nor [values] speak of is at no one's value: its effects stay out.
    spoken_of = covariates_used(model, events) | set(given)
    constants = parameters_by_record(model, events, frames, rows, spoken_of)
    covariates = by_record(frames, spec.individual.covariates, rows)
    overrides = by_record(frames, spec.individual.overrides, rows)
    varying = {v.name for v in spec.individual.varying} | set(spec.individual.overrides)
    infusions = bool(((events.frame["RATE"] != 0) | (events.frame["DUR"] > 0)).any())
    moving = moves_events(spec.system, model.values[None, :, None], varying, infusions)
    typical = None
    if moving and (events.frame["SS"] > 0).any():  # what overlaps at steady state is foreseen from the initial values
        theta, _, _ = spec.layout.unpack(jnp.asarray(spec.layout.free(natural)), jnp.asarray(natural))
        u = spec.individual.mixed(theta, jnp.zeros((len(spec.layout.etas), len(frames))), jnp.asarray(covariates[0]))
        arrays = (jnp.asarray(a) for a in (constants, covariates, overrides))
        typical = np.asarray(spec.individual.parameters(spec.system, u, *arrays))
    timeline = build_timeline(frames, spec.system, moving=moving, typical=typical, voids=voids, between=between)
    t, n = timeline.seen.shape
    y, endpoint, row = np.zeros((t, n)), np.zeros((t, n), int), np.zeros((t, n), int)
    names = [e.observable for e in spec.endpoints]
    for i, g in enumerate(frames):
        seen = np.flatnonzero(g["MDV"].to_numpy() == 0)
        y[: len(seen), i] = g["DV"].to_numpy()[seen]
        endpoint[: len(seen), i] = [names.index(d) for d in g["DVID"].to_numpy()[seen]]
        row[: len(seen), i] = seen if rows > 1 else 0
    return Problem(spec, timeline, y, timeline.seen, endpoint, row, covariates, overrides, constants, natural)
