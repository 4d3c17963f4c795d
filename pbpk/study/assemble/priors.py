"""`[priors]` of a fit.toml, each at its place in the natural vector and in coherent units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.priors import PRIORS, InverseWishartPrior, PlacedPrior

if TYPE_CHECKING:
    from pbpk.likelihood.parameter_layout import ParameterLayout
    from pbpk.study.schema import StudySpec


def read_priors(
    spec: StudySpec, layout: ParameterLayout, natural: np.ndarray, scale: np.ndarray, where: str
) -> tuple[PlacedPrior, ...]:
    """The priors that act on the natural vector; `scale` is how many coherent units its shown ones are. Raises `BadInput`."""
    priors, names = [], layout.names
    for name, part in spec.priors.items():
        if name not in names:
            hint = did_you_mean(name, names)
            raise BadInput(f"`priors.{name}`: no parameter of this fit is called that", where=where, hint=hint)
        if part.distribution not in PRIORS:
            hint = did_you_mean(part.distribution, PRIORS)
            raise BadInput(f"`priors.{name}`: no distribution `{part.distribution}`", where=where, hint=hint)
        kind, needed = PRIORS[part.distribution]
        settings = {k for k in ("value", "sd", "df", "low", "high") if getattr(part, k) is not None}
        if settings != set(needed):
            raise BadInput(f"`priors.{name}`: {part.distribution} needs {', '.join(needed)}", where=where)
        if kind is InverseWishartPrior:
            priors.append(_read_inverse_wishart(name, part.df or 0.0, layout, natural, where))
            continue
        position = names.index(name)
        factor = float(scale[position])
        unitless = ("sd",) if part.distribution == "lognormal" else ()  # a log-normal's sd is that of the logarithm
        numbers = [float(getattr(part, k)) * (1.0 if k in unitless else factor) for k in needed]
        if part.distribution == "lognormal" and numbers[0] <= 0:
            raise BadInput(f"`priors.{name}`: the median of a log-normal must be above zero", where=where)
        priors.append(PlacedPrior(name, (position,), kind(*numbers)))
    return tuple(priors)


def _read_inverse_wishart(
    name: str, df: float, layout: ParameterLayout, natural: np.ndarray, where: str
) -> PlacedPrior:
    """The prior of the whole block of Ω that `name` is in, around its initial values."""
    for block in layout.blocks:
        if name in block.names:
            positions = tuple(layout.names.index(n) for n in block.names)
            k = len(block.etas)
            if df < k:
                raise BadInput(f"`priors.{name}`: a block of {k} needs at least {k} degrees of freedom", where=where)
            rows, columns = np.tril_indices(k)
            lower = np.zeros((k, k))
            lower[rows, columns] = natural[list(positions)]
            omega = lower + np.tril(lower, -1).T
            return PlacedPrior(name, positions, InverseWishartPrior(tuple(map(tuple, omega.tolist())), df))
    raise BadInput(f"`priors.{name}`: inverse_wishart is for variances of random effects", where=where)
