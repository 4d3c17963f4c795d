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
    """Outcomes that are functions of independent standard normals.

    `origins`: for each group its normals' origins. Called with z, the outcomes (N,); `linear` where only their slopes at 0 are
    wanted, so that what is not log-normal has the slope of its SD.
    """

    origins: Mapping[str, tuple[str, ...]]

    def __call__(self, z: StandardNormals, linear: bool) -> dict[OutcomeKey, Any]: ...


@dataclass(frozen=True)
class DoseSpread:
    """What is not known of one outcome.

    `value` with all inputs as they are usually taken; mean, SD and interval over what is not known; `share` of the variance of
    the logarithm by origin, adding up to 1 (empty where nothing is uncertain).
    """

    value: float
    mean: float
    sd: float
    low: float
    high: float
    share: dict[str, float]


def propagate(outcomes: UncertainOutcomes, level: float = 0.9) -> dict[OutcomeKey, DoseSpread]:
    """Propagate to first order on the logarithm; mean, SD and interval are those of a log-normal."""
    zeros = {g: jnp.zeros((len(o), 1)) for g, o in outcomes.origins.items()}

    def central(z: StandardNormals) -> dict[OutcomeKey, Any]:
        return {k: v[0] for k, v in outcomes(z, True).items()}

    value, slope = jax.jit(lambda z: (central(z), jax.jacfwd(central)(z)))(zeros)
    return {k: _first_order(float(v), slope[k], outcomes.origins, level) for k, v in value.items()}


def _first_order(
    value: float, slope: StandardNormals, origins: Mapping[str, tuple[str, ...]], level: float
) -> DoseSpread:
    if value <= 0:
        return DoseSpread(value, value, 0.0, value, value, {})
    by_origin: dict[str, float] = {}
    for group, group_origins in origins.items():
        for origin, s in zip(group_origins, np.asarray(slope[group]).reshape(-1) / value, strict=True):
            by_origin[origin] = by_origin.get(origin, 0.0) + float(s) ** 2
    variance = sum(by_origin.values())
    factor = np.exp(NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance))
    mean = value * np.exp(variance / 2)
    sd = mean * np.sqrt(np.expm1(variance))
    return DoseSpread(value, float(mean), float(sd), float(value / factor), float(value * factor), _shares(by_origin))


def run_montecarlo(
    outcomes: UncertainOutcomes, draws: int, seed: int = 1, level: float = 0.9
) -> tuple[dict[OutcomeKey, DoseSpread], dict[OutcomeKey, int]]:
    """Spreads of `draws`, and how many of them gave no number, by outcome: they are left out.

    The shares are by letting one origin at a time vary, so each leaves out how origins act together. A group's random numbers
    depend on `seed` and its name alone.
    """
    key = jax.random.key(seed)
    z = {
        g: jax.random.normal(jax.random.fold_in(key, zlib.crc32(g.encode())), (len(o), draws))
        for g, o in outcomes.origins.items()
    }
    names = dict.fromkeys(o for of in outcomes.origins.values() for o in of)
    zeros = {g: jnp.zeros((len(o), 1)) for g, o in outcomes.origins.items()}
    value, drawn_all = (_arrays(outcomes(x, False)) for x in (zeros, z))
    alone = {}
    for origin in names:
        varied = {g: v * np.array([o == origin for o in outcomes.origins[g]])[:, None] for g, v in z.items()}
        alone[origin] = _arrays(outcomes(varied, False))
    spreads, failed = {}, {}
    for k, drawn in drawn_all.items():
        finite = drawn[np.isfinite(drawn)]
        failed[k] = len(drawn) - len(finite)
        low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2]) if len(finite) else (np.nan, np.nan)
        sd = float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
        by_origin = {o: _variance_of_log(v[k]) for o, v in alone.items()}
        spreads[k] = DoseSpread(
            float(value[k][0]), float(finite.mean()), sd, float(low), float(high), _shares(by_origin)
        )
    return spreads, failed


def _arrays(outcomes: Mapping[OutcomeKey, Any]) -> dict[OutcomeKey, np.ndarray]:
    return {k: np.asarray(v) for k, v in outcomes.items()}


def _variance_of_log(drawn: np.ndarray) -> float:
    positive = drawn[np.isfinite(drawn) & (drawn > 0)]
    return float(np.log(positive).var(ddof=1)) if len(positive) > 1 else 0.0


def _shares(by_origin: Mapping[str, float]) -> dict[str, float]:
    total = sum(by_origin.values())
    return {o: v / total if v > 1e-12 * total else 0.0 for o, v in by_origin.items()} if total > 0 else {}


Function = Callable[[StandardNormals], Mapping[OutcomeKey, Any]]


@dataclass(frozen=True, eq=False)
class FunctionOutcomes:
    """Outcomes of a plain function of z."""

    origins: Mapping[str, tuple[str, ...]]
    function: Function

    def __call__(self, z: StandardNormals, linear: bool) -> dict[OutcomeKey, Any]:
        return dict(self.function(z))
