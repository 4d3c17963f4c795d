"""The layout of the estimated numbers, with the initial value, the unit and the label of each."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from pbpk import units
from pbpk.errors import BadInput
from pbpk.likelihood.mixture import class_probability_names
from pbpk.likelihood.parameter_layout import ParameterLayout, Theta
from pbpk.observe.readings import find_display_factor, find_observable_unit
from pbpk.population.distributions import DISTRIBUTIONS
from pbpk.study.assemble.natural import NaturalEntry
from pbpk.study.assemble.omega import build_omega
from pbpk.study.assemble.parameters import read_bounds

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.base import EndpointParameter
    from pbpk.model.load import Model
    from pbpk.population.individual import IndividualModel
    from pbpk.study.assemble.endpoints import DeclaredEndpoint
    from pbpk.study.schema import ParameterPart, StudySpec


def build_layout(
    spec: StudySpec, model: Model, individual: IndividualModel, endpoints: tuple[DeclaredEndpoint, ...], where: str
) -> tuple[ParameterLayout, np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """The layout; and by entry of its natural vector the initial value (coherent), how many coherent units its shown unit is,
    that unit, and a label. Raises `BadInput`."""
    thetas = [_typical_value(name, part, model, where) for name, part in spec.parameters.items()]
    thetas += _distribution_shapes(spec, individual)
    thetas += _covariate_coefficients(spec)
    thetas += _class_probabilities(spec)
    sigmas: list[tuple[str, bool, NaturalEntry]] = []
    for d in endpoints:
        for parameter, value, fixed in d.parameters:
            entry = _endpoint_entry(parameter, value, model, d.endpoint.observable)
            if parameter.role == "sd":
                sigmas.append((parameter.name, fixed, entry))
            else:
                bounds = {"share": (0.0, 1.0), "correlation": (-1.0, 1.0)}.get(parameter.role)
                thetas.append((Theta(parameter.name, parameter.role == "positive", fixed, bounds), entry))
    blocks, omegas = build_omega(spec, model, individual, where)
    fixed_sigmas = tuple(name for name, fixed, _ in sigmas if fixed)
    layout = ParameterLayout(tuple(t for t, _ in thetas), blocks, tuple(n for n, _, _ in sigmas), fixed_sigmas)
    if len(set(layout.names)) != len(layout.names):
        doubled = next(n for n in layout.names if layout.names.count(n) > 1)
        raise BadInput(f"two estimated parameters are called `{doubled}`", where=where)
    entries = [*(x for _, x in thetas), *omegas, *(x for _, _, x in sigmas)]
    natural, scale = (np.array(c, dtype=float) for c in zip(*((x.value, x.scale) for x in entries), strict=True))
    return layout, natural, scale, tuple(x.unit for x in entries), tuple(x.label for x in entries)


def _typical_value(name: str, part: ParameterPart, model: Model, where: str) -> tuple[Theta, NaturalEntry]:
    row = model.parameters[name]
    if part.initial is not None:
        row = model.parameters.with_values({name: part.initial})[name]
    low, high = read_bounds(name, part, model)
    positive = DISTRIBUTIONS[part.distribution].multiplies
    bounds = None
    if low is not None or high is not None:
        bounds = (low if low is not None else 0.0 if positive else -inf, inf if high is None else high)
        if not bounds[0] < row.internal < bounds[1]:
            raise BadInput(f"`parameters.{name}` must start between its `lower` and `upper`", where=where)
    elif positive and row.value <= 0:
        raise BadInput(f"`parameters.{name}`: a log-normal parameter must start above zero", where=where)
    entry = NaturalEntry(row.internal, units.unit_factor(row.unit), row.unit, part.label or row.about)
    return Theta(name, positive, part.fixed, bounds), entry


def _distribution_shapes(spec: StudySpec, individual: IndividualModel) -> list[tuple[Theta, NaturalEntry]]:
    """The distributions' own parameters: λ of boxcox, ν of t, which stays above 2 so that η has a variance."""
    shapes = []
    for v in individual.varying:
        if v.shape and v.is_random:
            part, (word, start) = spec.parameters[v.name], DISTRIBUTIONS[v.distribution].shape or ("", 0.0)
            value = start if part.shape is None else part.shape
            theta = Theta(v.shape, word == "df", part.shape_fixed, (2.0, inf) if word == "df" else None)
            shapes.append((theta, NaturalEntry(value, 1.0, "1", f"{word} of the distribution of η on {v.name}")))
    return shapes


def _covariate_coefficients(spec: StudySpec) -> list[tuple[Theta, NaturalEntry]]:
    """The effects of covariates that are estimated."""
    coefficients = []
    for name, part in spec.parameters.items():
        for e in part.covariates:
            if e.estimate:
                reference = e.reference if isinstance(e.reference, str) else f"{e.reference:g}"
                label = f"effect of {e.covariate} on {name} ({e.form}, reference {reference})"
                entry = NaturalEntry(float(e.initial or 0.0), 1.0, "1", label)
                coefficients.append((Theta(e.estimate, False), entry))
    return coefficients


def _class_probabilities(spec: StudySpec) -> list[tuple[Theta, NaturalEntry]]:
    """The probabilities of a mixture's classes but the last."""
    if spec.mixture is None:
        return []
    chances, fixed = spec.mixture.probabilities, spec.mixture.fixed
    return [
        (Theta(name, False, fixed, (0.0, 1.0)), NaturalEntry(chances[k - 1], 1.0, "1", f"probability of class {k}"))
        for k, name in enumerate(class_probability_names(len(chances)), start=1)
    ]


def _endpoint_entry(parameter: EndpointParameter, value: float, model: Model, observable: str) -> NaturalEntry:
    """An endpoint's parameter, of which the observable's unit may be a part."""
    factor = find_display_factor(model.system, model.parameters, observable)
    unit = find_observable_unit(model.system, model.parameters, observable)
    scale = {"observable": factor, "1/observable": 1 / factor}.get(parameter.unit, 1.0)
    shown = {"observable": unit, "1/observable": f"1/({unit})"}.get(parameter.unit, parameter.unit)
    return NaturalEntry(value * scale, scale, shown, parameter.about)
