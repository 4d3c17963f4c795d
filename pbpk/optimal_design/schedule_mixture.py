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
from pbpk.optimal_design.criteria import compute_sensitivity, count_parameters_of_interest

if TYPE_CHECKING:
    from pbpk.optimal_design.exchange import CandidateInformation

_SENSITIVITY_TOLERANCE = 1e-4  # of p: the sensitivity that the optimum may still be exceeded by
_ROUNDS, _STEPS, _FEW = 100, 5000, 60
_LEAST_WEIGHT = 1e-4


@dataclass(frozen=True, eq=False)
class ScheduleMixture:
    """`weights` {arm: (E,)} of `designs` {arm: (E, k)}; `value` the criterion, `bound` what no design exceeds; `excess` is the
    greatest sensitivity less the number of parameters: 0 at the optimum."""

    designs: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    value: float
    bound: float
    excess: float
    iterations: int


def optimise_split(judge: CandidateInformation, designs: Mapping[str, np.ndarray]) -> ScheduleMixture:
    """The optimal weights, to a sensitivity within 1e-4 of its bound (relative).

    Most elementary designs have no part in the optimum: the weights move among a few, to which the most sensitive of all are
    added until none of all exceeds the bound.
    """
    parts = {a: judge.compute_arm(a, e) for a, e in designs.items()}
    weights = {a: np.full(len(e), 1.0 / len(e)) for a, e in designs.items()}
    p = count_parameters_of_interest(judge.psi_per_coordinate.shape[-1], judge.interest)
    if not np.isfinite(judge.compute_criterion(_mix_information(parts, weights))):
        raise ScienceFailed("no split over these schedules determines all parameters", hint="allow more --samples")
    excess, count = np.inf, 0
    for _ in range(_ROUNDS):
        found = {a: compute_sensitivity(_mix_information(parts, weights), x, judge.interest) for a, x in parts.items()}
        excess = sum(float(s.max()) for s in found.values()) - p
        if excess < _SENSITIVITY_TOLERANCE * p:
            break
        few = {a: np.union1d(np.argsort(-s)[:_FEW], np.argsort(-weights[a])[:_FEW]) for a, s in found.items()}
        few = {a: k[np.isfinite(found[a][k])] for a, k in few.items()}
        among, taken = _multiply_weights(
            {a: parts[a][k] for a, k in few.items()}, {a: weights[a][k] for a, k in few.items()}, judge, p
        )
        count += taken
        weights = {a: np.zeros(len(w)) for a, w in weights.items()}
        for a, k in few.items():
            weights[a][k] = among[a]
    value = float(judge.compute_criterion(_mix_information(parts, weights)))
    return ScheduleMixture(designs, weights, value, value + excess, excess, count)


def _multiply_weights(parts: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], judge: CandidateInformation, p: int):
    """The multiplicative algorithm among `parts`, newcomers beginning with a little; the weights and how many steps it took."""
    # The whole power climbs steadily for D; for few parameters of many it swings for ever, and half of it does not.
    power = 0.5 if judge.interest else 1.0
    weights = {a: np.maximum(w, 0.1 / len(w) * w.sum()) for a, w in start.items()}
    for step in range(_STEPS):
        weights = {a: w / w.sum() for a, w in weights.items()}
        m = _mix_information(parts, weights)
        found = {a: compute_sensitivity(m, x, judge.interest) for a, x in parts.items()}
        if sum(float(s.max()) for s in found.values()) - p < 0.5 * _SENSITIVITY_TOLERANCE * p:
            return weights, step
        weights = {a: w * found[a] ** power for a, w in weights.items()}
    return {a: w / w.sum() for a, w in weights.items()}, _STEPS


def _mix_information(parts: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.sum([np.einsum("e,edij->dij", w, parts[a]) for a, w in weights.items()], axis=0)


def round_subjects(weights: np.ndarray, subjects: int) -> np.ndarray:
    """Whole subjects by the largest remainder (Pukelsheim & Rieder 1992 differ by one subject at most)."""
    kept = np.where(weights > _LEAST_WEIGHT, weights, 0.0)
    ideal = subjects * kept / kept.sum()
    whole = np.floor(ideal).astype(int)
    for i in np.argsort(whole - ideal)[: subjects - whole.sum()]:
        whole[i] += 1
    return whole
