"""Dosing records, with NONMEM's semantics, against closed forms of one and two compartments."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pbpk.errors import BadInput
from pbpk.model.load import load_model
from pbpk.results import ResultCode
from pbpk.solve.general import General
from pbpk.solve.interval import CrossedInterval
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.segments import SegmentSolver, run_segments
from pbpk.solve.timeline import build_timeline

oral = load_model("oral_one_compartment").system  # depot, central; both with lag and bioavailability
two = load_model("iv_two_compartment").system
KA, CL, V = 1.5, 2.0, 10.0
K = CL / V
PLAIN = {"KA": KA, "CL": CL, "V": V, "ALAG1": 0.0, "F1": 1.0, "ALAG2": 0.0, "F2": 1.0}
PLAIN |= {"R1": 20.0, "D1": 2.0, "R2": 50.0, "D2": 2.0}  # in use where a record says RATE = -1 or -2
CLOSE = {"rtol": 1e-10, "atol": 1e-9}  # of doses of 100


def after_bolus(t, amount, k=K):
    return np.where(t >= 0, amount * np.exp(-k * np.maximum(t, 0)), 0.0)


def after_infusion(t, rate, length, k=K):
    during = rate / k * (1 - np.exp(-k * np.clip(t, 0, length)))
    return during * np.exp(-k * np.maximum(t - length, 0))


def after_oral(t, amount, k=K):
    t_ = np.maximum(t, 0)
    return np.where(t >= 0, amount * KA / (KA - k) * (np.exp(-k * t_) - np.exp(-KA * t_)), 0.0)


@pytest.fixture
def central(solve, seen):
    """The central amount at `times` after `doses`, one patient."""

    def central(doses, times, **values):
        (amounts,), result = solve(oral, [[*doses, *seen(*times)]], PLAIN | values)
        assert result.tolist() == [ResultCode.OK]
        return amounts[:, 1]

    return central


T = np.array([0.0, 0.5, 1.0, 3.0, 8.0, 30.0])


def test_bolus(central, dose):
    np.testing.assert_allclose(central([dose(0, 100, "central")], T), after_bolus(T, 100), **CLOSE)


def test_bolus_into_the_depot(solve, dose, seen):
    (amounts,), _ = solve(oral, [[dose(0, 100, "depot"), *seen(*T)]], PLAIN)
    np.testing.assert_allclose(amounts[:, 0], 100 * np.exp(-KA * T), **CLOSE)
    np.testing.assert_allclose(amounts[:, 1], after_oral(T, 100), **CLOSE)


@pytest.mark.parametrize("how", [{"RATE": 50.0}, {"DUR": 2.0}])
def test_infusion(central, dose, how):
    np.testing.assert_allclose(central([dose(0, 100, "central", **how)], T), after_infusion(T, 50, 2), **CLOSE)


def test_infusion_into_the_depot(solve, dose, seen):
    (amounts,), _ = solve(oral, [[dose(0, 100, "depot", RATE=50.0), *seen(*T)]], PLAIN)
    np.testing.assert_allclose(amounts[:, 0], after_infusion(T, 50, 2, KA), **CLOSE)
    total = KA / (KA - K) * (after_infusion(T, 50, 2, K) - after_infusion(T, 50, 2, KA))
    np.testing.assert_allclose(amounts[:, 1], total, **CLOSE)


def test_overlapping_infusions_add(central, dose):
    doses = [dose(0, 100, "central", RATE=20.0), dose(2, 60, "central", DUR=1.0)]
    times = np.array([2, 2.5, 4, 5, 9.0])
    expected = after_infusion(times, 20, 5) + after_infusion(times - 2, 60, 1)
    np.testing.assert_allclose(central(doses, times), expected, **CLOSE)


def test_bioavailability_scales_a_bolus(central, dose):
    np.testing.assert_allclose(central([dose(0, 100, "depot")], T, F1=0.4), after_oral(T, 40), **CLOSE)


def test_bioavailability_shortens_an_infusion_of_given_rate(central, dose):
    """NONMEM: the RATE is kept, and the duration is F·AMT/RATE."""
    got = central([dose(0, 100, "central", RATE=50.0)], T, F2=0.3)
    np.testing.assert_allclose(got, after_infusion(T, 50, 0.6), **CLOSE)


def test_bioavailability_slows_an_infusion_of_given_duration(central, dose):
    got = central([dose(0, 100, "central", DUR=2.0)], T, F2=0.3)
    np.testing.assert_allclose(got, after_infusion(T, 15, 2), **CLOSE)


def test_no_bioavailability_is_no_dose(central, dose):
    for how in ({}, {"RATE": 50.0}, {"DUR": 2.0}):
        np.testing.assert_allclose(central([dose(0, 100, "central", **how)], T, F2=0.0), 0.0, atol=1e-12)


def test_lag_delays_a_bolus(central, dose):
    np.testing.assert_allclose(central([dose(0, 100, "depot")], T, ALAG1=0.7), after_oral(T - 0.7, 100), **CLOSE)


@pytest.mark.parametrize("how", [{"RATE": 50.0}, {"DUR": 2.0}])
def test_lag_delays_an_infusion(central, dose, how):
    got = central([dose(0, 100, "central", **how)], T, ALAG2=0.7)
    np.testing.assert_allclose(got, after_infusion(T - 0.7, 50, 2), **CLOSE)


def test_lag_and_bioavailability_together(central, dose):
    got = central([dose(0, 100, "central", RATE=50.0)], T, ALAG2=0.7, F2=0.5)
    np.testing.assert_allclose(got, after_infusion(T - 0.7, 50, 1), **CLOSE)


def test_a_lag_is_of_its_own_compartment(central, dose):
    doses = [dose(0, 100, "depot"), dose(0, 100, "central")]
    expected = after_oral(T - 1, 100) + after_bolus(T, 100)
    expected[0] = 100  # the record at 0 follows the dose at 0
    np.testing.assert_allclose(central(doses, T, ALAG1=1.0), expected, **CLOSE)


@pytest.mark.parametrize("how", [{}, {"RATE": 40.0}, {"DUR": 2.5}])
def test_additional_doses(central, dose, how):
    form = after_infusion if how else after_bolus
    size = (40, 2.5) if how else (100,)
    times = np.array([1, 6, 7, 13, 40.0])
    expected = sum(form(times - 6 * i, *size) for i in range(4))
    got = central([dose(0, 100, "central", ADDL=3, II=6.0, **how)], times)
    np.testing.assert_allclose(got, expected, **CLOSE)


def test_additional_doses_carry_lag_and_bioavailability(central, dose):
    times = np.array([1, 6, 7, 13, 40.0])
    expected = sum(after_oral(times - 6 * i - 0.5, 80) for i in range(4))
    got = central([dose(0, 100, "depot", ADDL=3, II=6.0)], times, ALAG1=0.5, F1=0.8)
    np.testing.assert_allclose(got, expected, **CLOSE)


def test_an_additional_dose_comes_before_the_records_of_its_time(central, dose):
    """Also where the sum of intervals misses the record's time by a rounding: 3·0.1 is not 0.3."""
    for ii, n in ((6.0, 2), (0.1, 3)):
        times = np.array([n * ii if ii > 1 else 0.3])
        expected = sum(after_bolus(times - ii * i + 1e-12, 100) for i in range(n + 1))
        got = central([dose(0, 100, "central", ADDL=9, II=ii)], times)
        np.testing.assert_allclose(got, expected, **CLOSE)


def test_records_of_one_time_act_in_the_order_of_the_data(solve, dose, seen):
    records = [*seen(2), dose(2, 100, "central"), *seen(2), dose(2, 50, "central"), *seen(2, 3)]
    (amounts,), _ = solve(oral, [records], PLAIN)
    np.testing.assert_allclose(amounts[:, 1], [0, 100, 150, 150 * np.exp(-K)], **CLOSE)


def test_nothing_is_there_before_the_first_dose(central, dose, seen):
    times = np.array([5.0, 6.0])
    (before, *after) = central([*seen(0), dose(5, 100, "central")], times)
    assert before == 0.0
    np.testing.assert_allclose(after, after_bolus(times - 5, 100), **CLOSE)


def test_reset_empties_everything_and_cancels_what_is_pending(solve, dose, seen):
    """EVID 3 at 4 h: amounts, a running infusion, a dose waiting for its lag and the additional doses all go."""
    records = [
        dose(0, 100, "central", ADDL=5, II=3.0),
        dose(0, 100, "central", RATE=10.0),
        dose(3.5, 100, "depot"),
        *seen(3.8),
        dose(4, 0, "", EVID=3),
        *seen(4, 6, 9),
    ]
    (amounts,), _ = solve(oral, [records], PLAIN | {"ALAG1": 1.0})
    before = after_bolus(np.array(3.8), 100) + after_bolus(np.array(0.8), 100) + after_infusion(np.array(3.8), 10, 10)
    np.testing.assert_allclose(amounts[:, 1], [before, 0, 0, 0], **CLOSE)
    np.testing.assert_allclose(amounts[:, 0], 0, atol=1e-12)


def test_reset_and_dose_with_the_clock_started_anew(solve, dose, seen):
    """EVID 4: what came before leaves no trace, even where time goes back to 0."""
    records = [dose(0, 100, "central"), *seen(1, 10), dose(0, 60, "central", EVID=4), *seen(0, 1, 2)]
    (amounts,), _ = solve(oral, [records], PLAIN)
    t = np.array([0.0, 1, 2])
    np.testing.assert_allclose(amounts[:2, 1], after_bolus(np.array([1.0, 10]), 100), **CLOSE)
    np.testing.assert_allclose(amounts[2:, 1], after_bolus(t, 60), **CLOSE)


def test_what_is_pending_when_the_clock_starts_anew_never_comes(solve, dose, seen):
    """Not even at the last record of the old clock, beyond which nothing is known."""
    records = [dose(0, 100, "depot"), *seen(1), dose(0, 60, "central", EVID=4), *seen(4)]
    (amounts,), _ = solve(oral, [records], PLAIN | {"ALAG1": 3.0})
    np.testing.assert_allclose(amounts, [[0, 0], [0, 60 * np.exp(-K * 4)]], atol=1e-9)


def test_reset_with_the_clock_running_on(solve, dose, seen):
    records = [dose(0, 100, "central"), *seen(1), dose(12, 60, "central", EVID=4), *seen(13)]
    (amounts,), _ = solve(oral, [records], PLAIN)
    np.testing.assert_allclose(amounts[:, 1], [100 * np.exp(-K), 60 * np.exp(-K)], **CLOSE)


def test_a_record_that_is_neither_dose_nor_observation_changes_nothing(central, dose, seen):
    other = {**seen(0.8)[0], "EVID": 2, "MDV": 1}
    got = central([dose(0, 100, "central"), other], T[2:])
    np.testing.assert_allclose(got, after_bolus(T[2:], 100), **CLOSE)


def per_record(**changing):
    """p (rows, m, 1) with a column of values for each parameter that changes."""
    rows = max(len(v) for v in changing.values())
    table = PLAIN | changing
    return np.array([np.broadcast_to(table[n], rows) for n in oral.parameter_names], dtype=float).T[:, :, None]


def test_parameters_of_a_record_hold_over_the_interval_that_ends_at_it(solve, dose, seen):
    """NONMEM's next observation carried backward."""
    cl = [2.0, 4.0, 1.0]
    (amounts,), _ = solve(oral, [[dose(0, 100, "central"), *seen(3, 5)]], per_record(CL=cl))
    first = 100 * np.exp(-cl[1] / V * 3)
    np.testing.assert_allclose(amounts[:, 1], [first, first * np.exp(-cl[2] / V * 2)], **CLOSE)


def test_the_last_records_parameters_hold_where_asked(dose, seen):
    """Last observation carried forward; a dose's own lag and F are those of its record either way."""
    p = per_record(CL=[2.0, 4.0, 1.0], F2=[0.5, 9.0, 9.0], ALAG2=[1.0, 9.0, 9.0])
    frame = pd.DataFrame([dose(0, 100, "central", ADDL=1, II=2.0), *seen(3, 5)])
    timeline = build_timeline([frame], oral, moving=True, between="locf")
    amounts = Resolvent().solve(oral, timeline, jnp.asarray(p)).amounts[:2, 1, 0]
    at_3 = 50 * np.exp(-0.2 * 2) + 50  # of the doses arriving at 1 and 3 h, the latter before the record
    np.testing.assert_allclose(amounts, [at_3, at_3 * np.exp(-0.4 * 2)], **CLOSE)


def one_compartment(x, interval):
    """An advance with its integral, for k = row: what a solver gives when asked."""
    inflow = 0.0 if interval.inflow is None else interval.inflow
    k, dt = interval.parameters[0], interval.stops[:, None]
    done = x * jnp.exp(-k * dt) + inflow / k * (1 - jnp.exp(-k * dt))
    return CrossedInterval(done, (x - done + inflow * dt) / k, jnp.zeros(x.shape[-1], jnp.int32))


@pytest.mark.parametrize("moving", [False, True])
def test_integrals_run_from_the_first_event_through_resets(dose, seen, graph, moving):
    """A bolus, an infusion that a reset cuts off with a dose pending beyond it, a steady state, and a clock begun anew."""
    system, k = graph(1, [(0, 1)]), 0.3
    first = [
        dose(0, 10, "c0", ADDL=3, II=3.0),
        dose(1, 12, "c0", RATE=2.0, ADDL=9, II=50.0),
        *seen(2),
        dose(5, 0, "", EVID=3),
        *seen(9),
    ]
    then = [dose(10, 6, "c0", SS=1, II=4.0), *seen(10, 12), dose(0, 8, "c0", EVID=4), *seen(0, 3)]
    timeline = build_timeline([pd.DataFrame([*first, *then])], system, moving=moving)
    p = jnp.full((1, 1, 1), k)
    run = jax.jit(
        lambda p, asked: run_segments(system, timeline, p, SegmentSolver(one_compartment, p), integrals=asked),
        static_argnums=1,
    )
    amounts, totals, _ = run(p, True)
    none = run(p, False)
    assert none[1] is None and totals is not None
    np.testing.assert_allclose(none[0], amounts, rtol=1e-14)

    def of_bolus(a, t):
        return a / k * (1 - np.exp(-k * t))

    def of_infusion(rate, t):
        return rate / k * (t - (1 - np.exp(-k * t)) / k)

    at_5 = of_bolus(10, 5) + of_bolus(10, 2) + of_infusion(2.0, 4)
    at_12 = at_5 + of_bolus(6 / (1 - np.exp(-4 * k)), 2)
    expected = [of_bolus(10, 2) + of_infusion(2.0, 1), at_5, at_5, at_12, at_12, at_12 + of_bolus(8, 3)]
    np.testing.assert_allclose(totals[:6, 0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("how", [{"RATE": -1.0}, {"RATE": -2.0}])
def test_modelled_rates_and_durations(central, dose, how):
    """50 mg/h are the compartment's rate, 2 h its duration: with F a rate keeps its speed, a duration its length."""
    times, length, rate = np.array([0.0, 1, 3, 9, 20]), *((0.8, 50.0) if how["RATE"] == -1 else (2.0, 20.0))
    got = central([dose(0, 100, "central", ADDL=1, II=8.0, **how)], times, F2=0.4, ALAG2=0.5)
    expected = sum(after_infusion(times - 0.5 - s, rate, length) for s in (0, 8))
    np.testing.assert_allclose(got, expected, **CLOSE)


def test_an_infusion_of_nothing_leaves_no_trace_behind_a_reset(solve, dose, seen):
    """With F = 0 it ends where it begins: at the very record that resets, and after it."""
    records = [dose(0, 100, "central", EVID=4, RATE=50.0), *seen(0, 4)]
    (amounts,), _ = solve(oral, [records], PLAIN | {"F2": 0.0})
    np.testing.assert_allclose(amounts, 0.0, atol=1e-12)


def test_parameters_at_doses_between_records(solve, dose, seen):
    """Additional doses fall within an interval and do not end it."""
    cl = [2.0, 4.0, 1.0]
    (amounts,), _ = solve(oral, [[dose(0, 100, "central", ADDL=2, II=2.0), *seen(3, 5)]], per_record(CL=cl))
    k1, k2 = cl[1] / V, cl[2] / V
    at_3 = 100 * np.exp(-k1 * 3) + 100 * np.exp(-k1)
    at_5 = at_3 * np.exp(-k2 * 2) + 100 * np.exp(-k2)
    np.testing.assert_allclose(amounts[:, 1], [at_3, at_5], **CLOSE)


def test_lag_and_bioavailability_are_those_of_the_doses_record(solve, dose, seen):
    p = per_record(ALAG2=[0.5, 1.0, 9.0], F2=[0.3, 0.6, 9.0])
    (amounts,), _ = solve(oral, [[dose(0, 100, "central"), dose(2, 100, "central"), *seen(5)]], p)
    expected = after_bolus(np.array(4.5), 30) + after_bolus(np.array(2.0), 60)
    np.testing.assert_allclose(amounts[:, 1], expected, **CLOSE)


@pytest.mark.parametrize("solver", [Resolvent(), General("tsit5")], ids=lambda s: s.name)
def test_two_compartments(solve, dose, seen, solver):
    values = {"CL": 3.0, "V1": 5.0, "Q": 2.0, "V2": 8.0}
    k10, k12, k21 = 3 / 5, 2 / 5, 2 / 8
    s, d = k10 + k12 + k21, np.sqrt((k10 + k12 + k21) ** 2 - 4 * k10 * k21)
    alpha, beta = (s + d) / 2, (s - d) / 2

    def form(t, one):
        return ((alpha - k21) * one(t, alpha) + (k21 - beta) * one(t, beta)) / (alpha - beta)

    records = [dose(0, 100, "central"), dose(4, 100, "central", RATE=50.0, ADDL=1, II=5.0), *seen(0, 1, 5, 8, 20)]
    records.sort(key=lambda r: r["TIME"])
    (amounts,), result = solve(two, [records], values, solver)
    assert result.tolist() == [ResultCode.OK]
    t = np.array([0, 1, 5, 8, 20.0])
    expected = form(t, lambda t, k: after_bolus(t, 100, k))
    for start in (4, 9):
        expected = expected + form(t - start, lambda t, k: after_infusion(t, 50, 2, k))
    np.testing.assert_allclose(amounts[:, 0], expected, rtol=1e-7, atol=1e-7)


def test_patients_of_different_length_do_not_disturb_each_other(solve, dose, seen):
    short = [dose(0, 100, "central"), *seen(1)]
    long = [dose(3, 50, "depot", ADDL=4, II=2.0), *seen(*np.linspace(3.5, 30, 40))]
    reset = [dose(0, 100, "central", RATE=5.0), *seen(1, 2), dose(0, 10, "central", EVID=4), *seen(1)]
    values = PLAIN | {"CL": np.array([2.0, 3.0, 4.0]), "ALAG1": np.array([0.0, 0.3, 0.6])}
    together, _ = solve(oral, [short, long, reset], values)
    for i, records in enumerate((short, long, reset)):
        alone = {k: np.broadcast_to(v, 3)[i] for k, v in values.items()}
        (expected,), _ = solve(oral, [records], alone)
        np.testing.assert_allclose(together[i], expected, rtol=1e-12, atol=1e-12)


def test_derivative_with_respect_to_a_lag(dose, seen):
    """The lag moves events past each other inside the program; between such moments the answer is smooth in it."""
    timeline = build_timeline([pd.DataFrame([dose(0, 100, "depot"), *seen(0.5, 2, 5)])], oral, moving=True)
    p = jnp.array([PLAIN[n] for n in oral.parameter_names])

    def amounts(lag):
        with_lag = p.at[oral.parameter_index("ALAG1")].set(lag)
        solver = Resolvent().forward_mode()
        return solver.solve(oral, timeline, with_lag[None, :, None]).amounts[:3, 1, 0]

    _, slope = jax.jit(lambda lag: jax.jvp(amounts, (lag,), (1.0,)))(0.8)
    t, h = np.array([0.5, 2.0, 5.0]), 1e-6
    expected = (after_oral(t - 0.8 - h, 100) - after_oral(t - 0.8 + h, 100)) / (2 * h)
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"RATE": -2.5}, "RATE = -2.5"),
        ({"ADDL": 100_000, "II": 0.001}, "ADDL = 100000"),
    ],
)
def test_records_refused_by_row(dose, seen, record, words):
    frame = pd.DataFrame([dose(0, 100, "central", **record), *seen(100)], index=[7, 8])
    with pytest.raises(BadInput, match="row 7") as caught:
        build_timeline([frame], oral)
    assert caught.value.exit_code == 3
    assert words in str(caught.value)
