"""What is observed of a subject, and what an endpoint's likelihood must say. The page to read before adding an endpoint.

A kind of endpoint is a final class in a file of its own, with a line in `KINDS` (declared.py) and its test. Everything is
elementwise over a subject's observations (T,), so that one function serves one subject, all of them, and every derivative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Numbers = Any
ParameterValues = Mapping[str, Any]


class Observed(NamedTuple):
    """Arrays (T, ...) of one subject or of all. `y` is what was recorded; what is known of it is that it lies in [low, high]
    (both y where it was quantified) and, given `floor`, that it would not have been recorded below; `when` in h; `back` is
    the previous record of the same endpoint, -1 where there is none."""

    y: Numbers
    low: Numbers
    high: Numbers
    floor: Numbers
    time: Numbers
    previous_record: Numbers

    @property
    def is_censored(self) -> Numbers:
        return self.low < self.high


class Predicted(NamedTuple):
    """The prediction `f`, the one that the residual variance follows (`around`: f with interaction, f at η = 0 without), what a
    second observable reads at the same time, and `f` at the previous record of the endpoint (0 where there is none)."""

    f: Numbers
    variance_f: Numbers
    second: Numbers
    previous: Numbers


@dataclass(frozen=True)
class EndpointParameter:
    """A parameter of an endpoint. `role`: "sd" (a standard deviation), else a θ: "positive", "free" or "share" (between 0 and
    1); `unit`: "1", "h", "1/h", "observable" or "1/observable"."""

    name: str
    role: str
    unit: str
    about: str


@dataclass(frozen=True)
class Endpoint(ABC):
    """What DVID calls `name`: an observable with its likelihood. `names` are its parameters among the fit's, by the names that
    it knows them by."""

    name: str
    observable: str
    parameter_names: tuple[tuple[str, str], ...]

    @property
    def is_continuous(self) -> bool:
        """Whether y has a density with a mean and a variance, so that residuals make sense and methods may linearise."""
        return False

    @property
    def correlation_name(self) -> str | None:
        """The fit's name of the correlation between residuals 1 h apart, if there is one."""
        return None

    @property
    def second_observable(self) -> str | None:
        """Another observable that the likelihood reads."""
        return None

    @property
    def data_columns(self) -> tuple[str, ...] | None:
        """The fields of `Observed` that the loss of an observation follows from; None where it reads other records too."""
        return None if self.correlation_name or self.second_observable else ("y",)

    def select_parameters(self, sigma: ParameterValues) -> dict[str, Any]:
        return {mine: sigma[name] for mine, name in self.parameter_names}

    @abstractmethod
    def minus2ll(self, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        """−2 log likelihood of each observation (T, ...), continuous ones without ln 2π."""

    def curvature(self, p: Predicted, o: Observed, sigma: ParameterValues, interaction: bool) -> Numbers:
        """The half-Hessian of `loss` in f, expected or observed, never below zero."""
        return jnp.maximum(observed_curvature(self, p, o, sigma, interaction) / 2, 0.0)

    def moments(self, p: Predicted, sigma: ParameterValues) -> tuple[Numbers, Numbers]:
        """Mean and variance of y, for residuals; NaN where they say nothing."""
        return jnp.full_like(p.f, jnp.nan), jnp.ones_like(p.f)

    @abstractmethod
    def draw(self, keys: Numbers, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        """One y for each key (T, N), as it would be before any limit of quantification."""


def observed_curvature(
    endpoint: Endpoint, p: Predicted, o: Observed, sigma: ParameterValues, interaction: bool
) -> Numbers:
    """∂²loss/∂f², with what the variance follows moving along where there is interaction."""

    def loss(f):
        return endpoint.minus2ll(p._replace(f=f, variance_f=f if interaction else p.variance_f), o, sigma)

    def slope(f):
        return jax.jvp(loss, (f,), (jnp.ones_like(f),))[1]

    return jax.jvp(slope, (p.f,), (jnp.ones_like(p.f),))[1]


def mask_others(mine: Numbers, p: Predicted, o: Observed) -> tuple[Predicted, Observed]:
    """The same with 1 wherever an observation is another endpoint's or none, so that what is not asked for has no NaN, and no
    derivative of one."""

    def kept(x):
        return jnp.where(mine, x, 1.0)

    return (
        Predicted(kept(p.f), kept(p.variance_f), kept(p.second), jnp.where(mine, p.previous, 0.0)),
        Observed(
            kept(o.y), kept(o.low), kept(o.high), jnp.where(mine, o.floor, -jnp.inf), kept(o.time), o.previous_record
        ),
    )
