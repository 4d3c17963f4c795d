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

from pbpk.likelihood.priors import HalfNormalPrior, LogNormalPrior, NormalPrior, Prior, UniformPrior
from pbpk.population.distributions import DISTRIBUTIONS

if TYPE_CHECKING:
    from pbpk.likelihood.parameter_layout import OmegaBlock, Theta
    from pbpk.likelihood.problem import Problem

_LOG_SD = 1.5  # of a positive θ
_SD_FACTOR = 3.0  # SD of a half-normal prior over the initial standard deviation
_LKJ_SHAPE = 2.0


@dataclass(frozen=True)
class ShiftedPrior:
    """The prior of a θ with one bound: `prior` is of the distance of x from `edge`, above it or (`below`) below it."""

    prior: Prior
    edge: float
    below: bool = False

    def log_density(self, x: Any) -> Any:
        """ln p of the natural value x, up to a constant."""
        return self.prior.log_density(self.edge - x if self.below else x - self.edge)


@dataclass(frozen=True)
class OmegaBlockPrior:
    """The prior of a block of Ω: its standard deviations half-normal with these SDs, its correlations LKJ."""

    sds: tuple[float, ...]
    shape: float = _LKJ_SHAPE

    def log_density(self, x: Any) -> Any:
        """ln p(Ω): that of (s, R), less ln |∂Ω/∂(s, R)| = k Σ ln s + constant."""
        s = jnp.sqrt(jnp.diag(x))
        k = len(self.sds)
        spread = -0.5 * jnp.sum((s / jnp.asarray(self.sds)) ** 2) - k * jnp.sum(jnp.log(s))
        correlated = jnp.linalg.slogdet(x)[1] - 2 * jnp.sum(jnp.log(s))
        return spread + ((self.shape - 1) * correlated if k > 1 else 0.0)


@dataclass(frozen=True)
class AssumedPrior:
    """A prior that the study does not state, on the natural values at `at` (a block of Ω: its lower triangle by rows), and the
    sentence that states it."""

    name: str
    at: tuple[int, ...]
    prior: ShiftedPrior | OmegaBlockPrior | Prior
    statement: str

    def log_density(self, natural: Any) -> Any:
        """ln p of its part of the natural vector, up to a constant."""
        if not isinstance(self.prior, OmegaBlockPrior):
            return self.prior.log_density(natural[self.at[0]])
        k = len(self.prior.sds)
        rows, columns = np.tril_indices(k)
        lower = jnp.zeros((k, k)).at[rows, columns].set(natural[jnp.asarray(self.at)])
        return self.prior.log_density(lower + jnp.tril(lower, -1).T)


def assume_priors(
    problem: Problem, scale: np.ndarray | None = None, units: tuple[str, ...] | None = None
) -> tuple[AssumedPrior, ...]:
    """The priors of the estimated parameters that the study gives none. `scale` and `units` of the shown natural values
    (names,) are for the statements."""
    layout, initial = problem.structure.layout, np.asarray(problem.initial)
    scale = np.ones(len(initial)) if scale is None else scale
    units = units or ("1",) * len(initial)
    with_prior = {i for p in problem.structure.priors for i in p.positions}
    out, at = [], 0
    for theta in layout.thetas:
        if not theta.fixed and at not in with_prior:
            text_of = _UnitFormatter(float(scale[at]), units[at])
            out.append(AssumedPrior(theta.name, (at,), *_assume_for_theta(theta, float(initial[at]), text_of)))
        at += 1
    distributions = {v.name: DISTRIBUTIONS[v.distribution] for v in problem.structure.individual_model.varying}
    for block in layout.blocks:
        places = tuple(range(at, at + len(block.names)))
        if not block.fixed and not with_prior & set(places):
            relative = [distributions[e].multiplies or distributions[e].bounded for e in block.etas]
            prior, statement = _assume_for_block(block, initial[list(places)], scale[list(places)], relative)
            out.append(AssumedPrior(block.names[0], places, prior, statement))
        at += len(places)
    for name in layout.sigmas:
        if name not in layout.fixed_sigmas and at not in with_prior:
            sd = _SD_FACTOR * float(initial[at])
            text_of = _UnitFormatter(float(scale[at]), units[at])
            out.append(AssumedPrior(name, (at,), HalfNormalPrior(sd), f"half-normal with SD {text_of(sd)}"))
        at += 1
    return tuple(out)


@dataclass(frozen=True)
class _UnitFormatter:
    """A coherent number as text in the unit that is shown; `scale` is that unit in coherent ones."""

    scale: float
    unit: str

    def __call__(self, x: float) -> str:
        return f"{x / self.scale:.4g}{'' if self.unit == '1' else f' {self.unit}'}"


def _assume_for_theta(theta: Theta, start: float, text_of: _UnitFormatter) -> tuple[Prior | ShiftedPrior, str]:
    """The prior of a θ that starts from `start`, and the sentence that states it."""
    low, high = theta.interval
    if low > -inf and high < inf:
        return UniformPrior(low, high), f"uniform from {text_of(low)} to {text_of(high)}"
    if low == 0:
        return LogNormalPrior(start, _LOG_SD), f"log-normal around {text_of(start)}, SD of the logarithm {_LOG_SD}"
    if low > -inf or high < inf:
        edge, below = (low, False) if low > -inf else (high, True)
        prior = ShiftedPrior(LogNormalPrior(abs(start - edge), _LOG_SD), edge, below)
        statement = (
            f"{'below' if below else 'above'} {text_of(edge)} by what is log-normal around {text_of(abs(start - edge))}"
        )
        return prior, f"{statement}, SD of the logarithm {_LOG_SD}"
    sd = max(2 * abs(start), text_of.scale)
    return NormalPrior(start, sd), f"normal around {text_of(start)} with SD {text_of(sd)}"


def _assume_for_block(
    block: OmegaBlock, lower: np.ndarray, scale: np.ndarray, relative: list[bool]
) -> tuple[OmegaBlockPrior, str]:
    """The prior of a block of Ω and its statement. `lower`: its initial lower triangle by rows; `relative`: for each η, whether
    it acts on a logarithm or a logit."""
    k = len(block.etas)
    diagonal = [i * (i + 3) // 2 for i in range(k)]
    start = np.sqrt(lower[diagonal])
    sds = [max(_SD_FACTOR * s, 1.0) if r else _SD_FACTOR * s for s, r in zip(start, relative, strict=True)]
    sds_text = ", ".join(f"{sd / unit:.4g}" for sd, unit in zip(sds, np.sqrt(scale[diagonal]), strict=True))
    statement = (
        f"standard deviation{'s' if k > 1 else ''} of η on {', '.join(block.etas)} half-normal with SD {sds_text}"
    )
    return OmegaBlockPrior(tuple(float(s) for s in sds)), statement + (
        f"; correlations LKJ({_LKJ_SHAPE:g})" if k > 1 else ""
    )
