"""The Lea–Catcheside factor of a dose rate known at times: exactly that of the curve drawn through the samples.

y(t) = ∫_{w<t} R(w) e^(−μ(t−w)) dw, the damage not yet repaired, obeys y' = R − μy, and G·D² = 2∫ R y dt. Between samples R is
an exponential (where both are above 0) or a line; after the last it falls at `tail` for ever. Each piece is integrated in
closed form, so G is as good as the curve.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from pbpk.dosimetry.effect.phi_functions import phi, phi1_slope


class Sampled(NamedTuple):
    """A course of dose rate known at times: `rate` (T, …) Gy/h at `time` (T,) h.

    `tail` 1/h, how fast it falls after the last (physical decay at least); `between` samples it is exponential or linear.
    """

    time: Any
    rate: Any
    tail: Any
    between: Literal["exponential", "linear"] = "exponential"

    def dose(self) -> jax.Array:
        """The dose to infinity, Gy."""
        return self._both(1.0)[0]

    def scaled(self, by: Any) -> Sampled:
        """The course with `by` times the dose rate."""
        return self._replace(rate=self.rate * by)

    def pairs(self, t_repair: Any) -> jax.Array:
        """G·D², Gy²: damage that meets damage not yet repaired, for a half-time of repair `t_repair`, h."""
        return self._both(t_repair)[1]

    def protraction(self, t_repair: Any) -> jax.Array:
        """G for a half-time of repair `t_repair`, h."""
        dose, pairs = self._both(t_repair)
        return pairs / dose**2

    def _both(self, t_repair: Any) -> tuple[jax.Array, jax.Array]:
        """Dose and G·D² by one pass over the intervals, carrying the damage not yet repaired."""
        mu, step = math.log(2) / jnp.asarray(t_repair, float), jnp.diff(jnp.asarray(self.time, float))
        rate = jnp.asarray(self.rate, float)

        def across(carry: Any, piece: Any) -> Any:
            unrepaired, dose, pairs = carry
            r0, r1, h = piece
            d, lasting, made, met = _piece(r0, r1, h, mu, self.between)
            return (unrepaired * jnp.exp(-mu * h) + made, dose + d, pairs + unrepaired * lasting + met), None

        zero = jnp.zeros(jnp.broadcast_shapes(rate.shape[1:], jnp.shape(mu)))
        (unrepaired, dose, pairs), _ = jax.lax.scan(across, (zero, zero, zero), (rate[:-1], rate[1:], step))
        last, tail = rate[-1], self.tail
        pairs = pairs + last * unrepaired / (tail + mu) + last**2 / (2 * tail * (tail + mu))
        return dose + last / tail, 2 * pairs


def _piece(r0: Any, r1: Any, h: Any, mu: Any, between: str) -> tuple[Any, Any, Any, Any]:
    """Integrate one interval of length h (h) from rate r0 to r1.

    Its dose; ∫R e^(−μs) ds, by which what was there before counts; y at its end from it alone; ∫R y from it alone.
    """
    m = -mu * h
    b = (r1 - r0) * h
    line = (
        (r0 + r1) / 2 * h,
        r0 * h * phi(1, m) + b * (phi(1, m) - phi(2, m)),
        r0 * h * phi(1, m) + b * phi(2, m),
        (r0 * h) ** 2 * phi(2, m) + r0 * h * b * phi(2, m) + b**2 * (phi(3, m) - phi(4, m)),
    )
    if between == "linear":
        return line
    up = (r0 > 0) & (r1 > 0)
    k = jnp.log(jnp.where(up, r1, 1.0) / jnp.where(up, r0, 1.0))  # R = r0 e^(k s/h)
    curve = (
        r0 * h * phi(1, k),
        r0 * h * phi(1, k + m),
        r0 * h * jnp.exp(k) * phi(1, m - k),
        (r0 * h) ** 2 * phi1_slope(2 * k, k + m),
    )
    return tuple(jnp.where(up, c, x) for c, x in zip(curve, line, strict=True))  # type: ignore[return-value]
