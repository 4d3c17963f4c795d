"""Patients split over several schedules: the best proportions, and the proof that nothing else is better.

The multiplicative algorithm moves the weight of each elementary design by its sensitivity (Silvey, Titterington & Torsney
1978, Commun Stat 7:1379; Seurat, Tang & Mentré 2021, Comput Methods Programs Biomed 207:106126). By the equivalence theorem
the design is optimal when no elementary design is more sensitive than the number of parameters; short of that, by how much it
can still be bettered is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import ScienceFailed
from pbpk.optimal_design.criteria import dimension, sensitivity

if TYPE_CHECKING:
    from pbpk.optimal_design.exchange import Judge

_NEAR = 1e-4  # of p: the sensitivity that the optimum may still be exceeded by
_ROUNDS, _STEPS, _FEW = 100, 5000, 60
_LITTLE = 1e-4


@dataclass(frozen=True, eq=False)
class Mixture:
    """`weights` {arm: (E,)} of `designs` {arm: (E, k)}; `value` the criterion, `bound` what no design exceeds; `excess` is the
    greatest sensitivity less the number of parameters: 0 at the optimum."""

    designs: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    value: float
    bound: float
    excess: float
    iterations: int


def split(judge: Judge, designs: Mapping[str, np.ndarray]) -> Mixture:
    """The optimal weights, to a sensitivity within 1e-4 of its bound (relative).

    Most elementary designs have no part in the optimum: the weights move among a few, to which the most sensitive of all are
    added until none of all exceeds the bound.
    """
    parts = {a: judge.arm(a, e) for a, e in designs.items()}
    weights = {a: np.full(len(e), 1.0 / len(e)) for a, e in designs.items()}
    p = dimension(judge.to.shape[-1], judge.interest)
    if not np.isfinite(judge.value(_mixed(parts, weights))):
        raise ScienceFailed("no split over these schedules determines all parameters", hint="allow more --samples")
    excess, count = np.inf, 0
    for _ in range(_ROUNDS):
        found = {a: sensitivity(_mixed(parts, weights), x, judge.interest) for a, x in parts.items()}
        excess = sum(float(s.max()) for s in found.values()) - p
        if excess < _NEAR * p:
            break
        few = {a: np.union1d(np.argsort(-s)[:_FEW], np.argsort(-weights[a])[:_FEW]) for a, s in found.items()}
        few = {a: k[np.isfinite(found[a][k])] for a, k in few.items()}
        among, taken = _climb(
            {a: parts[a][k] for a, k in few.items()}, {a: weights[a][k] for a, k in few.items()}, judge, p
        )
        count += taken
        weights = {a: np.zeros(len(w)) for a, w in weights.items()}
        for a, k in few.items():
            weights[a][k] = among[a]
    value = float(judge.value(_mixed(parts, weights)))
    return Mixture(designs, weights, value, value + excess, excess, count)


def _climb(parts: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], judge: Judge, p: int):
    """The multiplicative algorithm among `parts`, newcomers beginning with a little; the weights and how many steps it took."""
    # The whole power climbs steadily for D; for few parameters of many it swings for ever, and half of it does not.
    power = 0.5 if judge.interest else 1.0
    weights = {a: np.maximum(w, 0.1 / len(w) * w.sum()) for a, w in start.items()}
    for step in range(_STEPS):
        weights = {a: w / w.sum() for a, w in weights.items()}
        m = _mixed(parts, weights)
        found = {a: sensitivity(m, x, judge.interest) for a, x in parts.items()}
        if sum(float(s.max()) for s in found.values()) - p < 0.5 * _NEAR * p:
            return weights, step
        weights = {a: w * found[a] ** power for a, w in weights.items()}
    return {a: w / w.sum() for a, w in weights.items()}, _STEPS


def _mixed(parts: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.sum([np.einsum("e,edij->dij", w, parts[a]) for a, w in weights.items()], axis=0)


def rounded(weights: np.ndarray, subjects: int) -> np.ndarray:
    """Whole subjects by the largest remainder (Pukelsheim & Rieder 1992 differ by one subject at most)."""
    kept = np.where(weights > _LITTLE, weights, 0.0)
    ideal = subjects * kept / kept.sum()
    whole = np.floor(ideal).astype(int)
    for i in np.argsort(whole - ideal)[: subjects - whole.sum()]:
        whole[i] += 1
    return whole
