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


def optimise_split(candidates: CandidateInformation, designs: Mapping[str, np.ndarray]) -> ScheduleMixture:
    """The optimal weights of elementary `designs` {arm: (E, k)}, to a sensitivity within 1e-4 of its bound (relative).

    Most elementary designs have no part in the optimum: the weights move among a few, to which the most sensitive of all are
    added until none of all exceeds the bound. Raises `ScienceFailed` where no split determines all parameters.
    """
    parts = {a: candidates.compute_arm(a, e) for a, e in designs.items()}
    weights = {a: np.full(len(e), 1.0 / len(e)) for a, e in designs.items()}
    p = count_parameters_of_interest(candidates.psi_per_coordinate.shape[-1], candidates.interest)
    if not np.isfinite(candidates.compute_criterion(_mix_information(parts, weights))):
        raise ScienceFailed("no split over these schedules determines all parameters", hint="allow more --samples")
    excess, count = np.inf, 0
    for _ in range(_ROUNDS):
        mixed = _mix_information(parts, weights)
        sensitivity = {a: compute_sensitivity(mixed, x, candidates.interest) for a, x in parts.items()}
        excess = sum(float(s.max()) for s in sensitivity.values()) - p
        if excess < _SENSITIVITY_TOLERANCE * p:
            break
        few = {a: np.union1d(np.argsort(-s)[:_FEW], np.argsort(-weights[a])[:_FEW]) for a, s in sensitivity.items()}
        few = {a: k[np.isfinite(sensitivity[a][k])] for a, k in few.items()}
        few_parts = {a: parts[a][k] for a, k in few.items()}
        few_weights = {a: weights[a][k] for a, k in few.items()}
        few_weights, steps = _multiply_weights(few_parts, few_weights, candidates, p)
        count += steps
        weights = {a: np.zeros(len(w)) for a, w in weights.items()}
        for a, k in few.items():
            weights[a][k] = few_weights[a]
    value = float(candidates.compute_criterion(_mix_information(parts, weights)))
    return ScheduleMixture(designs, weights, value, value + excess, excess, count)


def _multiply_weights(
    parts: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], candidates: CandidateInformation, p: int
) -> tuple[dict[str, np.ndarray], int]:
    """The multiplicative algorithm among `parts`, newcomers beginning with a little; the weights and how many steps it took."""
    # The whole power climbs steadily for D; for few parameters of many it swings for ever, and half of it does not.
    power = 0.5 if candidates.interest else 1.0
    weights = {a: np.maximum(w, 0.1 / len(w) * w.sum()) for a, w in start.items()}
    for step in range(_STEPS):
        weights = {a: w / w.sum() for a, w in weights.items()}
        m = _mix_information(parts, weights)
        sensitivity = {a: compute_sensitivity(m, x, candidates.interest) for a, x in parts.items()}
        if sum(float(s.max()) for s in sensitivity.values()) - p < 0.5 * _SENSITIVITY_TOLERANCE * p:
            return weights, step
        weights = {a: w * sensitivity[a] ** power for a, w in weights.items()}
    return {a: w / w.sum() for a, w in weights.items()}, _STEPS


def _mix_information(parts: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """(D, P, P): the information of all arms' elementary designs `parts` {arm: (E, D, P, P)} in these proportions."""
    return np.sum([np.einsum("e,edij->dij", w, parts[a]) for a, w in weights.items()], axis=0)


def round_subjects(weights: np.ndarray, subjects: int) -> np.ndarray:
    """Whole subjects (E,) by the largest remainder (Pukelsheim & Rieder 1992 differ by one subject at most)."""
    kept = np.where(weights > _LEAST_WEIGHT, weights, 0.0)
    ideal = subjects * kept / kept.sum()
    counts = np.floor(ideal).astype(int)
    for i in np.argsort(counts - ideal)[: subjects - counts.sum()]:
        counts[i] += 1
    return counts
