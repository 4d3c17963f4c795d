"""What is observed of a subject, and what an endpoint's likelihood must say. The page to read before adding an endpoint.

A kind of endpoint is a final class in a file of its own, with a row in `ENDPOINT_KINDS` (pbpk/study/assemble/endpoints.py) and
a test. Everything is elementwise over a subject's observations (T,), so that one function serves one subject, all of them, and
every derivative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Numbers = Any  # a JAX array inside compiled code, a NumPy array or a float on the host
ParameterValues = Mapping[str, Any]  # all of the fit's θ and σ by name


class Observed(NamedTuple):
    """The observations of one subject or of all, arrays (T, ...).

    `y` is what was recorded. What is known of it is that it lies in [low, high] (both are y where it was quantified) and,
    where `floor` is finite, that it would not have been recorded below that. `time` is in h; `previous_record` is the number
    of the previous record of the same endpoint, -1 where there is none.
    """

    y: Numbers
    low: Numbers
    high: Numbers
    floor: Numbers
    time: Numbers
    previous_record: Numbers

    @property
    def is_censored(self) -> Numbers:
        """Where a limit was recorded and not a value."""
        return self.low < self.high


class Predicted(NamedTuple):
    """The predictions of the observations, arrays (T, ...).

    `f` is the prediction; `variance_f` the one that the residual variance follows (f with interaction, f at η = 0 without);
    `second` what a second observable reads at the same time; `previous` is f at the previous record of the endpoint, 0 where
    there is none.
    """

    f: Numbers
    variance_f: Numbers
    second: Numbers
    previous: Numbers


@dataclass(frozen=True)
class EndpointParameter:
    """A parameter of an endpoint. `role`: "sd" (a standard deviation), else a θ: "positive", "free", "share" (between 0 and
    1) or "correlation" (between −1 and 1); `unit`: "1", "h", "1/h", "observable" or "1/observable"; `about` is its label."""

    name: str
    role: str
    unit: str
    about: str


@dataclass(frozen=True)
class Endpoint(ABC):
    """What DVID calls `name`: an `observable` with its likelihood. `parameter_names` pairs the names of its parameters as the
    endpoint knows them with those that the fit calls them by."""

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
    def partner(self) -> tuple[str, str] | None:
        """The endpoint whose residuals of the same time its own are correlated with, and the fit's name of the correlation."""
        return None

    @property
    def is_correlated(self) -> bool:
        """Whether its residuals are correlated with others, so that no record's likelihood is its own."""
        return self.correlation_name is not None or self.partner is not None

    @property
    def second_observable(self) -> str | None:
        """Another observable that the likelihood reads."""
        return None

    @property
    def data_columns(self) -> tuple[str, ...] | None:
        """The fields of `Observed` that `minus2ll` of one observation needs; None where it needs other records too."""
        return None if self.is_correlated or self.second_observable else ("y",)

    def select_parameters(self, values: ParameterValues) -> dict[str, Any]:
        """Its own parameters, by the names that it knows them by."""
        return {name: values[fit_name] for name, fit_name in self.parameter_names}

    def find_impossible(self, y: np.ndarray) -> tuple[np.ndarray, str]:
        """Which recorded values the likelihood cannot have (a mask), and why."""
        return np.zeros(y.shape, bool), ""

    @abstractmethod
    def minus2ll(self, p: Predicted, o: Observed, values: ParameterValues) -> Numbers:
        """−2 log likelihood of each observation (T, ...), continuous ones without ln 2π."""

    def curvature(self, p: Predicted, o: Observed, values: ParameterValues, interaction: bool) -> Numbers:
        """The half-Hessian of `minus2ll` in f, expected or observed, never below zero."""
        return jnp.maximum(observed_curvature(self, p, o, values, interaction) / 2, 0.0)

    def moments(self, p: Predicted, values: ParameterValues) -> tuple[Numbers, Numbers]:
        """Mean and variance of y, for residuals; NaN and 1 where the endpoint has none."""
        return jnp.full_like(p.f, jnp.nan), jnp.ones_like(p.f)

    @abstractmethod
    def draw(
        self, keys: Numbers, p: Predicted, o: Observed, values: ParameterValues, partner: Numbers | None = None
    ) -> Numbers:
        """One y for each key (T, N), as it would be before any limit of quantification. `partner`: the standard normals (T, N)
        behind its partner's draws of the same times, NaN where it has none."""


def observed_curvature(
    endpoint: Endpoint, p: Predicted, o: Observed, values: ParameterValues, interaction: bool
) -> Numbers:
    """∂²minus2ll/∂f² (T, ...); with interaction what the variance follows moves along."""

    def minus2ll(f):
        return endpoint.minus2ll(p._replace(f=f, variance_f=f if interaction else p.variance_f), o, values)

    def slope(f):
        return jax.jvp(minus2ll, (f,), (jnp.ones_like(f),))[1]

    return jax.jvp(slope, (p.f,), (jnp.ones_like(p.f),))[1]


def mask_others(mask: Numbers, p: Predicted, o: Observed) -> tuple[Predicted, Observed]:
    """The same with 1 outside the mask, where an observation is another endpoint's or there is none.

    `jnp.where` evaluates both branches, and a NaN in the one that is not taken would make its derivative NaN.
    """

    def masked(x):
        return jnp.where(mask, x, 1.0)

    return (
        Predicted(masked(p.f), masked(p.variance_f), masked(p.second), jnp.where(mask, p.previous, 0.0)),
        Observed(
            *(masked(o.y), masked(o.low), masked(o.high), jnp.where(mask, o.floor, -jnp.inf)),
            *(masked(o.time), o.previous_record),
        ),
    )
