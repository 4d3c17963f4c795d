"""Which events may be taken together: nothing is lost, nothing moves past a change, and no window is too long."""

import numpy as np
import pytest

from pbpk.linalg.series import SPANS
from pbpk.solve.windows import plan_windows


def plan(*patients, span=None):
    """From each patient's (time, changes?) pairs, padded as a timeline pads them."""
    e = max(len(p) for p in patients)
    time, quiet = np.zeros((e, len(patients))), np.ones((e, len(patients)), bool)
    epoch = np.zeros((e, len(patients)), int)
    for i, p in enumerate(patients):
        time[:, i], epoch[len(p) :, i] = p[-1][0], 1
        time[: len(p), i] = [t for t, _ in p]
        quiet[: len(p), i] = [not change for _, change in p]
    return plan_windows(time, epoch, quiet, np.array([len(p) for p in patients])), time, quiet


def crossed(windows, i):
    """One patient's windows as lists of events, without padding and repetition."""
    first = windows.initial_events - 1
    out = []
    for g in range(windows.closing_event.shape[0]):
        own = list(dict.fromkeys(windows.stop_events[g, :, i].tolist()))
        if own != [first if not out else out[-1][-1]]:
            out.append(own)
    return out


def test_one_dose_and_many_samples_share_few_windows():
    windows, _, _ = plan([(0.0, True), *((t, False) for t in np.linspace(1, 72, 72))])
    assert windows.closing_event.shape[0] <= 3
    assert windows.initial_events == 1


def random_patient(rng):
    times = np.sort(rng.choice([*rng.uniform(0, 100, 12), 0.0, 0.0, 24.0, 24.0], rng.integers(2, 14)))
    return [(float(t), bool(rng.random() < 0.3)) for t in times]


@pytest.mark.parametrize("seed", range(12))
def test_random_schedules(seed):
    rng = np.random.default_rng(seed)
    patients = [random_patient(rng) for _ in range(5)]
    windows, time, quiet = plan(*patients)
    assert windows.span in SPANS
    m = windows.stop_events.shape[1]
    for i, p in enumerate(patients):
        found = crossed(windows, i)
        assert [k for own in found for k in own] == list(
            range(windows.initial_events, len(p))
        )  # each once, and in order
        before = windows.initial_events - 1
        for own in found:
            assert quiet[own[:-1], i].all()  # only the last may change something
            gaps = time[own, i] - time[before, i]
            assert gaps[-1] <= windows.span * min(gaps[gaps > 0], default=np.inf) * (1 + 1e-12)
            before = own[-1]
        # Where each event stands among the first ones and all stops is where its time is found again.
        stood = windows.place_of_event[: len(p), i]
        assert stood[: windows.initial_events].tolist() == list(range(windows.initial_events))
        later = stood[windows.initial_events :] - windows.initial_events
        assert (windows.stop_events[later // m, later % m, i] == np.arange(windows.initial_events, len(p))).all()


def test_a_window_knows_whether_something_changed_before_it():
    """The memory of step lengths starts anew there, and only there."""
    windows, _, quiet = plan([(0.0, True), (1.0, False), (2.0, True), (500.0, False), (60000.0, False)])
    before = [0, *(own[-1] for own in crossed(windows, 0))]
    assert windows.restart[: len(before) - 1, 0].tolist() == [not quiet[k, 0] for k in before[:-1]]
    assert False in windows.restart[: len(before) - 1, 0]


def test_events_of_another_course_do_not_share_a_window():
    time, epoch = np.array([[0.0], [1.0], [2.0], [0.0], [1.0]]), np.array([[0], [0], [0], [1], [1]])
    windows = plan_windows(time, epoch, np.ones((5, 1), bool), np.array([5]))
    assert [2, 3] not in [own[i : i + 2] for own in crossed(windows, 0) for i in range(len(own))]


def test_events_of_the_first_instant_are_applied_and_not_crossed():
    windows, _, _ = plan([(5.0, True)] * 3 + [(6.0, False)], [(5.0, True)] * 2 + [(6.0, False)])
    assert windows.initial_events == 2
    assert plan([(5.0, True)] * 9)[0].initial_events == 4


def test_who_marches_through_time_crosses_all_that_follows_a_change_at_once():
    """However late the last look is; and the bounded windows cover the same events."""
    events = [(0.0, True), (0.01, False), (1.0, False), (5e4, False), (6e4, True), (6e4 + 1, False)]
    windows, time, quiet = plan(events)
    count = np.array([len(events)])
    stretches = plan_windows(time, np.zeros_like(time, int), quiet, count, (np.inf,))
    assert [len(own) for own in crossed(stretches, 0)][:2] == [4, 1] and len(crossed(windows, 0)) > 2
    assert len(stretches.stop_events[0]) >= 4 and stretches.restart[:2, 0].all()
    assert sorted({*stretches.stop_events[:2, :, 0].ravel()}) == [1, 2, 3, 4, 5]
