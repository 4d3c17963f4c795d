"""Priors where a study gives none: weak, centred on the initial values, and stated in the result.

    positive θ            log-normal around the initial value, SD of ln θ 1.5 (95 %: a nineteenth to nineteen times it)
    θ beyond one bound    the same for its distance from the bound
    θ between bounds      uniform
    any other θ           normal around the initial value, SD twice that or one unit, whichever is more
    standard deviations   half-normal, SD three times the initial value
    Ω                     of each η's standard deviation half-normal, SD three times the initial one (at least 1 where η acts
                          on a logarithm or a logit); of correlations in a block LKJ(2)   (Lewandowski, Kurowicka & Joe 2009)

Gelman 2006 (Bayesian Anal 1:515) argues for the half-normal on standard deviations and against the inverse gamma on variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.priors import HalfNormal, LogNormal, Normal, Prior, Uniform
from pbpk.population.distributions import DISTRIBUTIONS

if TYPE_CHECKING:
    from pbpk.likelihood.parameter_layout import OmegaBlock, Theta
    from pbpk.likelihood.problem import Problem

_SD_OF_LOG, _TIMES, _LKJ = 1.5, 3.0, 2.0


@dataclass(frozen=True)
class Beyond:
    """`prior` is of the distance of x from `edge`, above it or (`below`) below it."""

    prior: Prior
    edge: float
    below: bool = False

    def log_density(self, x: Any) -> Any:
        return self.prior.log_density(self.edge - x if self.below else x - self.edge)


@dataclass(frozen=True)
class Spreads:
    """On a block of Ω: its standard deviations half-normal with these SDs, its correlations LKJ."""

    sds: tuple[float, ...]
    shape: float = _LKJ

    def log_density(self, x: Any) -> Any:
        """ln p(Ω): that of (s, R), less ln |∂Ω/∂(s, R)| = k Σ ln s + constant."""
        s = jnp.sqrt(jnp.diag(x))
        k = len(self.sds)
        spread = -0.5 * jnp.sum((s / jnp.asarray(self.sds)) ** 2) - k * jnp.sum(jnp.log(s))
        correlated = jnp.linalg.slogdet(x)[1] - 2 * jnp.sum(jnp.log(s))
        return spread + ((self.shape - 1) * correlated if k > 1 else 0.0)


@dataclass(frozen=True)
class Assumed:
    """A prior on the natural values at `at` (a block of Ω: its lower triangle by rows), and the sentence that states it."""

    name: str
    at: tuple[int, ...]
    prior: Beyond | Spreads | Prior
    words: str

    def log_density(self, natural: Any) -> Any:
        if not isinstance(self.prior, Spreads):
            return self.prior.log_density(natural[self.at[0]])
        k = len(self.prior.sds)
        rows, columns = np.tril_indices(k)
        lower = jnp.zeros((k, k)).at[rows, columns].set(natural[jnp.asarray(self.at)])
        return self.prior.log_density(lower + jnp.tril(lower, -1).T)


def assumed(
    problem: Problem, scale: np.ndarray | None = None, units: tuple[str, ...] | None = None
) -> tuple[Assumed, ...]:
    """What is assumed of the parameters without a prior. `scale` and `units` are those of the shown natural values."""
    layout, initial = problem.spec.layout, np.asarray(problem.initial)
    scale = np.ones(len(initial)) if scale is None else scale
    units = units or ("1",) * len(initial)
    known = {i for p in problem.spec.priors for i in p.at}
    out, at = [], 0
    for theta in layout.thetas:
        if not theta.fixed and at not in known:
            shown = _Shown(float(scale[at]), units[at])
            out.append(Assumed(theta.name, (at,), *_of_theta(theta, float(initial[at]), shown)))
        at += 1
    acts = {v.name: DISTRIBUTIONS[v.distribution] for v in problem.spec.individual.varying}
    for block in layout.blocks:
        places = tuple(range(at, at + len(block.names)))
        if not block.fixed and not known & set(places):
            relative = [acts[e].multiplies or acts[e].bounded for e in block.etas]
            prior, words = _of_block(block, initial[list(places)], scale[list(places)], relative)
            out.append(Assumed(block.names[0], places, prior, words))
        at += len(places)
    for name in layout.sigmas:
        if name not in layout.held and at not in known:
            sd = _TIMES * float(initial[at])
            shown = _Shown(float(scale[at]), units[at])
            out.append(Assumed(name, (at,), HalfNormal(sd), f"half-normal with SD {shown(sd)}"))
        at += 1
    return tuple(out)


@dataclass(frozen=True)
class _Shown:
    scale: float
    unit: str

    def __call__(self, x: float) -> str:
        return f"{x / self.scale:.4g}{'' if self.unit == '1' else f' {self.unit}'}"


def _of_theta(theta: Theta, start: float, shown: _Shown) -> tuple[Prior | Beyond, str]:
    low, high = theta.ends
    if low > -inf and high < inf:
        return Uniform(low, high), f"uniform from {shown(low)} to {shown(high)}"
    if low == 0:
        return LogNormal(start, _SD_OF_LOG), f"log-normal around {shown(start)}, SD of the logarithm {_SD_OF_LOG}"
    if low > -inf or high < inf:
        edge, below = (low, False) if low > -inf else (high, True)
        prior = Beyond(LogNormal(abs(start - edge), _SD_OF_LOG), edge, below)
        words = f"{'below' if below else 'above'} {shown(edge)} by what is log-normal around {shown(abs(start - edge))}"
        return prior, f"{words}, SD of the logarithm {_SD_OF_LOG}"
    sd = max(2 * abs(start), shown.scale)
    return Normal(start, sd), f"normal around {shown(start)} with SD {shown(sd)}"


def _of_block(block: OmegaBlock, lower: np.ndarray, scale: np.ndarray, relative: list[bool]) -> tuple[Spreads, str]:
    k = len(block.etas)
    diagonal = [i * (i + 3) // 2 for i in range(k)]
    start = np.sqrt(lower[diagonal])
    sds = [max(_TIMES * s, 1.0) if r else _TIMES * s for s, r in zip(start, relative, strict=True)]
    shown = ", ".join(f"{sd / unit:.4g}" for sd, unit in zip(sds, np.sqrt(scale[diagonal]), strict=True))
    words = f"standard deviation{'s' if k > 1 else ''} of η on {', '.join(block.etas)} half-normal with SD {shown}"
    return Spreads(tuple(float(s) for s in sds)), words + (f"; correlations LKJ({_LKJ:g})" if k > 1 else "")
