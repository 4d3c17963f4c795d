"""exp(At)x at several times from the powers of one resolvent: rational Chebyshev functions of A.

With the Cayley-like map w = (1 + gz)/(1 − gz) the negative axis becomes [−1, 1], and exp(tz) a smooth function of w, so

    exp(At) x ≈ Σ cⱼ(t) Tⱼ(W) x,     W = 2 (I − gA)⁻¹ − I

Every term costs one real solve with the same factors, and the times enter through the coefficients alone: one window of
sample times shares all of it. (Nørsett's restricted Padé idea, 1978, in the orthogonal functions of Boyd 1987, J. Comput.
Phys. 70:63; "shift-and-invert" Krylov methods use the same space.) 24 terms give 1e-10 at one time, 40 give 1e-10 over
times in a ratio of 20, where a contour or a best rational approximation would factor a complex matrix again for each.

The integral of exp(As) over 0…t, which is what an infusion adds and what time-integrated amounts are, is another smooth
function of w on the same vectors: other coefficients, no other solve.

Convergence is geometric for spectra on the negative axis and degrades as they leave it or as A departs from normality:
the vectors Tⱼ(W)x grow, the last terms show it, and so the error is estimated for each patient from them (`tail`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SPANS = (1.0, 3.0, 10.0, 30.0, 100.0)  # ratios of latest to earliest time that a window may have
_ORDERS = range(8, 73, 2)
_USUAL = 1e-13  # the tolerance that windows are planned for
_GUARD = 8  # interpolation points beyond the order, against aliasing


@dataclass(frozen=True)
class ResolventSeries:
    """`order` J and the pole's `g`, in units of the window's length."""

    order: int
    g: float

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Interpolation points z < 0, and the matrix (J + 1, points) that makes coefficients of values at them."""
        angle, transform = _transform(self.order, self.order + 1 + _GUARD)
        return _z(np.cos(angle), self.g), transform


def _z(w: np.ndarray, g: float) -> np.ndarray:
    return (w - 1) / (g * (1 + w))


def _transform(order: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    angle = (np.arange(count) + 0.5) * np.pi / count
    transform = 2 / count * np.cos(np.arange(order + 1)[:, None] * angle)
    transform[0] /= 2
    return angle, transform


@cache
def design(span: float, tolerance: float) -> ResolventSeries:
    """The shortest series whose neglected coefficients sum to less than `tolerance` for all times in [1/span, 1].

    Where no order in reach does, the one that neglects least.
    """
    angle, transform = _transform(160, 256)
    w = np.cos(angle)
    times = np.geomspace(1 / span, 1, 1 if span == 1 else 9)
    neglected, at = [], np.geomspace(0.002, 0.5, 60)
    for g in at:
        c = np.abs(transform @ np.exp(times * _z(w, g)[:, None]))
        tail = np.cumsum(c[::-1], axis=0)[::-1].max(axis=1)
        neglected.append([tail[j + 1] for j in _ORDERS])
    best = np.array(neglected)
    enough = np.flatnonzero(best.min(axis=0) < tolerance)
    k = int(enough[0]) if len(enough) else len(_ORDERS) - 1
    return ResolventSeries(_ORDERS[k], float(at[best[:, k].argmin()]))


def estimate_effort(span: float) -> float:
    """The work of a window, in solves: the terms, and some eight for the matrix, its factors and the sums."""
    return design(span, _USUAL).order + 8.0


def series_coefficients(series: ResolventSeries, tau: jax.Array) -> jax.Array:
    """(J + 1, ...) of exp(τz), τ (...) in [0, 1] of the window."""
    z, transform = series.points
    shape = (-1, *([1] * tau.ndim))
    values = jnp.exp(tau * z.astype(tau.dtype).reshape(shape))
    return jnp.tensordot(transform.astype(tau.dtype), values, 1)


def integral_coefficients(series: ResolventSeries, tau: jax.Array, shift: jax.Array) -> jax.Array:
    """(J + 1, ...) of ∫ exp(s(z − shift)) ds over 0…τ, in units of the window."""
    z, transform = series.points
    y = z.astype(tau.dtype).reshape((-1, *([1] * tau.ndim))) - shift
    return jnp.tensordot(transform.astype(tau.dtype), jnp.expm1(tau * y) / y, 1)


def double_integral_coefficients(series: ResolventSeries, tau: jax.Array, shift: jax.Array) -> jax.Array:
    """(J + 1, ...) of ∫∫ exp(s'(z − shift)) ds' ds over 0…s, 0…τ: the time-integral of what an infusion leaves."""
    z, transform = series.points
    y = z.astype(tau.dtype).reshape((-1, *([1] * tau.ndim))) - shift
    return jnp.tensordot(transform.astype(tau.dtype), tau**2 * _phi2(tau * y), 1)


def _phi2(x: jax.Array) -> jax.Array:
    """(eˣ − 1 − x)/x² for x ≤ 0, by its Taylor series where the difference would cancel."""
    small = jnp.abs(x) < 0.5
    near, far = jnp.where(small, x, 0.0), jnp.where(small, -1.0, x)
    taylor = jnp.zeros_like(x)
    for k in range(16, 1, -1):
        taylor = taylor * near / (k + 1) + 1.0
    return jnp.where(small, taylor / 2, (jnp.expm1(far) - far) / far**2)


def series_vectors(series: ResolventSeries, solve, x: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Tⱼ(W)x, (J + 1, *x.shape), where `solve` is rhs ↦ (I − gA)⁻¹ rhs; and, for the error, the largest |weightⱼ Tⱼ(W)x|.

    `weight` (J + 1,) bounds each term's coefficient; the second result has x's shape without the first axis.
    """
    first = 2 * solve(x) - x

    def step(carry, bound):
        older, newer, peak = carry
        following = 4 * solve(newer) - 2 * newer - older
        peak = jnp.maximum(peak, bound * jnp.max(jnp.abs(lax.stop_gradient(following)), axis=0))
        return (newer, following, peak), following

    peak = weight[0] * jnp.max(jnp.abs(lax.stop_gradient(x)), axis=0)
    (_, _, peak), later = lax.scan(step, (x, first, peak), weight[2:])
    return jnp.concatenate([x[None], first[None], later]), peak
