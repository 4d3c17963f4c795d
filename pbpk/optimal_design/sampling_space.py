"""Where samples may be: candidate times, a window for each sample, the least time between two, how many in each arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import comb

import numpy as np

from pbpk.errors import BadInput

TimeWindow = tuple[float, float]
_WINDOW_CANDIDATES = 60  # in a window that is searched continuously: where the search begins
_EDGE = 1e-9  # h, within which two times are one: times are sums and products of what users write


@dataclass(frozen=True, eq=False)
class SamplingSpace:
    """`times` {arm: (K,)} in h, ascending; `windows` {arm: one (low, high) in h for each sample}; `spacing` in h.

    `is_grid`: only these times are possible; else they are where a continuous search begins.
    """

    times: Mapping[str, np.ndarray]
    windows: Mapping[str, tuple[TimeWindow, ...]]
    spacing: float
    is_grid: bool

    def has_common_window(self, arm: str) -> bool:
        """Whether the arm's samples share one window, so that their order means nothing."""
        return len(set(self.windows[arm])) == 1

    def mark_inside(self, arm: str, j: int) -> np.ndarray:
        """Which candidates (K,) lie in the window of sample `j`."""
        low, high = self.windows[arm][j]
        return (self.times[arm] >= low - _EDGE) & (self.times[arm] <= high + _EDGE)

    def mark_allowed(self, arm: str, chosen: np.ndarray, j: int) -> np.ndarray:
        """Which candidates (K,) sample `j` may take beside the other samples."""
        others = np.delete(self.times[arm][chosen], j)
        near = ~self._are_apart(np.abs(self.times[arm][:, None] - others[None]))
        return self.mark_inside(arm, j) & ~near.any(axis=1)

    def _are_apart(self, gap: np.ndarray) -> np.ndarray:
        """Which gaps (h) two samples may have: within a window also none, where a sample may be taken in duplicate."""
        return gap >= (max(self.spacing, 2 * _EDGE) if self.is_grid else self.spacing) - _EDGE

    def choose_start(self, random: np.random.Generator | None) -> dict[str, np.ndarray]:
        """A choice to begin with: spread evenly over the windows, or at random. Raises `BadInput` where none fits."""
        return {arm: self._choose_arm_start(arm, random) for arm in self.times}

    def _choose_arm_start(self, arm: str, random: np.random.Generator | None) -> np.ndarray:
        """One sample after another among the candidates left; anew, at random, where one finds no place, and evenly at last."""
        times, count = self.times[arm], len(self.windows[arm])
        for attempt in range(200):
            chosen: list[int] = []
            for j in range(count):
                is_free = self.mark_inside(arm, j)
                for c in chosen:
                    is_free &= self._are_apart(np.abs(times - times[c]))
                free = np.flatnonzero(is_free)
                if not len(free):
                    break
                at = (j + 0.5) / count if self.has_common_window(arm) else 0.5
                chosen.append(int(random.choice(free) if random and attempt < 199 else free[int(at * len(free))]))
            if len(chosen) == count:
                return np.array(chosen)
            random = random or np.random.default_rng(0)
        raise BadInput(
            f"{count} samples at least {self.spacing:g} h apart do not fit into the candidate times",
            hint="fewer --samples, a smaller --spacing or more --times",
        )

    def count_elementary_designs(self, arm: str) -> int:
        """How many elementary designs an arm has, were there no spacing."""
        return self._count_choices(arm, int(self.mark_inside(arm, 0).sum()))

    def list_elementary_designs(self, arm: str, most: int) -> np.ndarray:
        """(E, k): all elementary designs of an arm, its k samples as positions of candidates.

        Where there would be more than `most`, they are those of fewer candidates, evenly thinned. Raises `BadInput` where the
        samples have windows of their own.
        """
        if not self.has_common_window(arm):
            raise BadInput("a split over several schedules needs one window for all samples", hint="give one --window")
        count = len(self.windows[arm])
        keep = np.flatnonzero(self.mark_inside(arm, 0))
        while len(keep) > count and self._count_choices(arm, len(keep)) > most:
            keep = keep[np.unique(np.linspace(0, len(keep) - 1, len(keep) - 1).round().astype(int))]
        pick = combinations if self.is_grid else combinations_with_replacement
        designs = np.array(list(pick(keep.tolist(), count))).reshape(-1, count)
        return designs[self._are_apart(np.diff(self.times[arm][designs], axis=1)).all(axis=1)]

    def _count_choices(self, arm: str, size: int) -> int:
        """Of the arm's samples among `size` candidates, with repetition where times are continuous."""
        count = len(self.windows[arm])
        return comb(size, count) if self.is_grid else comb(size + count - 1, count)


def spread_candidates(window: TimeWindow, count: int = _WINDOW_CANDIDATES) -> np.ndarray:
    """Candidates (count,) in a window, h: even in the logarithm where it begins above zero and spans decades, else even."""
    low, high = window
    if low > 0 and high > 20 * low:
        return np.geomspace(low, high, count)
    return np.linspace(low, high, count)
