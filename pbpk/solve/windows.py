"""Sample times that follow one event together, so that a solver can share work between them.

Between two events that change something, a patient is only observed. A window is a run of such observations, ended by the
last of them or by the next change. Where no parameter moves events, which is known beforehand, the scan over events
(segments.py) is one over windows: a body sampled 73 times after a dose takes three steps instead of 74.

How long a window may be depends on the solver. The linear one's may have a latest time that is `span` times the earliest:
the span is chosen here, for all, to make the least work by `series.effort`. A solver that takes steps through time has no such
bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import numpy as np

from pbpk.linalg.series import SPANS, estimate_effort

_MAX_INITIAL_EVENTS = 4  # events at the first instant that are applied one by one instead of crossing no time to each


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Windows:
    """Which events are crossed together, after the first events, with which the clock begins. N is 1 where all patients share
    the timeline.

    `closing_event` (G, N) is the event that ends each window, `stop_events` (G, M, N) the events at its times, the last of
    which is the closing one, and `restart` (G, N) whether something changed just before it. `place_of_event` (E, N) is where
    each event stands among all: the first ones, then G · M stops. `initial_events`: how many events there are at the first
    instant, at least and up to a few; nobody observes the first `unobserved_initial` of them.
    """

    closing_event: np.ndarray
    stop_events: np.ndarray
    restart: np.ndarray
    place_of_event: np.ndarray
    span: float = field(metadata={"static": True})
    initial_events: int = field(metadata={"static": True})
    unobserved_initial: int = field(default=0, metadata={"static": True})

    def drop_unobserved(self, observed: np.ndarray) -> Windows:
        """The same where of the initial events only those from the first of the `observed` events on are shown."""
        last = self.initial_events - 1
        return replace(self, unobserved_initial=int(min(observed.min(initial=last), last)))


def plan_windows(
    time: np.ndarray, epoch: np.ndarray, quiet: np.ndarray, count: np.ndarray, spans: Sequence[float] = SPANS
) -> Windows:
    """The windows of events in order (E, N): their times, their epochs, and whether they change nothing; `count` (N,) are real.

    With the best of several `spans`.
    """
    columns = list(zip(time.T, epoch.T, quiet.T, count, strict=True))
    at_first_instant = ((time == time[0]) & (epoch == epoch[0])).cumprod(axis=0).sum(axis=0)
    initial = int(np.minimum(np.minimum(at_first_instant, count).min(), _MAX_INITIAL_EVENTS))
    plans = {span: [_plan_patient(*c, span, initial) for c in columns] for span in spans}
    span = spans[0] if len(spans) == 1 else min(spans, key=lambda s: max(len(p) for p in plans[s]) * estimate_effort(s))
    plan = plans[span]
    g, m = _pad_size(max(len(p) for p in plan)), _pad_size(max((len(w) for p in plan for w in p), default=1))
    e, n = time.shape
    closing, stops, place = np.zeros((g, n), int), np.zeros((g, m, n), int), np.zeros((e, n), int)
    restart = np.ones((g, n), bool)
    for i, windows in enumerate(plan):
        last = initial - 1
        place[:initial, i] = np.arange(initial)
        for k in range(g):
            window = windows[k] if k < len(windows) else [last]  # nothing is left to do: stand at the last event
            restart[k, i] = k == 0 or not quiet[last, i]
            stops[k, : len(window) - 1, i], stops[k, len(window) - 1 :, i] = window[:-1], window[-1]
            if k < len(windows):
                start = initial + k * m
                place[window[:-1], i], place[window[-1], i] = start + np.arange(len(window) - 1), start + m - 1
            closing[k, i] = last = window[-1]
    return Windows(closing, stops, restart, place, span, initial)


def _plan_patient(
    time: np.ndarray, epoch: np.ndarray, quiet: np.ndarray, count: int, span: float, initial: int
) -> list[list[int]]:
    """One patient's events after the initial ones, window by window.

    A window stays open while nothing changes, the clock runs on, and its latest time is at most `span` times its earliest.
    """
    windows: list[list[int]] = []
    base, earliest, is_open = time[0], 0.0, False
    for k in range(initial, count):
        if is_open:
            window = windows[-1]
            near = not earliest or time[k] - base <= span * earliest
            if not (quiet[window[-1]] and epoch[k] == epoch[window[-1]] and near):
                base, earliest, is_open = time[window[-1]], 0.0, False
        if is_open:
            windows[-1].append(k)
        else:
            windows.append([k])
        is_open, earliest = True, earliest or time[k] - base
    return windows


def _pad_size(n: int) -> int:
    """One of a few sizes at or above n, so that similar studies share a program."""
    step = 1 if n <= 4 else 4 if n <= 32 else 16
    return max(-(-n // step) * step, 1)
