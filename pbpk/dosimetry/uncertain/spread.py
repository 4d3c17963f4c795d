"""First-order propagation and Monte Carlo of positive outcomes, and the share of each origin in their variance.

Outcomes are functions of independent standard normals z, in groups; what an input's distribution is lies in that function. A
dose is a product of factors, so first order is taken of its logarithm, s² = Σ (∂ln D/∂z)²: the relative (u_D/D)² = Σ (u_x/x)²
of EANM's guidance (Gear 2018, Eur J Nucl Med Mol Imaging 45:2456), and exact for a product of log-normal factors, however wide.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

OutcomeKey = tuple[str, str]  # quantity, target
StandardNormals = dict[str, Any]  # by group, (size, N)


class UncertainOutcomes(Protocol):
    """`origins`: for each group its normals' origins. Called with z, the outcomes (N,); `linear` where only their slopes at 0
    are wanted, so that what is not log-normal has the slope of its SD."""

    origins: Mapping[str, tuple[str, ...]]

    def __call__(self, z: StandardNormals, linear: bool) -> dict[OutcomeKey, Any]: ...


@dataclass(frozen=True)
class DoseSpread:
    """`value` with all inputs as they are usually taken; mean, SD and interval over what is not known; `share` of the variance
    of the logarithm by origin, adding up to 1 (empty where nothing is uncertain)."""

    value: float
    mean: float
    sd: float
    low: float
    high: float
    share: dict[str, float]


def propagate(outcomes: UncertainOutcomes, level: float = 0.9) -> dict[OutcomeKey, DoseSpread]:
    """Of first order on the logarithm; mean, SD and interval are those of a log-normal."""
    still = {g: jnp.zeros((len(o), 1)) for g, o in outcomes.origins.items()}

    def central(z: StandardNormals) -> dict[OutcomeKey, Any]:
        return {k: v[0] for k, v in outcomes(z, True).items()}

    value, slope = jax.jit(lambda z: (central(z), jax.jacfwd(central)(z)))(still)
    return {k: _first_order(float(v), slope[k], outcomes.origins, level) for k, v in value.items()}


def _first_order(
    value: float, slope: StandardNormals, origins: Mapping[str, tuple[str, ...]], level: float
) -> DoseSpread:
    if value <= 0:
        return DoseSpread(value, value, 0.0, value, value, {})
    by_origin: dict[str, float] = {}
    for group, of in origins.items():
        for origin, s in zip(of, np.asarray(slope[group]).reshape(-1) / value, strict=True):
            by_origin[origin] = by_origin.get(origin, 0.0) + float(s) ** 2
    variance = sum(by_origin.values())
    factor = np.exp(NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance))
    mean = value * np.exp(variance / 2)
    sd = mean * np.sqrt(np.expm1(variance))
    return DoseSpread(value, float(mean), float(sd), float(value / factor), float(value * factor), _shares(by_origin))


def run_montecarlo(
    outcomes: UncertainOutcomes, draws: int, seed: int = 1, level: float = 0.9
) -> tuple[dict[OutcomeKey, DoseSpread], dict[OutcomeKey, int]]:
    """Of `draws`; the shares are by letting one origin at a time vary, so each leaves out how origins act together. Also how
    many draws gave no number, by outcome: they are left out."""
    key = jax.random.key(seed)
    z = {
        g: jax.random.normal(jax.random.fold_in(key, zlib.crc32(g.encode())), (len(o), draws))
        for g, o in outcomes.origins.items()
    }
    names = dict.fromkeys(o for of in outcomes.origins.values() for o in of)
    still = {g: jnp.zeros((len(o), 1)) for g, o in outcomes.origins.items()}
    value, whole = (_arrays(outcomes(x, False)) for x in (still, z))
    alone = {}
    for origin in names:
        only = {g: v * np.array([o == origin for o in outcomes.origins[g]])[:, None] for g, v in z.items()}
        alone[origin] = _arrays(outcomes(only, False))
    found, lost = {}, {}
    for k, drawn in whole.items():
        known = drawn[np.isfinite(drawn)]
        lost[k] = len(drawn) - len(known)
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (np.nan, np.nan)
        sd = float(known.std(ddof=1)) if len(known) > 1 else 0.0
        by_origin = {o: _variance_of_log(v[k]) for o, v in alone.items()}
        found[k] = DoseSpread(float(value[k][0]), float(known.mean()), sd, float(low), float(high), _shares(by_origin))
    return found, lost


def _arrays(found: Mapping[OutcomeKey, Any]) -> dict[OutcomeKey, np.ndarray]:
    return {k: np.asarray(v) for k, v in found.items()}


def _variance_of_log(drawn: np.ndarray) -> float:
    known = drawn[np.isfinite(drawn) & (drawn > 0)]
    return float(np.log(known).var(ddof=1)) if len(known) > 1 else 0.0


def _shares(by_origin: Mapping[str, float]) -> dict[str, float]:
    whole = sum(by_origin.values())
    return {o: v / whole if v > 1e-12 * whole else 0.0 for o, v in by_origin.items()} if whole > 0 else {}


Function = Callable[[StandardNormals], Mapping[OutcomeKey, Any]]


@dataclass(frozen=True, eq=False)
class FunctionOutcomes:
    """Outcomes of a plain function of z."""

    origins: Mapping[str, tuple[str, ...]]
    function: Function

    def __call__(self, z: StandardNormals, linear: bool) -> dict[OutcomeKey, Any]:
        return dict(self.function(z))
