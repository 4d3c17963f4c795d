"""A validated fit.toml, its model and its records as the pieces of a Problem: endpoints, parameters, layout, arrays."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.endpoints.declared import DeclaredEndpoint, declare_endpoint
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.mixture import class_probability_names, repeat_by_class
from pbpk.likelihood.parameter_layout import OmegaBlock, ParameterLayout, Theta
from pbpk.likelihood.priors import PRIORS, InverseWishartPrior, PlacedPrior
from pbpk.likelihood.problem import ModelStructure, Problem
from pbpk.model.parameters import DERIVED
from pbpk.observe import find_display_factor, find_observable_unit, select_observables
from pbpk.population.covariates import FORMS
from pbpk.population.distributions import DISTRIBUTIONS
from pbpk.population.individual import CovariateFactor, IndividualModel, VaryingParameter
from pbpk.population.records import (
    build_parameters_by_record,
    check_dose_unit,
    count_rows_needed,
    find_covariates_used,
    stack_by_record,
)
from pbpk.regimen.regimen import Void
from pbpk.regimen.void import void
from pbpk.solve.timeline import build_timeline, moves_events
from pbpk.study.observed_arrays import has_limits, is_in_data_unit, mark_censored, read_observed

if TYPE_CHECKING:
    from pbpk.data.events import EventTable
    from pbpk.likelihood.endpoints.base import EndpointParameter
    from pbpk.model.load import Model
    from pbpk.study.schema import ParameterPart, StudySpec


def read_endpoints(spec: StudySpec, model: Model, where: str) -> tuple[DeclaredEndpoint, ...]:
    if not spec.error:
        raise BadInput("no residual error is given", where=where, hint='[error.cp] model = "additive", add = 1.0')
    out = []
    for name, part in spec.error.items():
        select_observables(model.system, [part.observable or name, *([part.hazard] if part.hazard else [])])
        out.append(declare_endpoint(name, part, f"_{name}" if len(spec.error) > 1 else "", where))
    return tuple(out)


def check_parameters(spec: StudySpec, model: Model, where: str) -> None:
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
        _check_distribution(name, part, where)
        for e in part.covariates:
            if e.form not in FORMS:
                raise BadInput(f"`{name}`: no covariate form `{e.form}`", where=where, hint=did_you_mean(e.form, FORMS))
            if (e.coefficient is None) == (e.estimate is None) or (e.estimate and e.initial is None):
                raise BadInput(
                    f"`{name}`: the effect of {e.covariate} needs either `coefficient`, or `estimate` with `initial`",
                    where=where,
                )


def settle_records(
    spec: StudySpec, model: Model, events: EventTable, declared: tuple[DeclaredEndpoint, ...], where: str
) -> tuple[EventTable, tuple[DeclaredEndpoint, ...]]:
    """The table with censored values marked, occasions numbered and a mixture's covariate in it; endpoints that know limits."""
    events = mark_censored(spec, model, events)
    if any(p.iov is not None for p in spec.parameters.values()) and spec.data.occasion in events.covariates:
        events = number_occasions(events, spec.data.occasion)
    if spec.mixture is not None:
        name, chances = spec.mixture.covariate, spec.mixture.probabilities
        if len(chances) < 2 or min(chances) <= 0 or abs(sum(chances) - 1) > 1e-6:
            hint = "probabilities = [0.3, 0.7]"
            raise BadInput("`mixture.probabilities` must be two or more and sum to 1", where=where, hint=hint)
        if name in events.covariates:
            raise BadInput(f"the data have a column `{name}`, so it is no class that nobody observed", where=where)
        events = replace(events, frame=events.frame.assign(**{name: 1.0}), covariates=(*events.covariates, name))
    out = []
    for d in declared:
        own = events.frame[(events.frame["MDV"] == 0) & (events.frame["DVID"] == d.endpoint.name)]
        limited = has_limits(spec.error[d.endpoint.name], own)
        if limited and not isinstance(d.endpoint, GaussianEndpoint):
            raise BadInput(f"`{d.endpoint.name}`: only a continuous endpoint can be censored by CENS", where=where)
        out.append(replace(d, endpoint=replace(d.endpoint, has_limits=True)) if limited else d)
    return events, tuple(out)


def _check_distribution(name: str, part: ParameterPart, where: str) -> None:
    known = DISTRIBUTIONS.get(part.distribution)
    if known is None:
        hint = did_you_mean(part.distribution, DISTRIBUTIONS)
        raise BadInput(f"`parameters.{name}`: no distribution `{part.distribution}`", where=where, hint=hint)
    if known.bounded and (part.lower is None or part.upper is None):
        hint = f'[parameters.{name}] distribution = "{part.distribution}", lower = 0, upper = 1'
        raise BadInput(
            f"`parameters.{name}`: a {part.distribution} parameter needs `lower` and `upper`", where=where, hint=hint
        )
    if part.shape is not None and known.shape is None:
        raise BadInput(f"`parameters.{name}`: a {part.distribution} distribution has no `shape`", where=where)
    if part.distribution != "normal" and known.shape is not None and part.iiv is None and part.iov is None:
        raise BadInput(f"`parameters.{name}`: a distribution without `iiv` or `iov` has nothing to shape", where=where)


def check_units(spec: StudySpec, model: Model, events: EventTable, where: str) -> None:
    frame = events.frame
    check_dose_unit(events, model, spec.data.units, f"{where}: data.units")
    if unit := spec.data.units.get("DV"):
        for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
            part = spec.error.get(name)
            if part is not None and not is_in_data_unit(part):
                continue
            reads = (part.observable if part else None) or name
            wanted = find_observable_unit(model.system, model.parameters, reads)
            units.require_dimension(unit, wanted, f"DV ({name})", where=f"{where}: data.units")
    for name in frame.loc[frame["MDV"] == 0, "DVID"].unique():
        if name not in spec.error:
            raise BadInput(f"`{name}` is observed but has no error model", where=where, hint=f"add [error.{name}]")


def build_individual(spec: StudySpec, model: Model, events: EventTable, where: str) -> IndividualModel:
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
            factors.append(CovariateFactor(name, e.covariate, e.form, e.reference, coefficient, changes))
            used.append(e.covariate)
    occasions = _occasions(spec, events, where)
    varying = []
    for name, part in spec.parameters.items():
        low, high = _ends(name, part, model)
        shape = DISTRIBUTIONS[part.distribution].shape
        own = f"{name}_{shape[0]}" if shape else None
        times = occasions if part.iov is not None else 0
        varying.append(
            VaryingParameter(name, part.distribution, part.iiv is not None, times, own, low or 0.0, high or 1.0)
        )
    if occasions:
        used.append(spec.data.occasion)
    occasion = spec.data.occasion if occasions else None
    return IndividualModel(tuple(varying), tuple(factors), tuple(dict.fromkeys(used)), events.overrides, occasion)


def _occasions(spec: StudySpec, events: EventTable, where: str) -> int:
    """How many occasions the subject with the most has; 0 where no parameter varies between them."""
    named = [n for n, p in spec.parameters.items() if p.iov is not None]
    if not named:
        return 0
    column = spec.data.occasion
    if column not in events.covariates:
        hint = did_you_mean(column, events.covariates) or 'name it:  [data] occasion = "VISIT"'
        raise BadInput(f"`{named[0]}` has `iov`, but the data have no column `{column}`", where=where, hint=hint)
    most = int(events.frame.groupby("ID")[column].nunique().max())
    if most < 2:
        why = "with one occasion a subject, variation between occasions cannot be told from that between subjects"
        raise BadInput(f"`{named[0]}` has `iov`, but no subject has two occasions in `{column}`", where=where, why=why)
    return most


def number_occasions(events: EventTable, column: str) -> EventTable:
    """The occasions of each subject as 0, 1, 2 … in the order they come."""
    numbered = events.frame.groupby("ID", sort=False)[column].transform(lambda c: pd.factorize(c)[0]).astype(float)
    return replace(events, frame=events.frame.assign(**{column: numbered}))


def _ends(name: str, part: ParameterPart, model: Model) -> tuple[float | None, float | None]:
    """`lower` and `upper`, coherent."""
    return tuple(  # type: ignore[return-value]
        None if end is None else model.parameters.with_values({name: end})[name].internal
        for end in (part.lower, part.upper)
    )


class NaturalEntry(NamedTuple):
    """One entry of the natural vector: its coherent value, how many coherent units its shown unit is, that unit, its label."""

    value: float
    scale: float
    unit: str
    label: str


def build_layout(
    spec: StudySpec, model: Model, individual: IndividualModel, endpoints: tuple[DeclaredEndpoint, ...], where: str
):
    """The layout, initial natural values (coherent), their scale to shown units, units and labels."""
    thetas: list[tuple[Theta, NaturalEntry]] = []
    for name, part in spec.parameters.items():
        thetas.append(_typical(name, part, model, where))
    for v in individual.varying:
        if v.shape and v.is_random:
            part, (word, start) = spec.parameters[v.name], DISTRIBUTIONS[v.distribution].shape or ("", 0.0)
            value = start if part.shape is None else part.shape
            theta = Theta(v.shape, word == "df", part.shape_fixed, (2.0, inf) if word == "df" else None)
            thetas.append((theta, NaturalEntry(value, 1.0, "1", f"{word} of the distribution of η on {v.name}")))
    for name, part in spec.parameters.items():
        for e in part.covariates:
            if e.estimate:
                label = f"effect of {e.covariate} on {name} ({e.form}, reference {e.reference:g})"
                thetas.append((Theta(e.estimate, False), NaturalEntry(float(e.initial or 0.0), 1.0, "1", label)))
    if spec.mixture is not None:
        chances = spec.mixture.probabilities
        for k, name in enumerate(class_probability_names(len(chances)), start=1):
            theta = Theta(name, False, spec.mixture.fixed, (0.0, 1.0))
            thetas.append((theta, NaturalEntry(chances[k - 1], 1.0, "1", f"probability of class {k}")))
    sigmas: list[tuple[str, bool, NaturalEntry]] = []
    for d in endpoints:
        for argument, value, held in d.parameters:
            shown = _shown(argument, value, model, d.endpoint.observable)
            if argument.role == "sd":
                sigmas.append((argument.name, held, shown))
            else:
                bounds = (0.0, 1.0) if argument.role == "share" else None
                thetas.append((Theta(argument.name, argument.role == "positive", held, bounds), shown))
    blocks, omegas = _omegas(spec, model, individual, where)
    held = tuple(n for n, still, _ in sigmas if still)
    layout = ParameterLayout(tuple(t for t, _ in thetas), blocks, tuple(n for n, _, _ in sigmas), held)
    if len(set(layout.names)) != len(layout.names):
        doubled = next(n for n in layout.names if layout.names.count(n) > 1)
        raise BadInput(f"two estimated parameters are called `{doubled}`", where=where)
    entries = [*(x for _, x in thetas), *omegas, *(x for _, _, x in sigmas)]
    natural, scale = (np.array(c, dtype=float) for c in zip(*((x.value, x.scale) for x in entries), strict=True))
    return layout, natural, scale, tuple(x.unit for x in entries), tuple(x.label for x in entries)


def _typical(name: str, part: ParameterPart, model: Model, where: str) -> tuple[Theta, NaturalEntry]:
    row = model.parameters[name]
    if part.initial is not None:
        row = model.parameters.with_values({name: part.initial})[name]
    low, high = _ends(name, part, model)
    positive = DISTRIBUTIONS[part.distribution].multiplies
    bounds = None
    if low is not None or high is not None:
        bounds = (low if low is not None else 0.0 if positive else -inf, inf if high is None else high)
        if not bounds[0] < row.internal < bounds[1]:
            raise BadInput(f"`parameters.{name}` must start between its `lower` and `upper`", where=where)
    elif positive and row.value <= 0:
        raise BadInput(f"`parameters.{name}`: a log-normal parameter must start above zero", where=where)
    shown = NaturalEntry(row.internal, units.unit_factor(row.unit), row.unit, part.label or row.about)
    return Theta(name, positive, part.fixed, bounds), shown


def _shown(a: EndpointParameter, value: float, model: Model, observable: str) -> NaturalEntry:
    factor = find_display_factor(model.system, model.parameters, observable)
    unit = find_observable_unit(model.system, model.parameters, observable)
    scale = {"observable": factor, "1/observable": 1 / factor}.get(a.unit, 1.0)
    shown = {"observable": unit, "1/observable": f"1/({unit})"}.get(a.unit, a.unit)
    return NaturalEntry(value * scale, scale, shown, a.about)


def _omegas(
    spec: StudySpec, model: Model, individual: IndividualModel, where: str
) -> tuple[tuple[OmegaBlock, ...], list[NaturalEntry]]:
    """The blocks of Ω, those of occasions last, and their entries."""
    between = tuple(v.name for v in individual.varying if v.random)
    within = {v.name: v.occasions for v in individual.varying if v.occasions}
    blocks = _blocks(spec.omega.blocks, between, "iiv", spec, where)
    copies = max(within.values(), default=0)
    blocks += tuple(
        replace(b, copies=copies) for b in _blocks(spec.omega.iov_blocks, tuple(within), "iov", spec, where)
    )
    size = {
        n: 1.0 if p.distribution != "normal" else units.unit_factor(model.parameters[n].unit)
        for n, p in spec.parameters.items()
    }
    entries = []
    for block in blocks:
        table = spec.omega.iov_covariances if block.occasions else spec.omega.covariances
        of = " between occasions" if block.occasions else ""
        for i, a in enumerate(block.etas):
            for b in block.etas[: i + 1]:
                own = (spec.parameters[a].iov if block.occasions else spec.parameters[a].iiv) or 0.0
                value = own if a == b else table.get(f"{a},{b}", table.get(f"{b},{a}", 0.0))
                scale = size[a] * size[b]
                unit = "1" if scale == 1.0 else f"({model.parameters[a].unit})**2"
                what = f"variance of η on {a}{of}" if a == b else f"covariance of η on {b} and {a}{of}"
                entries.append(NaturalEntry(value * scale, scale, unit, what))
        _check_definite(block, spec, table, where)
    return blocks, entries


def _check_definite(block: OmegaBlock, spec: StudySpec, table: dict[str, float], where: str) -> None:
    k = len(block.etas)
    omega = np.zeros((k, k))
    for i, a in enumerate(block.etas):
        for j, b in enumerate(block.etas):
            own = (spec.parameters[a].iov if block.occasions else spec.parameters[a].iiv) or 0.0
            omega[i, j] = own if i == j else table.get(f"{a},{b}", table.get(f"{b},{a}", 0.0))
    if np.linalg.eigvalsh(omega).min() <= 0:
        raise BadInput(
            f"the initial Ω of {', '.join(block.etas)} is not positive definite",
            where=f"{where}: omega.{'iov_' if block.occasions else ''}covariances",
            why="a covariance is larger than the two variances allow",
            hint="a covariance must stay below the root of the product of its variances",
        )


def _blocks(
    asked: list[list[str]], etas: tuple[str, ...], kind: str, spec: StudySpec, where: str
) -> tuple[OmegaBlock, ...]:
    """The blocks asked for and singletons for the rest, in the order of η; a block's members must stand together."""
    inside: dict[str, list[str]] = {}
    setting = "omega.blocks" if kind == "iiv" else "omega.iov_blocks"
    for block in asked:
        for name in block:
            if name not in etas:
                raise BadInput(f"`{setting}`: {name} has no {kind}", where=where, hint=did_you_mean(name, etas))
            if name in inside:
                raise BadInput(f"`{setting}`: {name} is in two blocks", where=where)
            inside[name] = block
    out, done = [], set()
    for name in etas:
        if name in done:
            continue
        members = [e for e in etas if e in inside.get(name, [name])]
        start = etas.index(members[0])
        if etas[start : start + len(members)] != tuple(members):
            raise BadInput(
                f"`{setting}`: {', '.join(members)} must be neighbours under [parameters]",
                where=where,
                hint="list the correlated parameters one after another",
            )
        fixed = all(spec.parameters[m].iiv_fixed if kind == "iiv" else spec.parameters[m].iov_fixed for m in members)
        out.append(OmegaBlock(tuple(members), fixed))
        done |= set(members)
    return tuple(out)


def read_priors(
    spec: StudySpec, layout: ParameterLayout, natural: np.ndarray, scale: np.ndarray, where: str
) -> tuple[PlacedPrior, ...]:
    """Priors in coherent units, each at its place in the natural vector."""
    out, names = [], layout.names
    for name, part in spec.priors.items():
        if name not in names:
            hint = did_you_mean(name, names)
            raise BadInput(f"`priors.{name}`: no parameter of this fit is called that", where=where, hint=hint)
        if part.distribution not in PRIORS:
            hint = did_you_mean(part.distribution, PRIORS)
            raise BadInput(f"`priors.{name}`: no distribution `{part.distribution}`", where=where, hint=hint)
        kind, takes = PRIORS[part.distribution]
        given = {k for k in ("value", "sd", "df", "low", "high") if getattr(part, k) is not None}
        if given != set(takes):
            raise BadInput(f"`priors.{name}`: {part.distribution} needs {', '.join(takes)}", where=where)
        at = names.index(name)
        if kind is InverseWishartPrior:
            out.append(_wishart(name, part.df or 0.0, layout, natural, where))
            continue
        factor = float(scale[at])
        free = ("sd",) if part.distribution == "lognormal" else ()  # a lognormal's sd is that of the logarithm
        numbers = [float(getattr(part, k)) * (1.0 if k in free else factor) for k in takes]
        if part.distribution == "lognormal" and numbers[0] <= 0:
            raise BadInput(f"`priors.{name}`: the median of a log-normal must be above zero", where=where)
        out.append(PlacedPrior(name, (at,), kind(*numbers)))
    return tuple(out)


def _wishart(name: str, df: float, layout: ParameterLayout, natural: np.ndarray, where: str) -> PlacedPrior:
    """On the whole block, around its initial values."""
    for block in layout.blocks:
        if name in block.names:
            places = tuple(layout.names.index(n) for n in block.names)
            k = len(block.etas)
            if df < k:
                raise BadInput(f"`priors.{name}`: a block of {k} needs at least {k} degrees of freedom", where=where)
            rows, columns = np.tril_indices(k)
            lower = np.zeros((k, k))
            lower[rows, columns] = natural[list(places)]
            full = lower + np.tril(lower, -1).T
            return PlacedPrior(name, places, InverseWishartPrior(tuple(map(tuple, full.tolist())), df))
    raise BadInput(f"`priors.{name}`: inverse_wishart is for variances of random effects", where=where)


def read_voids(spec: StudySpec, where: str) -> tuple[Void, ...]:
    out: tuple[Void, ...] = ()
    for part in spec.void:
        try:
            out += void(**part.model_dump()).voids
        except BadInput as e:
            raise BadInput(f"`void`: {e.what}", where=where, why=e.why, hint=e.hint) from None
    return out


def build_problem(
    structure: ModelStructure, spec: StudySpec, model: Model, events: EventTable, natural: np.ndarray, where: str
) -> Problem:
    frames = [g for _, g in events.frame.groupby("ID", sort=False)]
    if not any((g["MDV"] == 0).any() for g in frames):
        raise BadInput("holds no observation", where=events.source)
    individual, system = structure.individual_model, structure.system
    varied = [
        *individual.overrides,
        *(f.covariate for f in individual.factors),
        *([individual.occasion] if individual.occasion else []),
        *find_covariates_used(model, events),
    ]
    rows = count_rows_needed(frames, list(dict.fromkeys(varied)))
    # A covariate that neither the data nor [values] speak of is at no one's value: its effects stay out.
    spoken_of = find_covariates_used(model, events) | set(spec.values)
    constants = build_parameters_by_record(model, events, frames, rows, spoken_of)
    covariates = stack_by_record(frames, individual.covariates, rows)
    overrides = stack_by_record(frames, individual.overrides, rows)
    varying = {v.name for v in individual.varying} | set(individual.overrides)
    infusions = bool(((events.frame["RATE"] != 0) | (events.frame["DUR"] > 0)).any())
    moving = moves_events(system, model.values[None, :, None], varying, infusions)
    typical = None
    if moving and (events.frame["SS"] > 0).any():  # what overlaps at steady state is foreseen from the initial values
        theta, _, _ = structure.layout.unpack(
            jnp.asarray(structure.layout.to_unconstrained(natural)), jnp.asarray(natural)
        )
        u = individual.individual_parameters(theta, jnp.zeros((len(structure.layout.etas), len(frames))), jnp.asarray(covariates[0]))
        arrays = (jnp.asarray(a) for a in (constants, covariates, overrides))
        typical = np.asarray(individual.system_parameters(system, u, *arrays))
    timeline = build_timeline(
        frames,
        system,
        moving=moving,
        typical=typical,
        voids=read_voids(spec, where),
        between=spec.data.covariates_over_time,
    )
    observed, endpoint, row = read_observed(
        structure, spec, model, events, frames, timeline.output_mask.shape[0], rows, where
    )
    problem = Problem(
        structure, timeline, observed, timeline.output_mask, endpoint, row, covariates, overrides, constants, natural
    )
    if spec.mixture is None:
        return problem
    return repeat_by_class(problem, spec.mixture.covariate, len(spec.mixture.probabilities))
