"""Sample times that follow one event together, so that a solver can share work between them.

Between two events that change something, a patient is only looked at. A window is a stretch of such looks, ended by the
last of them or by the next change. Where no parameter moves events, which is known beforehand, the scan over events
(segments.py) is one over windows: a body sampled 73 times after a dose takes three steps instead of 74.

How long a window may be depends on the solver. The linear one's may have a latest time that is `span` times the earliest:
the span is chosen here, for all, to make the least work by `series.effort`. Who marches through time has no such bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import numpy as np

from pbpk.linalg.series import SPANS, effort

_MAX_INITIAL_EVENTS = 4  # events at the first instant that are applied one by one instead of crossing no time to each


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Windows:
    """After the first events, with which the clock begins: `closing` (G, N) is the event that ends each window, `stops`
    (G, M, N) the events at its times, the last of which is `closing`, and `fresh` (G, N) whether something changed just
    before it. `place` (E, N) is where each event stands among all: the first ones, then G · M stops. N is 1 where all
    patients share the timeline. `first`: how many events there are at the first instant, at least and up to a few.
    """

    closing_event: np.ndarray
    stop_events: np.ndarray
    restart: np.ndarray
    place_of_event: np.ndarray
    span: float = field(metadata={"static": True})
    initial_events: int = field(metadata={"static": True})
    unobserved_initial: int = field(default=0, metadata={"static": True})

    def drop_unobserved(self, seen: np.ndarray) -> Windows:
        """With what nobody looks at, from the numbers of the events that are."""
        return replace(self, unobserved_initial=int(min(seen.min(initial=self.initial_events - 1), self.initial_events - 1)))


def plan_windows(
    time: np.ndarray, epoch: np.ndarray, quiet: np.ndarray, count: np.ndarray, spans: Sequence[float] = SPANS
) -> Windows:
    """From events in order (E, N): their times, courses, and whether they change nothing; `count` (N,) are real. With the
    best of several `spans`."""
    columns = list(zip(time.T, epoch.T, quiet.T, count, strict=True))
    together = ((time == time[0]) & (epoch == epoch[0])).cumprod(axis=0).sum(axis=0)
    first = int(np.minimum(np.minimum(together, count).min(), _MAX_INITIAL_EVENTS))
    plans = {span: [_plan_patient(*c, span, first) for c in columns] for span in spans}
    span = spans[0] if len(spans) == 1 else min(spans, key=lambda s: max(len(p) for p in plans[s]) * effort(s))
    plan = plans[span]
    g, m = _pad_size(max(len(p) for p in plan)), _pad_size(max((len(w) for p in plan for w in p), default=1))
    e, n = time.shape
    closing, stops, place = np.zeros((g, n), int), np.zeros((g, m, n), int), np.zeros((e, n), int)
    fresh = np.ones((g, n), bool)
    for i, patient in enumerate(plan):
        last = first - 1
        place[:first, i] = np.arange(first)
        for k in range(g):
            own = patient[k] if k < len(patient) else [last]  # nothing is left to do: stand at the last event
            fresh[k, i] = k == 0 or not quiet[last, i]
            stops[k, : len(own) - 1, i], stops[k, len(own) - 1 :, i] = own[:-1], own[-1]
            if k < len(patient):
                where = first + k * m
                place[own[:-1], i], place[own[-1], i] = where + np.arange(len(own) - 1), where + m - 1
            closing[k, i] = last = own[-1]
    return Windows(closing, stops, fresh, place, span, first)


def _plan_patient(time: np.ndarray, epoch: np.ndarray, quiet: np.ndarray, count: int, span: float, first: int):
    """One patient's events after the first ones, window by window."""
    windows: list[list[int]] = []
    base, earliest, open_ = time[0], 0.0, False
    for k in range(first, count):
        if open_:
            own = windows[-1]
            near = not earliest or time[k] - base <= span * earliest
            if not (quiet[own[-1]] and epoch[k] == epoch[own[-1]] and near):
                base, earliest, open_ = time[own[-1]], 0.0, False
        if open_:
            windows[-1].append(k)
        else:
            windows.append([k])
        open_, earliest = True, earliest or time[k] - base
    return windows


def _pad_size(n: int) -> int:
    step = 1 if n <= 4 else 4 if n <= 32 else 16
    return max(-(-n // step) * step, 1)
