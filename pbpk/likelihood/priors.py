"""What is known of a parameter beforehand: a penalty on the OFV, and a density for Bayesian methods.

The penalty is −2 ln of the prior's density in the parameter's usual coordinate (ln x for a log-normal one), without its
constants, so that its least value is at the prior's centre, as NONMEM's $PRIOR NWPRI has it. To add a prior: a class here, a
row in `PRIORS` and its test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp


class Prior(Protocol):
    """What is known of one natural value x, coherent, or of a block of Ω, where x is the matrix."""

    def penalty(self, x: Any) -> Any:
        """−2 ln of the density in the parameter's usual coordinate, without constants."""
        ...

    def log_density(self, x: Any) -> Any:
        """ln p(x) in x itself, up to a constant."""
        ...


@dataclass(frozen=True)
class NormalPrior:
    """A normal distribution around `value`."""

    value: float
    sd: float

    def penalty(self, x: Any) -> Any:
        """The squared standardised distance."""
        return ((x - self.value) / self.sd) ** 2

    def log_density(self, x: Any) -> Any:
        """ln p(x), up to a constant."""
        return -0.5 * self.penalty(x)


@dataclass(frozen=True)
class LogNormalPrior:
    """A log-normal distribution: `value` is the median, `sd` that of ln x."""

    value: float
    sd: float

    def penalty(self, x: Any) -> Any:
        """The squared standardised distance of the logarithms."""
        return (jnp.log(x / self.value) / self.sd) ** 2

    def log_density(self, x: Any) -> Any:
        """ln p(x), up to a constant: with the Jacobian of the logarithm."""
        return -0.5 * self.penalty(x) - jnp.log(x)


@dataclass(frozen=True)
class HalfNormalPrior:
    """For what cannot be negative: a normal around 0, cut there."""

    sd: float

    def penalty(self, x: Any) -> Any:
        """The squared standardised distance from 0."""
        return (x / self.sd) ** 2

    def log_density(self, x: Any) -> Any:
        """ln p(x), up to a constant."""
        return -0.5 * self.penalty(x)


@dataclass(frozen=True)
class UniformPrior:
    """Anything between `low` and `high`, and nothing else."""

    low: float
    high: float

    def penalty(self, x: Any) -> Any:
        """0 between the ends, ∞ beyond."""
        return jnp.where((x >= self.low) & (x <= self.high), 0.0, jnp.inf)

    def log_density(self, x: Any) -> Any:
        """ln p(x), up to a constant."""
        return -0.5 * self.penalty(x)


@dataclass(frozen=True)
class InverseWishartPrior:
    """On a block of Ω: its inverse is Wishart with `df` degrees of freedom and mean that of `value` (rows), as in NONMEM."""

    value: tuple[tuple[float, ...], ...]
    df: float

    def penalty(self, x: Any) -> Any:
        """−2 ln density, less what it is at `value`."""
        centre = jnp.asarray(self.value)
        k = centre.shape[0]
        ratio = jnp.linalg.solve(jnp.atleast_2d(x), centre)
        return self.df * (jnp.trace(ratio) - k) - (self.df + k + 1) * jnp.linalg.slogdet(ratio)[1]

    def log_density(self, x: Any) -> Any:
        """ln p(x), up to a constant."""
        return -0.5 * self.penalty(x)


# name in fit.toml: (its class, the settings that it needs, in the order of the class's fields)
PRIORS = {
    "normal": (NormalPrior, ("value", "sd")),
    "lognormal": (LogNormalPrior, ("value", "sd")),
    "half_normal": (HalfNormalPrior, ("sd",)),
    "uniform": (UniformPrior, ("low", "high")),
    "inverse_wishart": (InverseWishartPrior, ("df",)),
}


@dataclass(frozen=True)
class PlacedPrior:
    """A prior and where in the natural vector it acts: one place, or the lower triangle of a block of Ω by rows."""

    name: str
    positions: tuple[int, ...]
    prior: Prior

    def select_value(self, natural: Any) -> Any:
        """What the prior is a density of: one number, or the block of Ω."""
        if not isinstance(self.prior, InverseWishartPrior):
            return natural[self.positions[0]]
        size = len(self.prior.value)
        rows, columns = jnp.tril_indices(size)
        entries = jnp.stack([natural[i] for i in self.positions])
        lower = jnp.zeros((size, size)).at[rows, columns].set(entries)
        return lower + jnp.tril(lower, -1).T


def total_penalty(priors: tuple[PlacedPrior, ...], natural: Any) -> Any:
    """−2 ln of all priors together at the natural vector, without constants."""
    return sum((p.prior.penalty(p.select_value(natural)) for p in priors), jnp.asarray(0.0))


def total_log_density(priors: tuple[PlacedPrior, ...], natural: Any) -> Any:
    """ln of all priors' densities together in the natural values themselves, up to a constant."""
    return sum((p.prior.log_density(p.select_value(natural)) for p in priors), jnp.asarray(0.0))
