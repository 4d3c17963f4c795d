"""Searches: slopes in time, constraints that hold, choices that no other choice on the grid beats."""

from itertools import combinations

import numpy as np
import pytest

import pbpk
from pbpk.errors import BadInput
from pbpk.optimal_design.linearisation import choose_linearisation_points
from pbpk.optimal_design.records import group_profiles
from pbpk.optimal_design.refine_times import compute_criterion_and_slope
from pbpk.optimal_design.spec import DesignSpec

GRID = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 24.0, 72.0, 120.0])


@pytest.mark.parametrize(("form", "approximation"), [("reduced", "fo"), ("full", "foce")])
def test_slopes_in_time_are_those_of_the_criterion(oral, form, approximation):
    spec = DesignSpec(form=form, approximation=approximation, etas=4)
    points = choose_linearisation_points(oral, np.asarray(oral.problem.initial_unconstrained)[None], spec, ())
    people = group_profiles(oral, None, ("cp",))

    def at(t):
        return compute_criterion_and_slope(oral, people, ("cp",), {"all": np.array(t)}, points)

    times = [0.7, 5.0, 60.0]
    value, slope = at(times)
    assert np.isfinite(value)
    for j in range(3):
        h = 1e-4 * times[j]
        ends = [at([t + s * h * (i == j) for i, t in enumerate(times)])[0] for s in (1, -1)]
        assert slope[j] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-8)


def test_exchange_finds_what_trying_all_finds(oral, closed):
    result = pbpk.design(oral, samples=3, times=GRID)
    every = {c: np.linalg.slogdet(closed.information(c))[1] for c in combinations(GRID, 3)}
    best = max(every, key=every.get)
    assert result.schedules[0].times == best
    assert result.value == pytest.approx(every[best], abs=1e-6)
    assert result.at_most is not None and result.at_most >= result.value - 1e-9
    assert 0 < result.efficiency <= 1


def test_ds_is_the_volume_of_what_is_of_interest(oral, closed):
    result = pbpk.design(oral, samples=3, times=GRID, criterion="Ds", interest=["CL", "OMEGA_CL"])
    of_interest = [0, 3]

    def worth(c):
        m = closed.information(c)
        return -np.linalg.slogdet(np.linalg.inv(m)[np.ix_(of_interest, of_interest)])[1]

    best = max(combinations(GRID, 3), key=worth)
    assert result.schedules[0].times == best
    assert result.value == pytest.approx(worth(best), abs=1e-6)
    assert result.own_value == pytest.approx(worth([1, 4, 8]), abs=1e-6)


@pytest.mark.slow
def test_spacing_and_windows_are_kept(oral):
    result = pbpk.design(oral, samples=3, windows=[(0.25, 6), (2, 6), (2, 120)], spacing=3.0)
    a, b, c = result.schedules[0].times
    assert 0.25 <= a <= 6 and 2 <= b <= 6 and 2 <= c <= 120
    assert np.diff(np.sort([a, b, c])).min() >= 3.0 - 1e-5
    free = pbpk.design(oral, samples=3, windows=[(0.25, 6), (2, 6), (2, 120)])
    assert free.value > result.value


@pytest.mark.slow
def test_a_certain_prior_is_no_prior(oral):
    """ED over a spread of 0.001 % is D; over a wide one it is another number, and lower."""
    plain = pbpk.design(oral, samples=3, times=GRID)
    sure = pbpk.design(oral, samples=3, times=GRID, criterion="ED", prior={"KA": (1e-5, True)}, draws=4)
    assert sure.schedules[0].times == plain.schedules[0].times
    assert sure.value == pytest.approx(plain.value, abs=1e-3)
    wide = pbpk.design(oral, samples=3, times=GRID, criterion="ED", prior={"KA": (1.0, True)}, draws=8)
    assert abs(wide.value - plain.value) > 0.05
    with pytest.raises(BadInput, match="none of the parameters"):
        pbpk.design(oral, samples=3, times=GRID, criterion="ED", prior={"KB": (1.0, True)})


def test_arms_have_schedules_and_sizes_of_their_own(planned, closed):
    lines = ("ID,TIME,AMT,ARM", "1,0,70,1", "1,1,,1", "2,0,20,2", "2,1,,2")
    result = pbpk.design(
        planned(*lines), arms="ARM", samples={"1": 3, "2": 2}, subjects={"1": 20, "2": 10}, times=GRID, starts=3
    )
    one, two = result.schedules
    assert (one.arm, one.subjects, len(one.times)) == ("1", 20, 3)
    assert (two.arm, two.subjects, len(two.times)) == ("2", 10, 2)
    m = 20 * closed.information(one.times) + 10 * closed.information(two.times, dose=20.0)
    assert result.value == pytest.approx(np.linalg.slogdet(m)[1], abs=1e-6)
    for i, times in ((0, one.times), (1, two.times)):  # no single move is better
        for j in range(len(times)):
            for t in set(GRID) - set(times):
                moved = [list(one.times), list(two.times)]
                moved[i][j] = t
                other = 20 * closed.information(moved[0]) + 10 * closed.information(moved[1], dose=20.0)
                assert np.linalg.slogdet(other)[1] <= result.value + 1e-6
    with pytest.raises(BadInput, match="no column `GROUP`"):
        pbpk.design(planned(*lines), arms="GROUP")


def test_a_split_is_at_its_bound_and_beats_one_schedule(oral):
    one = pbpk.design(oral, samples=3, times=GRID, subjects=40)
    many = pbpk.design(oral, samples=3, times=GRID, subjects=40, split_patients=True)
    assert sum(s.subjects for s in many.schedules) == 40
    assert many.value > one.value
    assert many.at_most == pytest.approx(one.at_most, abs=1e-9)
    assert many.at_most >= many.value and many.efficiency > 0.99
