"""The best choice of times on a grid: coordinate exchange from several starts (Meyer & Nachtsheim 1995, Technometrics 37:60; as
PopED's line search does). Each move puts one sample of one arm at the best of all candidate times, until none gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np

from pbpk.optimal_design.criteria import compute_mean_criterion, sum_information

if TYPE_CHECKING:
    from pbpk.optimal_design.moments import ObservationMoments
    from pbpk.optimal_design.records import CandidateSamples
    from pbpk.optimal_design.sampling_space import SamplingSpace

_LEAST_GAIN = 1e-9


@dataclass(frozen=True, eq=False)
class CandidateInformation:
    """What every choice among `candidates` would tell, from the `moments` of all their rows (axes D and S in front).
    `psi_per_coordinate` (D, P, P); `interest`: positions of the parameters that count, () for all."""

    candidates: CandidateSamples
    moments: ObservationMoments
    psi_per_coordinate: np.ndarray
    interest: tuple[int, ...]

    def compute_arm(self, arm: str, choices: np.ndarray) -> np.ndarray:
        """(B, D, P, P): the information from all subjects of arm `arm` under each of `choices` (B, k) of its candidates."""
        lanes = self.candidates.find_lanes(arm)
        moments = jax.tree.map(lambda x: x[..., lanes], self.moments._replace(omega=None, omega_slope=None))
        moments = moments._replace(omega=self.moments.omega, omega_slope=self.moments.omega_slope)
        rows = np.stack([self.candidates.select_rows(arm, c) for c in choices])
        return np.asarray(sum_information(moments, self.psi_per_coordinate, self.candidates.counts[lanes], rows))

    def compute_criterion(self, m: np.ndarray) -> np.ndarray:
        """The criterion of information matrices (..., D, P, P)."""
        return np.asarray(compute_mean_criterion(m, self.interest))


def exchange_times(
    candidates: CandidateInformation, space: SamplingSpace, starts: int, seed: int
) -> list[tuple[float, dict[str, np.ndarray]]]:
    """Choices of candidates by arm, each (k,), with their criterion: one for every start, the best first."""
    random = np.random.default_rng(seed)
    ends = [_climb(candidates, space, space.choose_start(random if s else None)) for s in range(starts)]
    return sorted(ends, key=lambda end: -end[0])


def _climb(
    candidates: CandidateInformation, space: SamplingSpace, start: Mapping[str, np.ndarray]
) -> tuple[float, dict[str, np.ndarray]]:
    """The choice that no single move betters, reached from `start`, with its criterion."""
    choice = {arm: np.array(c) for arm, c in start.items()}
    information = {arm: candidates.compute_arm(arm, c[None])[0] for arm, c in choice.items()}
    best = float(candidates.compute_criterion(np.sum(list(information.values()), axis=0)))
    gained = True
    while gained:
        gained = False
        for arm, chosen in choice.items():
            others = sum((m for a, m in information.items() if a != arm), np.zeros_like(information[arm]))
            for j in range(len(chosen)):
                trials = np.repeat(chosen[None], len(space.times[arm]), axis=0)
                trials[:, j] = np.arange(len(trials))
                parts = candidates.compute_arm(arm, trials)
                value = np.where(
                    space.mark_allowed(arm, chosen, j), candidates.compute_criterion(parts + others), -np.inf
                )
                k = int(np.argmax(value))
                if value[k] > best + _LEAST_GAIN:
                    best, chosen[j], information[arm], gained = float(value[k]), k, parts[k], True
    return best, {arm: np.sort(c) if space.has_common_window(arm) else c for arm, c in choice.items()}
