"""Times to an event: DV = 1 where it happened, 0 where it had not (censored on the right), at the record's time.

The hazard is the model's own, by two observables (the cumulative hazard and the hazard), or a baseline times exp(slope · f):

    exponential  h = 1/scale        weibull  h = (shape/scale)(t/scale)^(shape − 1)        gompertz  h = exp(shape · t)/scale

Each record counts from the subject's previous one of this endpoint, so repeated events and left truncation need nothing more.
With `interval`, DV = 1 says that it happened between the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted


@dataclass(frozen=True)
class EventEndpoint(Endpoint):
    baseline: str | None = None
    hazard: str | None = None
    interval: bool = False

    @property
    def second_observable(self) -> str | None:
        return self.hazard

    @property
    def data_columns(self) -> None:
        return None

    def _cumulative_hazard(self, t: Numbers, own: dict) -> Numbers:
        if self.baseline == "exponential":
            return t / own["scale"]
        if self.baseline == "weibull":
            positive = jnp.where(t > 0, t, 1.0)
            return jnp.where(t > 0, jnp.exp(own["shape"] * jnp.log(positive / own["scale"])), 0.0)
        return jnp.expm1(own["shape"] * t) / own["shape"] / own["scale"]

    def _log_hazard(self, t: Numbers, own: dict) -> Numbers:
        if self.baseline == "exponential":
            return -jnp.log(own["scale"]) + 0 * t
        if self.baseline == "weibull":
            safe = jnp.where(t > 0, t, 1.0)
            return jnp.log(own["shape"] / own["scale"]) + (own["shape"] - 1) * jnp.log(safe / own["scale"])
        return own["shape"] * t - jnp.log(own["scale"])

    def minus2ll(self, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        own = self.select_parameters(sigma)
        if self.baseline is None:
            gained, log_hazard = p.f - p.previous, jnp.log(p.second)
        else:
            effect = own.get("slope", 0.0) * p.f
            then = self._previous_time(o)
            gained = (self._cumulative_hazard(o.time, own) - self._cumulative_hazard(then, own)) * jnp.exp(effect)
            log_hazard = self._log_hazard(o.time, own) + effect
        if self.interval:
            safe = jnp.where(gained > 0, gained, 1.0)
            return jnp.where(o.y > 0.5, -2 * jnp.log(-jnp.expm1(-safe)), 2 * gained)
        return 2 * gained - jnp.where(o.y > 0.5, 2 * log_hazard, 0.0)

    @staticmethod
    def _previous_time(o: Observed) -> Numbers:
        """The time of the previous record of this endpoint, 0 before the first."""
        last = jnp.take_along_axis(o.time, jnp.maximum(o.previous_record, 0), axis=0)
        return jnp.where(o.previous_record >= 0, last, 0.0)

    def draw(self, keys: Numbers, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        """Whether the event falls between the previous record and this one, for the records that there are."""
        survived = jnp.exp(-self.minus2ll(p, o._replace(y=jnp.zeros_like(p.f)), sigma) / 2)
        return (jax.vmap(jax.vmap(jax.random.uniform))(keys) > survived).astype(float)
