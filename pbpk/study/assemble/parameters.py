"""`[parameters]` of a fit.toml against the model: what may be estimated, and between which ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbpk.errors import BadInput, did_you_mean
from pbpk.model.parameters import DERIVED
from pbpk.population.covariates import FORMS
from pbpk.population.distributions import DISTRIBUTIONS

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.study.schema import ParameterPart, StudySpec


def check_parameters(spec: StudySpec, model: Model, where: str) -> None:
    """Refuse what cannot be estimated: unknown or derived parameters, distributions and covariate effects that lack or
    contradict something. Raises `BadInput`."""
    for name, part in spec.parameters.items():
        if name in model.parameters and model.parameters[name].status == DERIVED:
            raise BadInput(
                f"`{name}` is derived, so it cannot be estimated", where=where, hint=model.parameters[name].source
            )
        if name not in model.parameters:
            hints = (did_you_mean(name, model.parameters), f"leave it out:  --set {name}=none")
            raise BadInput(
                f"`parameters.{name}`: the model `{model.name}` has no such parameter",
                where=where,
                hint="; or ".join(filter(None, hints)),
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


def _check_distribution(name: str, part: ParameterPart, where: str) -> None:
    distribution = DISTRIBUTIONS.get(part.distribution)
    if distribution is None:
        hint = did_you_mean(part.distribution, DISTRIBUTIONS)
        raise BadInput(f"`parameters.{name}`: no distribution `{part.distribution}`", where=where, hint=hint)
    if distribution.bounded and (part.lower is None or part.upper is None):
        hint = f'[parameters.{name}] distribution = "{part.distribution}", lower = 0, upper = 1'
        raise BadInput(
            f"`parameters.{name}`: a {part.distribution} parameter needs `lower` and `upper`", where=where, hint=hint
        )
    if part.shape is not None and distribution.shape is None:
        raise BadInput(f"`parameters.{name}`: a {part.distribution} distribution has no `shape`", where=where)
    if part.distribution != "normal" and distribution.shape is not None and part.iiv is None and part.iov is None:
        raise BadInput(f"`parameters.{name}`: a distribution without `iiv` or `iov` has nothing to shape", where=where)


def read_bounds(name: str, part: ParameterPart, model: Model) -> tuple[float | None, float | None]:
    """`lower` and `upper` of a parameter in coherent units; None where one is not given."""
    lower, upper = (
        None if end is None else model.parameters.with_values({name: end})[name].internal
        for end in (part.lower, part.upper)
    )
    return lower, upper
