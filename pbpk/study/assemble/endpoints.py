"""`[error.NAME]` of a fit.toml as an endpoint and its parameters. `KINDS` lists what `model` may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.endpoints.base import Endpoint, EndpointParameter
from pbpk.likelihood.endpoints.counts import CountEndpoint
from pbpk.likelihood.endpoints.events import EventEndpoint
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.endpoints.grades import BinaryEndpoint, OrdinalEndpoint
from pbpk.likelihood.endpoints.transforms import TRANSFORMS
from pbpk.observe.noise import VARIANCES

if TYPE_CHECKING:
    from pbpk.study.schema import ErrorPart


@dataclass(frozen=True)
class DeclaredEndpoint:
    """An endpoint, and its parameters with their initial values in shown units and whether each is held."""

    endpoint: Endpoint
    parameters: tuple[tuple[EndpointParameter, float, bool], ...]


_ADD = EndpointParameter("add", "sd", "observable", "additive residual SD of {}")
_PROP = EndpointParameter("prop", "sd", "1", "proportional residual SD of {}")
_POWER = EndpointParameter("power", "free", "1", "power of f in the residual SD of {}")
_LAMBDA = EndpointParameter("lambda", "free", "1", "transform of {}")
_AR1 = EndpointParameter("ar1", "share", "1", "correlation of residuals of {} 1 h apart")
_INTERCEPT = EndpointParameter("intercept", "free", "1", "intercept of {}")
_SLOPE = EndpointParameter("slope", "free", "1/observable", "slope on {}")
_DISPERSION = EndpointParameter("dispersion", "positive", "1", "overdispersion of {}")
_SCALE = EndpointParameter("scale", "positive", "h", "scale of the time to {}")
_SHAPE = {
    "weibull": EndpointParameter("shape", "positive", "1", "Weibull shape of the time to {}"),
    "gompertz": EndpointParameter("shape", "free", "1/h", "Gompertz shape of the time to {}"),
}


def declare_endpoint(name: str, part: ErrorPart, suffix: str, where: str) -> DeclaredEndpoint:
    """Raises `BadInput` for what the model does not take or lacks. `suffix` tells endpoints' parameters apart."""
    if part.model not in ENDPOINT_KINDS:
        raise BadInput(
            f"`error.{name}`: no error model `{part.model}`", where=where, hint=did_you_mean(part.model, ENDPOINT_KINDS)
        )
    takes, make = ENDPOINT_KINDS[part.model]
    given = {k: v for k, v in part.numbers().items() if v is not None}
    needed, allowed, settings = takes(part)
    wanted = [a for a in (*needed, *allowed) if a.name in given]
    missing = [a.name for a in needed if a.name not in given]
    strange = sorted(set(given) - {a.name for a in (*needed, *allowed)})
    if missing or strange:
        words = ", ".join([a.name for a in needed] + [f"and, if you like, {a.name}" for a in allowed])
        wants = ", ".join(a.name for a in needed)
        what = f"needs {wants}, and lacks {', '.join(missing)}" if missing else f"does not take {', '.join(strange)}"
        raise BadInput(f"`error.{name}`: {part.model} {what}", where=where, hint=f"it takes {words}" if words else "")
    unused = [k for k in part.settings() if k not in settings]
    if unused:
        raise BadInput(f"`error.{name}`: {part.model} has no setting `{unused[0]}`", where=where)
    arguments, names = [], []
    for a in wanted:
        _check_range(name, a, given[a.name], where)
        held = part.fixed if isinstance(part.fixed, bool) else a.name in part.fixed
        arguments.append(
            (EndpointParameter(a.name + suffix, a.role, a.unit, a.about.format(name)), float(given[a.name]), held)
        )
        names.append((a.name, a.name + suffix))
    if isinstance(part.fixed, list) and (unknown := [n for n in part.fixed if n not in given]):
        raise BadInput(f"`error.{name}.fixed`: {unknown[0]} is not one of its parameters", where=where)
    return DeclaredEndpoint(make(name, tuple(names), part, where), tuple(arguments))


def _check_range(name: str, a: EndpointParameter, value: float, where: str) -> None:
    if a.role in ("sd", "positive") and value <= 0:
        raise BadInput(f"`error.{name}.{a.name}` = {value:g} must be above zero", where=where)
    if a.role == "share" and not 0 < value < 1:
        raise BadInput(f"`error.{name}.{a.name}` = {value:g} must lie between 0 and 1", where=where)


_Takes = tuple[tuple[EndpointParameter, ...], tuple[EndpointParameter, ...], tuple[str, ...]]


def _takes_gaussian(part: ErrorPart) -> _Takes:
    known = {"add": _ADD, "prop": _PROP, "power": _POWER}
    needed = tuple(known[n] for n in VARIANCES[_variance(part)][0])
    transform = _transform(part)
    if transform != "none":  # the residual is on another scale, where the observable's unit says nothing
        needed = tuple(EndpointParameter("add", "sd", "1", a.about) if a.name == "add" else a for a in needed)
    shapes = (_LAMBDA,) if transform in TRANSFORMS and "lambda" in TRANSFORMS[transform].parameters else ()
    return (
        (*needed, *shapes),
        (_AR1,),
        ("transform", "between", "transformed", "lloq", "uloq", "blq"),
    )


def _variance(part: ErrorPart) -> str:
    return "additive" if part.model == "log" else part.model


def _transform(part: ErrorPart) -> str:
    return "log" if part.model == "log" else part.transform or "none"


def _gaussian(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
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
    return GaussianEndpoint(
        name, part.observable or name, names, _variance(part), transform, tuple(part.between or ()), part.transformed
    )


def _takes_count(part: ErrorPart) -> _Takes:
    needed = (_DISPERSION,) if part.model == "negative_binomial" else ()
    if part.link == "log":
        return (*needed, _INTERCEPT), (_SLOPE,), ("link",)
    return needed, (), ("link",)


def _count(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    _link(name, part, ("log", "identity"), where)
    return CountEndpoint(name, part.observable or name, names, part.link == "log", part.model == "negative_binomial")


def _takes_binary(part: ErrorPart) -> _Takes:
    return ((), (), ("link",)) if part.link == "identity" else ((_INTERCEPT,), (_SLOPE,), ("link",))


def _binary(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    _link(name, part, ("logit", "identity"), where)
    return BinaryEndpoint(name, part.observable or name, names, part.link == "identity")


def _link(name: str, part: ErrorPart, allowed: tuple[str, ...], where: str) -> None:
    if part.link is not None and part.link not in allowed:
        raise BadInput(f"`error.{name}`: no link `{part.link}`", where=where, hint=f"it takes {' or '.join(allowed)}")


def _takes_ordinal(part: ErrorPart) -> _Takes:
    cuts = (
        EndpointParameter(f"cut_{k}", "free", "1", f"logit of grade {k} or more of {{}}")
        for k in range(1, len(part.cuts or ()) + 1)
    )
    return tuple(cuts), (_SLOPE,), ("cuts",)


def _ordinal(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    cuts = part.cuts or []
    if not cuts or any(b >= a for a, b in pairwise(cuts)):
        raise BadInput(f"`error.{name}.cuts` must fall from grade to grade", where=where, hint="cuts = [-1, -2.5]")
    return OrdinalEndpoint(name, part.observable or name, names, len(cuts))


def _takes_event(part: ErrorPart) -> _Takes:
    if part.hazard is not None or part.baseline is None:
        return (), (), ("hazard", "interval")
    shape = (_SHAPE[part.baseline],) if part.baseline in _SHAPE else ()
    return (_SCALE, *shape), (_SLOPE,), ("baseline", "interval")


def _event(name: str, names: tuple, part: ErrorPart, where: str) -> Endpoint:
    if part.baseline is not None and part.baseline not in ("exponential", "weibull", "gompertz"):
        hint = did_you_mean(part.baseline, ("exponential", "weibull", "gompertz"))
        raise BadInput(f"`error.{name}`: no baseline hazard `{part.baseline}`", where=where, hint=hint)
    if part.baseline is None and part.hazard is None and not part.interval:
        hint = (
            'baseline = "exponential", or hazard = "the observable of the hazard" beside that of the cumulative hazard'
        )
        raise BadInput(f"`error.{name}`: an event needs its hazard", where=where, hint=hint)
    return EventEndpoint(name, part.observable or name, names, part.baseline, part.hazard, part.interval)


ENDPOINT_KINDS: dict[str, tuple[Callable[[ErrorPart], _Takes], Callable[..., Any]]] = {
    **dict.fromkeys((*VARIANCES, "log"), (_takes_gaussian, _gaussian)),
    "poisson": (_takes_count, _count),
    "negative_binomial": (_takes_count, _count),
    "binary": (_takes_binary, _binary),
    "ordinal": (_takes_ordinal, _ordinal),
    "event": (_takes_event, _event),
}
