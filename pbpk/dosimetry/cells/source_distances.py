"""Sources as a nucleus meets them: how many decays happen at which distance from its centre.

Alphas leave in all directions alike and tissue is water, so of any source only the distances to the centre of a spherical
nucleus matter. At distance r lie 4πr²·Φ(r) dr of a region's volume, Φ being the share of that sphere which is in the region:
closed forms for balls, shells, slabs, surfaces, one integral for cylinders. Lengths in µm; weights per decay for a cell's
parts, per decay/µm³ (or /µm² for surfaces) for what extends beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

FAR = 130.0  # µm: 8.8 MeV reaches 91, and a nucleus has a radius
_X, _W = np.polynomial.legendre.leggauss(16)
_COS, _COS_W = np.polynomial.legendre.leggauss(64)


class SourceDistances(NamedTuple):
    """A source as a nucleus meets it: `weight` (K,) decays at `distance` (K,) µm from its centre, per unit of the source."""

    distance: Any
    weight: Any

    def scaled(self, by: Any) -> SourceDistances:
        """The source with `by` times the decays."""
        return SourceDistances(self.distance, self.weight * by)


def join_sources(*sources: SourceDistances) -> SourceDistances:
    """Several sources as one."""
    return SourceDistances(*(jnp.concatenate([jnp.asarray(x) for x in part]) for part in zip(*sources, strict=True)))


def region_distances(
    share: Callable[[Any], Any], edges: Sequence[Any], cut: Any = 0.0, panels: int = 6
) -> SourceDistances:
    """The distances of a region whose Φ(r) is `share`, smooth between `edges`, the last where it ends or FAR; per decay/µm³.

    `cut`, here and below, is the radius of the nucleus: whether a track must enter first or is born inside is a kink in all
    that follows, which no panel of the quadrature may straddle.
    """
    ends = jnp.stack([jnp.asarray(e, float) for e in (0.0, cut, *edges)])
    steps = jnp.sort(jnp.clip(ends, 0.0, jnp.minimum(ends[-1], FAR)))
    parts = jnp.linspace(0.0, 1.0, panels + 1)
    starts = steps[:-1, None] + jnp.diff(steps)[:, None] * parts[:-1]
    width = jnp.diff(steps)[:, None] / panels * jnp.ones(panels)
    r = (starts[..., None] + width[..., None] * (_X + 1) / 2).reshape(-1)
    weight = (width[..., None] * _W / 2).reshape(-1)
    return SourceDistances(r, weight * 4 * jnp.pi * r**2 * share(r))


def point_source(distance: Any) -> SourceDistances:
    """One decay at a distance; also a spherical surface around the nucleus, such as its own cell's."""
    return SourceDistances(jnp.atleast_1d(jnp.asarray(distance, float)), jnp.ones(1))


def ball_share(r: Any, radius: Any, away: Any) -> Any:
    """Φ of a ball whose centre is `away`: the cap of the sphere r within it."""
    centre = jnp.maximum(away, 1e-9)
    cap = jnp.clip((radius**2 - (centre - r) ** 2) / (4 * centre * jnp.maximum(r, 1e-9)), 0.0, 1.0)
    return jnp.where(r < radius - centre, 1.0, cap)


def ball(radius: Any, away: Any = 0.0, cut: Any = 0.0) -> SourceDistances:
    """A ball filled evenly, its centre `away` from the nucleus's; per decay/µm³."""
    return region_distances(lambda r: ball_share(r, radius, away), (jnp.abs(radius - away), radius + away), cut)


def shell(inner: Any, outer: Any, away: Any = 0.0, cut: Any = 0.0) -> SourceDistances:
    """Between two spheres about one centre; per decay/µm³."""
    edges = (jnp.abs(inner - away), inner + away, jnp.abs(outer - away), outer + away)
    return region_distances(lambda r: ball_share(r, outer, away) - ball_share(r, inner, away), edges, cut)


def outside(radius: Any, away: Any = 0.0, cut: Any = 0.0) -> SourceDistances:
    """All beyond a sphere; per decay/µm³."""
    return region_distances(
        lambda r: 1 - ball_share(r, radius, away), (jnp.abs(radius - away), radius + away, FAR), cut
    )


def surface(radius: Any, away: Any) -> SourceDistances:
    """A spherical surface whose centre is `away` > 0; per decay."""
    low, high = jnp.abs(radius - away), radius + away
    r = low + (high - low) * (_COS + 1) / 2
    return SourceDistances(r, r / (2 * radius * away) * _COS_W / 2 * (high - low))


def slab(near: Any, far: Any, cut: Any = 0.0) -> SourceDistances:
    """Between two planes at signed distances `near` < `far` from the nucleus's centre, endless to the sides; per decay/µm³."""

    def share(r: Any) -> Any:
        top, low = (jnp.clip(x / jnp.maximum(r, 1e-9), -1.0, 1.0) for x in (far, near))
        return (top - low) / 2

    return region_distances(share, (jnp.abs(near), jnp.abs(far), FAR), cut)


def plane(distance: Any) -> SourceDistances:
    """An endless surface; per decay/µm²."""
    edges = jnp.linspace(jnp.abs(distance), FAR, 13)
    width = edges[1] - edges[0]
    r = (edges[:-1, None] + width * (_X + 1) / 2).reshape(-1)
    return SourceDistances(r, 2 * jnp.pi * r * jnp.tile(_W / 2, 12) * width)


def _cylinder_share(r: Any, radius: Any, away: Any) -> Any:
    """Φ of an endless cylinder whose axis is `away`: over the angle to the axis, of the arc within it."""
    cos = (_COS + 1) / 2  # both halves are alike
    side = jnp.maximum(r[..., None] * jnp.sqrt(1 - cos**2), 1e-9)
    axis = jnp.maximum(away, 1e-9)
    arc = (side**2 + axis**2 - radius**2) / (2 * side * axis)
    inside = jnp.arccos(jnp.clip(arc, -1 + 1e-12, 1 - 1e-12)) / jnp.pi
    return (inside * _COS_W).sum(-1) / 2


def tube(inner: Any, outer: Any, away: Any, cut: Any = 0.0) -> SourceDistances:
    """Between two endless cylinders about one axis, `inner` 0 for a full one, `outer` inf for all beyond; per decay/µm³."""
    reach = jnp.minimum(jnp.asarray(outer, float), 1e6)
    edges = (jnp.abs(inner - away), inner + away, jnp.abs(reach - away), reach + away, FAR)

    def share(r: Any) -> Any:
        outer_share = jnp.where(reach >= 1e6, 1.0, _cylinder_share(r, reach, away))
        return outer_share - jnp.where(inner > 0, _cylinder_share(r, jnp.maximum(inner, 1e-6), away), 0.0)

    return region_distances(share, edges, cut)


def diffuse(source: SourceDistances, length: Any) -> SourceDistances:
    """A source after each decay's daughter has wandered: the kernel e^(−r/L)/(4πL²r), L = √(Dτ), `length` µm > 0.

    A point at distance a is then at r with density r/(2aL)·(e^(−|r−a|/L) − e^(−(r+a)/L)), a density in closed form.
    """
    a, scale = jnp.maximum(source.distance, 1e-6)[:, None], jnp.asarray(length, float)
    x, w = np.polynomial.legendre.leggauss(24)
    below, above = jnp.maximum(a - 30 * scale, 0.0), jnp.minimum(a + 30 * scale, FAR + a)
    u, v = (x + 1) / 2, w / 2
    # towards the kink at a on either side, where the density is
    r = jnp.concatenate([a - (a - below) * u**2, a + (above - a) * u**2], 1)
    weight = jnp.concatenate([(a - below) * 2 * u * v, (above - a) * 2 * u * v], 1)
    density = r / (2 * a * scale) * (jnp.exp(-jnp.abs(r - a) / scale) - jnp.exp(-(r + a) / scale))
    return SourceDistances(r.reshape(-1), (source.weight[:, None] * weight * density).reshape(-1))
