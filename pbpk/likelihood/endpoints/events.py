"""Times to an event: DV = 1 where it happened, 0 where it had not (censored on the right), at the record's time.

The hazard is the model's own, by two observables (the cumulative hazard and the hazard), or a baseline times exp(slope · f):

    exponential  h = 1/scale        weibull  h = (shape/scale)(t/scale)^(shape − 1)        gompertz  h = exp(shape · t)/scale

Each record counts from the subject's previous one of this endpoint, the first from when time at risk begins (`at_risk_from`,
0 unless told), so repeated events and left truncation need nothing more. With `interval`, DV = 1 says that it happened between
the two; where no hazard was met between them that cannot be, and its likelihood is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted


@dataclass(frozen=True)
class EventEndpoint(Endpoint):
    """Whether and when an event happened. `baseline` names the baseline hazard, or the observable is the cumulative hazard and
    `hazard` the observable of the hazard; `interval`: only the interval in which it happened is known; `at_risk_from`: when
    time at risk begins (h)."""

    baseline: str | None = None
    hazard: str | None = None
    interval: bool = False
    at_risk_from: float = 0.0

    @property
    def has_own_hazard(self) -> bool:
        """Whether the model cumulates the hazard, from the subject's first record on."""
        return self.baseline is None

    @property
    def second_observable(self) -> str | None:
        """That of the hazard, where the model has one of its own."""
        return self.hazard

    @property
    def data_columns(self) -> None:
        """None: the likelihood of a record needs the one before."""
        return None

    def find_impossible(self, y: np.ndarray) -> tuple[np.ndarray, str]:
        """Whatever is neither 0 nor 1."""
        return (y != 0) & (y != 1), "it is 0 or 1"

    def _cumulative_hazard(self, t: Numbers, parameters: dict) -> Numbers:
        if self.baseline == "exponential":
            return t / parameters["scale"]
        if self.baseline == "weibull":
            positive = jnp.where(t > 0, t, 1.0)
            return jnp.where(t > 0, jnp.exp(parameters["shape"] * jnp.log(positive / parameters["scale"])), 0.0)
        return jnp.expm1(parameters["shape"] * t) / parameters["shape"] / parameters["scale"]

    def _log_hazard(self, t: Numbers, parameters: dict) -> Numbers:
        scale = parameters["scale"]
        if self.baseline == "exponential":
            return -jnp.log(scale) + 0 * t
        if self.baseline == "weibull":
            safe = jnp.where(t > 0, t, 1.0)
            return jnp.log(parameters["shape"] / scale) + (parameters["shape"] - 1) * jnp.log(safe / scale)
        return parameters["shape"] * t - jnp.log(scale)

    def minus2ll(self, p: Predicted, o: Observed, values: ParameterValues) -> Numbers:
        """−2 ln of h(t) exp(−H), or of what the interval says, with H cumulated since the previous record."""
        parameters = self.select_parameters(values)
        if self.baseline is None:
            gained, log_hazard = p.f - p.previous, jnp.log(p.second)
        else:
            effect = parameters.get("slope", 0.0) * p.f
            before = self._cumulative_hazard(self._previous_time(o), parameters)
            gained = (self._cumulative_hazard(o.time, parameters) - before) * jnp.exp(effect)
            log_hazard = self._log_hazard(o.time, parameters) + effect
        if self.interval:
            safe = jnp.where(gained > 0, gained, 1.0)
            happened = jnp.where(gained > 0, -2 * jnp.log(-jnp.expm1(-safe)), jnp.inf)
            return jnp.where(o.y > 0.5, happened, 2 * gained)
        return 2 * gained - jnp.where(o.y > 0.5, 2 * log_hazard, 0.0)

    def _previous_time(self, o: Observed) -> Numbers:
        """The time of the previous record of this endpoint; before the first, when time at risk begins."""
        last = jnp.take_along_axis(o.time, jnp.maximum(o.previous_record, 0), axis=0)
        return jnp.where(o.previous_record >= 0, last, self.at_risk_from)

    def draw(
        self, keys: Numbers, p: Predicted, o: Observed, values: ParameterValues, partner: Numbers | None = None
    ) -> Numbers:
        """Whether the event falls between the previous record and this one, for the records that there are."""
        survived = jnp.exp(-self.minus2ll(p, o._replace(y=jnp.zeros_like(p.f)), values) / 2)
        return (jax.vmap(jax.vmap(jax.random.uniform))(keys) > survived).astype(float)
