"""`[error.NAME]` of a fit.toml as an endpoint and its parameters. `ENDPOINT_KINDS` lists what `model` may be.

To add a kind of endpoint: its class in `pbpk/likelihood/endpoints/`, a row here with what it needs and how it is built, a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.endpoints.base import Endpoint, EndpointParameter
from pbpk.likelihood.endpoints.counts import CountEndpoint
from pbpk.likelihood.endpoints.events import EventEndpoint
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.endpoints.grades import BinaryEndpoint, OrdinalEndpoint
from pbpk.likelihood.endpoints.transforms import TRANSFORMS
from pbpk.observe.quantity import to_coherent
from pbpk.observe.readings import select_observables
from pbpk.observe.variances import VARIANCE_PARAMETERS, VARIANCES
from pbpk.study.data_units import find_data_factor

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.study.schema import ErrorPart, StudySpec


@dataclass(frozen=True)
class DeclaredEndpoint:
    """An endpoint, and its parameters with their initial values in shown units and whether each is held."""

    endpoint: Endpoint
    parameters: tuple[tuple[EndpointParameter, float, bool], ...]


class EndpointNeeds(NamedTuple):
    """What an `[error.NAME]` must give, what it may give beside, and which settings it understands."""

    needed: tuple[EndpointParameter, ...] = ()
    optional: tuple[EndpointParameter, ...] = ()
    settings: tuple[str, ...] = ()


class EndpointKind(NamedTuple):
    """A value of `model`: what it needs of a section, and how the endpoint is built of its name, the names of its parameters
    here and in the fit, the section, and the file for messages."""

    find_needs: Callable[[ErrorPart], EndpointNeeds]
    build: Callable[[str, tuple[tuple[str, str], ...], ErrorPart, str], Endpoint]


_LAMBDA = EndpointParameter("lambda", "free", "1", "transform of {}")
_AR1 = EndpointParameter("ar1", "share", "1", "correlation of residuals of {} 1 h apart")
_CORRELATION = EndpointParameter("correlation", "correlation", "1", "correlation of residuals of {} with its partner's")
_INTERCEPT = EndpointParameter("intercept", "free", "1", "intercept of {}")
_SLOPE = EndpointParameter("slope", "free", "1/observable", "slope on {}")
_DISPERSION = EndpointParameter("dispersion", "positive", "1", "overdispersion of {}")
_SCALE = EndpointParameter("scale", "positive", "h", "scale of the time to {}")
_SHAPE = {
    "weibull": EndpointParameter("shape", "positive", "1", "Weibull shape of the time to {}"),
    "gompertz": EndpointParameter("shape", "free", "1/h", "Gompertz shape of the time to {}"),
}


def read_endpoints(spec: StudySpec, model: Model, where: str) -> tuple[DeclaredEndpoint, ...]:
    """All endpoints of a study, whose observables the model must have. Raises `BadInput`."""
    if not spec.error:
        raise BadInput("no residual error is given", where=where, hint='[error.cp] model = "additive", add = 1.0')
    endpoints = []
    for name, part in spec.error.items():
        select_observables(model.system, [part.observable or name, *([part.hazard] if part.hazard else [])])
        declared = declare_endpoint(name, part, f"_{name}" if len(spec.error) > 1 else "", where)
        if isinstance(declared.endpoint, GaussianEndpoint):
            factor = find_data_factor(spec, name, f"{where}: unit of {name}")
            declared = replace(declared, endpoint=replace(declared.endpoint, unit_factor=factor))
        elif part.unit is not None:
            raise BadInput(f"`error.{name}.unit`: {part.model} is no value with a unit", where=where)
        endpoints.append(declared)
    _check_partners(spec, endpoints, where)
    return tuple(endpoints)


def declare_endpoint(name: str, part: ErrorPart, suffix: str, where: str) -> DeclaredEndpoint:
    """The endpoint of one section; `suffix` tells the parameters of several endpoints apart. Raises `BadInput` for what the
    model does not take or lacks."""
    if part.model not in ENDPOINT_KINDS:
        raise BadInput(
            f"`error.{name}`: no error model `{part.model}`", where=where, hint=did_you_mean(part.model, ENDPOINT_KINDS)
        )
    kind = ENDPOINT_KINDS[part.model]
    values = {k: v for k, v in part.numbers().items() if v is not None}
    needs = kind.find_needs(part)
    _check_needs(name, part, needs, values, where)
    parameters, names = [], []
    for p in (*needs.needed, *needs.optional):
        if p.name in values:
            _check_range(name, p, values[p.name], where)
            fixed = part.fixed if isinstance(part.fixed, bool) else p.name in part.fixed
            renamed = replace(p, name=p.name + suffix, about=p.about.format(name))
            parameters.append((renamed, float(values[p.name]), fixed))
            names.append((p.name, renamed.name))
    if isinstance(part.fixed, list) and (unknown := [n for n in part.fixed if n not in values]):
        raise BadInput(f"`error.{name}.fixed`: {unknown[0]} is not one of its parameters", where=where)
    return DeclaredEndpoint(kind.build(name, tuple(names), part, where), tuple(parameters))


def _check_needs(name: str, part: ErrorPart, needs: EndpointNeeds, values: dict[str, float], where: str) -> None:
    """Refuse a section that lacks a parameter, or gives a parameter or a setting that its model does not take."""
    missing = [p.name for p in needs.needed if p.name not in values]
    unknown = sorted(set(values) - {p.name for p in (*needs.needed, *needs.optional)})
    if missing or unknown:
        takes = ", ".join([p.name for p in needs.needed] + [f"and, if you like, {p.name}" for p in needs.optional])
        needed = ", ".join(p.name for p in needs.needed)
        what = f"needs {needed}, and lacks {', '.join(missing)}" if missing else f"does not take {', '.join(unknown)}"
        raise BadInput(f"`error.{name}`: {part.model} {what}", where=where, hint=f"it takes {takes}" if takes else "")
    unused = [k for k in part.settings() if k not in needs.settings]
    if unused:
        raise BadInput(f"`error.{name}`: {part.model} has no setting `{unused[0]}`", where=where)


def _check_range(name: str, parameter: EndpointParameter, value: float, where: str) -> None:
    if parameter.role in ("sd", "positive") and value <= 0:
        raise BadInput(f"`error.{name}.{parameter.name}` = {value:g} must be above zero", where=where)
    if parameter.role == "correlation" and not -1 < value < 1:
        raise BadInput(f"`error.{name}.{parameter.name}` = {value:g} must lie between -1 and 1", where=where)
    if parameter.role == "share" and not 0 < value < 1:
        raise BadInput(f"`error.{name}.{parameter.name}` = {value:g} must lie between 0 and 1", where=where)


def _gaussian_needs(part: ErrorPart) -> EndpointNeeds:
    names = VARIANCES[_variance(part)][0]
    needed = tuple(EndpointParameter(n, *VARIANCE_PARAMETERS[n]) for n in names)
    transform = _transform(part)
    if transform != "none":  # the residual is on another scale, where the observable's unit says nothing
        needed = tuple(replace(p, unit="1") for p in needed)
    shapes = (_LAMBDA,) if transform in TRANSFORMS and "lambda" in TRANSFORMS[transform].parameters else ()
    settings = ("transform", "between", "transformed", "lloq", "uloq", "blq", "correlated_with")
    optional = (_AR1, *((_CORRELATION,) if part.correlated_with else ()))
    return EndpointNeeds((*needed, *shapes), optional, settings)


def _variance(part: ErrorPart) -> str:
    return "additive" if part.model == "log" else part.model


def _transform(part: ErrorPart) -> str:
    return "log" if part.model == "log" else part.transform or "none"


def _build_gaussian(name: str, names: tuple, part: ErrorPart, where: str) -> GaussianEndpoint:
    transform = _transform(part)
    if transform not in TRANSFORMS:
        hint = did_you_mean(transform, TRANSFORMS)
        raise BadInput(f"`error.{name}`: no transform `{transform}`", where=where, hint=hint)
    if part.model == "log" and part.transform not in (None, "log"):
        raise BadInput(f"`error.{name}`: model = log is a transform already", where=where)
    if (transform == "logit") != (part.between is not None):
        raise BadInput(f"`error.{name}`: the logit scale goes with `between = [low, high]`", where=where)
    if part.blq is not None and part.lloq is None:
        raise BadInput(f"`error.{name}`: `blq` without `lloq`, the limit of quantification", where=where)
    if part.ar1 is not None and (part.lloq is not None or part.uloq is not None):
        raise BadInput(f"`error.{name}`: correlated residuals cannot go together with limits", where=where)
    if part.correlated_with is not None:
        _check_correlation(name, part, where)
    return GaussianEndpoint(
        *(
            name,
            part.observable or name,
            names,
            _variance(part),
            transform,
            tuple(part.between or ()),
            part.transformed,
        ),
        correlated_with=part.correlated_with,
    )


def _check_correlation(name: str, part: ErrorPart, where: str) -> None:
    """Raise `BadInput` for residuals that cannot be correlated with another endpoint's."""
    if part.correlation is None:
        hint = "its initial value: correlation = 0.3"
        raise BadInput(f"`error.{name}`: `correlated_with` without `correlation`", where=where, hint=hint)
    if part.ar1 is not None or part.lloq is not None or part.uloq is not None:
        raise BadInput(
            f"`error.{name}`: `correlated_with` cannot go together with `ar1` or limits of quantification", where=where
        )


def _check_partners(spec: StudySpec, endpoints: list[DeclaredEndpoint], where: str) -> None:
    """Raise `BadInput` where a partner is no other endpoint with a normal residual, or is in two pairs."""
    known, taken = {d.endpoint.name: d.endpoint for d in endpoints}, set()
    for name, part in spec.error.items():
        if part.correlated_with is None:
            continue
        partner = known.get(part.correlated_with)
        if partner is None or partner.name == name:
            hint = did_you_mean(part.correlated_with, [n for n in known if n != name])
            raise BadInput(f"`error.{name}`: no other endpoint `{part.correlated_with}`", where=where, hint=hint)
        of_partner = spec.error[partner.name]
        if not partner.is_continuous or of_partner.ar1 is not None or of_partner.lloq is not None or of_partner.uloq:
            raise BadInput(
                f"`error.{name}`: residuals of `{partner.name}` are not plain normal ones, so none are correlated with them",
                where=where,
            )
        if {name, partner.name} & taken:
            raise BadInput(f"`error.{name}`: an endpoint is correlated with one other at most", where=where)
        taken |= {name, partner.name}


def _count_needs(part: ErrorPart) -> EndpointNeeds:
    needed = (_DISPERSION,) if part.model == "negative_binomial" else ()
    if part.link == "log":
        return EndpointNeeds((*needed, _INTERCEPT), (_SLOPE,), ("link",))
    return EndpointNeeds(needed, (), ("link",))


def _build_count(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    _check_link(name, part, ("log", "identity"), where)
    overdispersed = part.model == "negative_binomial"
    return CountEndpoint(name, part.observable or name, names, part.link == "log", overdispersed)


def _binary_needs(part: ErrorPart) -> EndpointNeeds:
    if part.link == "identity":
        return EndpointNeeds(settings=("link",))
    return EndpointNeeds((_INTERCEPT,), (_SLOPE,), ("link",))


def _build_binary(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    _check_link(name, part, ("logit", "identity"), where)
    return BinaryEndpoint(name, part.observable or name, names, part.link == "identity")


def _check_link(name: str, part: ErrorPart, allowed: tuple[str, ...], where: str) -> None:
    if part.link is not None and part.link not in allowed:
        raise BadInput(f"`error.{name}`: no link `{part.link}`", where=where, hint=f"it takes {' or '.join(allowed)}")


def _ordinal_needs(part: ErrorPart) -> EndpointNeeds:
    cuts = (
        EndpointParameter(f"cut_{k}", "free", "1", f"logit of grade {k} or more of {{}}")
        for k in range(1, len(part.cuts or ()) + 1)
    )
    return EndpointNeeds(tuple(cuts), (_SLOPE,), ("cuts",))


def _build_ordinal(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    cuts = part.cuts or []
    if not cuts or any(b >= a for a, b in pairwise(cuts)):
        raise BadInput(f"`error.{name}.cuts` must fall from grade to grade", where=where, hint="cuts = [-1, -2.5]")
    return OrdinalEndpoint(name, part.observable or name, names, len(cuts))


def _event_needs(part: ErrorPart) -> EndpointNeeds:
    if part.hazard is not None or part.baseline is None:
        return EndpointNeeds(settings=("hazard", "interval", "at_risk_from"))
    shape = (_SHAPE[part.baseline],) if part.baseline in _SHAPE else ()
    return EndpointNeeds((_SCALE, *shape), (_SLOPE,), ("baseline", "interval", "at_risk_from"))


def _build_event(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    if part.baseline is not None and part.baseline not in ("exponential", "weibull", "gompertz"):
        hint = did_you_mean(part.baseline, ("exponential", "weibull", "gompertz"))
        raise BadInput(f"`error.{name}`: no baseline hazard `{part.baseline}`", where=where, hint=hint)
    if part.baseline is None and part.hazard is None and not part.interval:
        hint = (
            'baseline = "exponential", or hazard = "the observable of the hazard" beside that of the cumulative hazard'
        )
        raise BadInput(f"`error.{name}`: an event needs its hazard", where=where, hint=hint)
    begin = float(to_coherent(part.at_risk_from or 0.0, "h", f"`error.{name}.at_risk_from`"))
    return EventEndpoint(name, part.observable or name, names, part.baseline, part.hazard, part.interval, begin)


ENDPOINT_KINDS: dict[str, EndpointKind] = {
    **dict.fromkeys((*VARIANCES, "log"), EndpointKind(_gaussian_needs, _build_gaussian)),
    "poisson": EndpointKind(_count_needs, _build_count),
    "negative_binomial": EndpointKind(_count_needs, _build_count),
    "binary": EndpointKind(_binary_needs, _build_binary),
    "ordinal": EndpointKind(_ordinal_needs, _build_ordinal),
    "event": EndpointKind(_event_needs, _build_event),
}
