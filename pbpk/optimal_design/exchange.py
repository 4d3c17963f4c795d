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
    """The moments of every candidate row, and what they are worth."""

    candidates: CandidateSamples
    moments: ObservationMoments
    psi_per_coordinate: np.ndarray
    interest: tuple[int, ...]

    def compute_arm(self, arm: str, choices: np.ndarray) -> np.ndarray:
        """(B, D, P, P): what arm `arm` tells under each of `choices` (B, k)."""
        own = self.candidates.find_lanes(arm)
        moments = jax.tree.map(lambda x: x[..., own], self.moments._replace(omega=None, omega_slope=None))
        moments = moments._replace(omega=self.moments.omega, omega_slope=self.moments.omega_slope)
        rows = np.stack([self.candidates.select_rows(arm, c) for c in choices])
        return np.asarray(sum_information(moments, self.psi_per_coordinate, self.candidates.counts[own], rows))

    def compute_criterion(self, m: np.ndarray) -> np.ndarray:
        """The criterion of (..., D, P, P)."""
        return np.asarray(compute_mean_criterion(m, self.interest))


def exchange_times(judge: CandidateInformation, space: SamplingSpace, starts: int, seed: int) -> list[tuple[float, dict[str, np.ndarray]]]:
    """Choices of candidates by arm, each (k,), with their criterion: one for every start, the best first."""
    random = np.random.default_rng(seed)
    found = [_climb(judge, space, space.choose_start(random if s else None)) for s in range(starts)]
    return sorted(found, key=lambda f: -f[0])


def _climb(judge: CandidateInformation, space: SamplingSpace, chosen: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
    now = {arm: np.array(c) for arm, c in chosen.items()}
    told = {arm: judge.compute_arm(arm, c[None])[0] for arm, c in now.items()}
    best = float(judge.compute_criterion(np.sum(list(told.values()), axis=0)))
    gained = True
    while gained:
        gained = False
        for arm, own in now.items():
            others = sum((m for a, m in told.items() if a != arm), np.zeros_like(told[arm]))
            for j in range(len(own)):
                tried = np.repeat(own[None], len(space.times[arm]), axis=0)
                tried[:, j] = np.arange(len(tried))
                parts = judge.compute_arm(arm, tried)
                worth = np.where(space.mark_allowed(arm, own, j), judge.compute_criterion(parts + others), -np.inf)
                k = int(np.argmax(worth))
                if worth[k] > best + _LEAST_GAIN:
                    best, own[j], told[arm], gained = float(worth[k]), k, parts[k], True
    return best, {arm: np.sort(c) if space.has_common_window(arm) else c for arm, c in now.items()}
