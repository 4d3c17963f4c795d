"""The estimated numbers as one vector: θ, Ω and σ, and the free coordinates that an optimiser moves in.

Natural values are the numbers people read: θ, variances and covariances, standard deviations. The unconstrained vector, ψ in
formulas, has a coordinate for each that is estimated and any real value is a valid model: positive θ and standard deviations
are there by their logarithm, a bounded θ by its logit, a block of Ω by its Cholesky factor with the diagonal in logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Theta:
    """A θ. `bounds`, where there are any, are the ends it stays between (either may be infinite); its unconstrained value is
    then its logit between them, or the logarithm of its distance from the finite one."""

    name: str
    positive: bool
    fixed: bool = False
    bounds: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The ends that it stays between: `bounds`, or those that its sign sets."""
        return self.bounds or ((0.0, inf) if self.positive else (-inf, inf))

    def to_unconstrained(self, x: Any) -> Any:
        """The free coordinate of the natural value `x`."""
        low, high = self.interval
        if low > -inf and high < inf:
            return np.log(x - low) - np.log(high - x)
        return np.log(x - low) if low > -inf else -np.log(high - x) if high < inf else x

    def from_unconstrained(self, y: Any) -> Any:
        """The natural value of the free coordinate `y`."""
        low, high = self.interval
        if low > -inf and high < inf:
            return low + (high - low) * jax.nn.sigmoid(y)
        if low > -inf:
            return low + jnp.exp(y) if low else jnp.exp(y)
        return high - jnp.exp(-y) if high < inf else y


@dataclass(frozen=True)
class OmegaBlock:
    """Random effects `etas` that may correlate with one another; with `occasions`, one such set for each occasion, all with the
    same Ω."""

    etas: tuple[str, ...]
    fixed: bool = False
    occasions: int = 0

    @property
    def members(self) -> tuple[str, ...]:
        """All random effects that it stands for; that of CL on occasion 1 is `CL@1`."""
        return (
            tuple(f"{e}@{k}" for k in range(1, self.occasions + 1) for e in self.etas) if self.occasions else self.etas
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its variances and covariances, the lower triangle by rows."""
        head = "OMEGA_IOV_" if self.occasions else "OMEGA_"
        return tuple(
            f"{head}{a}" if a == b else f"{head}{b}_{a}" for i, a in enumerate(self.etas) for b in self.etas[: i + 1]
        )


@dataclass(frozen=True)
class ParameterLayout:
    """The order of the natural vector: θ, then each block's lower triangle by rows, then standard deviations.

    `fixed_sigmas`: those among the standard deviations that are not estimated.
    """

    thetas: tuple[Theta, ...]
    blocks: tuple[OmegaBlock, ...]
    sigmas: tuple[str, ...]
    fixed_sigmas: tuple[str, ...] = ()

    @property
    def etas(self) -> tuple[str, ...]:
        """All random effects, in the order of η and of Ω."""
        return tuple(e for b in self.blocks for e in b.members)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the natural vector's entries."""
        return (*(t.name for t in self.thetas), *(n for b in self.blocks for n in b.names), *self.sigmas)

    @property
    def fixed_mask(self) -> np.ndarray:
        """Which entries of the natural vector are held."""
        omegas = [b.fixed for b in self.blocks for _ in range(len(b.etas) * (len(b.etas) + 1) // 2)]
        return np.array([*(t.fixed for t in self.thetas), *omegas, *(s in self.fixed_sigmas for s in self.sigmas)])

    @property
    def log_sd_positions(self) -> list[int]:
        """Where ψ has the logarithm of an η's standard deviation (in a block, of what the η before it leave)."""
        positions, k = [], sum(not t.fixed for t in self.thetas)
        for block in self.blocks:
            if not block.fixed:
                rows, columns = np.tril_indices(len(block.etas))
                positions += [k + int(i) for i in np.flatnonzero(rows == columns)]
                k += len(rows)
        return positions

    def to_unconstrained(self, natural: np.ndarray) -> np.ndarray:
        """The unconstrained vector (P,) of natural values. Raises `LinAlgError` where a block of Ω is not positive definite."""
        out, at = [], 0
        for t in self.thetas:
            if not t.fixed:
                out.append(t.to_unconstrained(natural[at]))
            at += 1
        for block in self.blocks:
            k = len(block.etas)
            rows, columns = np.tril_indices(k)
            omega = np.zeros((k, k))
            omega[rows, columns] = natural[at : at + len(rows)]
            chol = np.linalg.cholesky(omega + np.tril(omega, -1).T)
            if not block.fixed:
                out += [np.log(chol[i, j]) if i == j else chol[i, j] for i, j in zip(rows, columns, strict=True)]
            at += len(rows)
        out += [np.log(x) for s, x in zip(self.sigmas, natural[at:], strict=True) if s not in self.fixed_sigmas]
        return np.array(out, dtype=float)

    def unpack(self, unconstrained: jax.Array, initial: jax.Array) -> tuple[dict, jax.Array, dict]:
        """θ by name, Ω (q, q) and σ by name; held entries come from `initial` (natural)."""
        theta, at, k = {}, 0, 0
        for t in self.thetas:
            if t.fixed:
                theta[t.name] = initial[at]
            else:
                theta[t.name] = t.from_unconstrained(unconstrained[k])
                k += 1
            at += 1
        q = len(self.etas)
        omega, first = jnp.zeros((q, q)), 0
        for block in self.blocks:
            size = len(block.etas)
            rows, columns = np.tril_indices(size)
            lower = jnp.zeros((size, size))
            if block.fixed:
                lower = lower.at[rows, columns].set(initial[at : at + len(rows)])
                square = lower + jnp.tril(lower, -1).T
            else:
                entries = unconstrained[k : k + len(rows)]
                lower = lower.at[rows, columns].set(jnp.where(rows == columns, jnp.exp(entries), entries))
                square = lower @ lower.T
                k += len(rows)
            for _ in range(max(block.occasions, 1)):
                omega = omega.at[first : first + size, first : first + size].set(square)
                first += size
            at += len(rows)
        sigma = {}
        for name in self.sigmas:
            sigma[name] = initial[at] if name in self.fixed_sigmas else jnp.exp(unconstrained[k])
            k += name not in self.fixed_sigmas
            at += 1
        return theta, omega, sigma

    def to_natural(self, unconstrained: jax.Array, initial: jax.Array) -> jax.Array:
        """The natural vector, differentiable in the unconstrained one."""
        theta, omega, sigma = self.unpack(unconstrained, initial)
        parts, first = [theta[t.name] for t in self.thetas], 0
        for block in self.blocks:
            rows, columns = np.tril_indices(len(block.etas))
            parts += list(omega[first + rows, first + columns])
            first += len(block.members)
        return jnp.stack([*parts, *(sigma[s] for s in self.sigmas)])


@partial(jax.jit, static_argnames="layout")
def natural_with_jacobian(
    layout: ParameterLayout, unconstrained: jax.Array, initial: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The natural vector, its Jacobian (names, P) and Ω, in one compiled call."""
    jacobian = jax.jacfwd(layout.to_natural)(unconstrained, initial)
    return layout.to_natural(unconstrained, initial), jacobian, layout.unpack(unconstrained, initial)[1]
