"""Time in laws: against closed forms, with derivatives, over resets, additional doses, steady states and moved doses."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from pbpk.errors import BadInput
from pbpk.model import OUT, Block, Compartment, after, amount, cos, first_order, flux, observe, time, time_since_dose
from pbpk.model.clocks import add_clocks
from pbpk.model.system import build_system
from pbpk.observe.readings import observe_all
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline

daily, switched, fading, plain = (Compartment(n, "mg") for n in ("daily", "switched", "fading", "plain"))


def by_clock(a, t, k, swing, period):
    return k * a * (1 + swing * cos(2 * jnp.pi * t / period))


def by_phase(a, k, q, on):
    return a * (k + (q - k) * on)


def by_age(a, t, k, slow):
    return k * a / (1 + slow * t)


def show(x):
    return x


timed = build_system(
    add_clocks(
        Block(
            (daily, switched, fading),
            (
                flux(daily >> OUT, by_clock, a=amount(daily), t=time(), k="K", swing="SWING", period="DAY"),
                flux(switched >> OUT, by_phase, a=amount(switched), k="K", q="Q", on=after("MT")),
                flux(fading >> OUT, by_age, a=amount(fading), t=time_since_dose(), k="K", slow="SLOW"),
            ),
            observables=(observe("t", show, x=time()), observe("tad", show, x=time_since_dose())),
        )
    )
)
untimed = build_system(
    add_clocks(
        Block(
            (plain,),
            (flux(plain >> OUT, first_order, a=amount(plain), k="K"),),
            observables=(observe("t", show, x=time()), observe("tad", show, x=time_since_dose())),
        )
    )
)
VALUES = {"K": 0.11, "SWING": 0.6, "DAY": 24.0, "Q": 0.9, "SLOW": 0.3, "MT": 9.7}
COLUMNS = ["TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "MDV"]
DOSES = [("daily", 100.0), ("switched", 80.0), ("fading", 60.0)]
SOLVERS = [Rosenbrock(), General(rtol=1e-11, atol=1e-13)]


def records(*rows):
    return pd.DataFrame([dict(zip(COLUMNS, row, strict=True)) for row in rows])


def doses(t, evid=1, addl=0, ii=0.0, ss=0, into=DOSES):
    """A dose into each compartment; the first record is the one that resets."""
    return [
        (t, evid if k == 0 else 1, amt, 0.0, 0.0, addl, ii, ss if k == 0 or ss == 0 else 2, c, 1)
        for k, (c, amt) in enumerate(into)
    ]


def looks(*times):
    return [(t, 0, 0.0, 0.0, 0.0, 0, 0.0, 0, "", 0) for t in times]


def parameters(system, patients=1):
    p = jnp.asarray([VALUES[name] for name in system.parameter_names])
    return jnp.broadcast_to(p[None, :, None], (1, len(p), patients))


def solve(system, frame, solver, p=None):
    timeline = build_timeline([frame], system, moving=any(c.lag for c in system.compartments))
    path = solver.solve(system, timeline, parameters(system) if p is None else p)
    count = int(timeline.output_mask.sum())
    assert int(path.result[0]) == 0
    return path.amounts[:count, :, 0], path


def left_daily(t0, t, dose=100.0):
    k, swing, w = VALUES["K"], VALUES["SWING"], 2 * np.pi / VALUES["DAY"]
    return dose * np.exp(-k * (t - t0 + swing / w * (np.sin(w * t) - np.sin(w * t0))))


def left_switched(t0, t, dose=80.0, change=VALUES["MT"]):
    before = np.clip(np.minimum(t, change) - t0, 0, None)
    return dose * np.exp(-VALUES["K"] * before - VALUES["Q"] * (t - t0 - before))


def left_fading(t0, t, dose=60.0):
    return dose * (1 + VALUES["SLOW"] * (t - t0)) ** (-VALUES["K"] / VALUES["SLOW"])


@pytest.mark.parametrize("solver", SOLVERS, ids=["rosenbrock", "diffrax"])
@pytest.mark.parametrize("start", [0.0, 5.0, -30.0], ids=["from zero", "from five", "from before zero"])
def test_one_dose_against_closed_forms(solver, start):
    t = start + np.array([0.0, 0.5, 3.0, 4.7, 9.7, 12.0, 30.0, 50.0])
    amounts, path = solve(timed, records(*doses(start), *looks(*t)), solver)
    closed = np.stack([left_daily(start, t), left_switched(start, t), left_fading(start, t)], axis=1)
    np.testing.assert_allclose(amounts[:, :3], closed, rtol=2e-8, atol=1e-12)
    shown = observe_all(timed, ["t", "tad"], path.amounts[: len(t)], parameters(timed))[:, :, 0]
    np.testing.assert_allclose(shown[0], t, atol=1e-12)
    np.testing.assert_allclose(shown[1], t - start, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS, ids=["rosenbrock", "diffrax"])
def test_additional_doses_and_resets(solver):
    """ADDL sets the time since dose back; a reset (EVID = 4) at 40 h leaves the clock at 40, one that starts anew at 0."""
    rows = [*doses(0.0, addl=2, ii=8.0), *looks(4.0, 12.0, 23.0)]
    rows += [*doses(40.0, evid=4), *looks(40.0, 41.0, 47.0)]
    rows += [*doses(0.0, evid=4), *looks(2.0, 11.0)]
    amounts, _ = solve(timed, records(*rows), solver)
    t0 = np.array([0.0, 8.0, 16.0])

    def course(t):
        given = t0[t0 <= t]
        fade = 0.0
        for k, g in enumerate(given):
            end = t if k == len(given) - 1 else given[k + 1]
            fade = (fade + 60.0) * left_fading(0.0, end - g, 1.0)
        return [left_daily(given, t).sum(), left_switched(given, t).sum(), fade]

    expected = [course(t) for t in (4.0, 12.0, 23.0)]
    expected += [[left_daily(40.0, t), left_switched(40.0, t), left_fading(40.0, t)] for t in (40.0, 41.0, 47.0)]
    expected += [[left_daily(0.0, t), left_switched(0.0, t), left_fading(0.0, t)] for t in (2.0, 11.0)]
    np.testing.assert_allclose(amounts[:, :3], expected, rtol=3e-8)


@pytest.mark.parametrize(
    ("solver", "forward"),
    [(SOLVERS[0], False), (SOLVERS[0], True), (SOLVERS[1], True)],
    ids=["adjoint", "tangent", "diffrax"],
)
def test_a_change_point_has_its_derivative(solver, forward):
    """d A/d MT = (q − k)·A once the change is past, 0 before."""
    times = np.array([4.0, 12.0, 20.0])
    frame = records(*doses(0.0), *looks(*times))
    timeline = build_timeline([frame], timed, moving=True)
    place, p = timed.parameter_index("MT"), parameters(timed)
    used = solver.forward_mode() if forward else solver

    def amount_left(change):
        return used.solve(timed, timeline, p.at[0, place].set(change)).amounts[:3, 1, 0]

    slope = (jax.jacfwd if forward else jax.jacrev)(amount_left)(VALUES["MT"])
    expected = np.where(times > VALUES["MT"], (VALUES["Q"] - VALUES["K"]) * left_switched(0.0, times), 0.0)
    np.testing.assert_allclose(slope, expected, rtol=1e-7, atol=1e-9)


def test_a_clock_that_is_only_observed_keeps_kinetics_linear_and_steady_states():
    """SS = 1: the amounts are the closed form's, the clock shows the records' time, and the last dose is the record's."""
    assert not untimed.nonlinear and not Resolvent().unsupported_reason(untimed)
    t = np.array([100.0, 103.0, 111.9, 112.0, 115.0])
    rows = doses(100.0, ss=1, ii=12.0, addl=3, into=[("plain", 10.0)])
    amounts, path = solve(untimed, records(*rows, *looks(*t)), Resolvent())
    k = VALUES["K"]
    level = 10.0 / (1 - np.exp(-12 * k)) * np.exp(-k * ((t - 100.0) % 12.0))
    np.testing.assert_allclose(amounts[:, 0], level, rtol=1e-10)
    shown = observe_all(untimed, ["t", "tad"], path.amounts[: len(t)], parameters(untimed))[:, :, 0]
    np.testing.assert_allclose(shown, [t, (t - 100.0) % 12.0], atol=1e-10)


def test_a_steady_state_by_the_time_since_dose():
    """Against the closed form: 1/(1 − share) times a dose, where each interval leaves the same share."""
    aged = build_system(
        add_clocks(
            Block(
                (fading,),
                (flux(fading >> OUT, by_age, a=amount(fading), t=time_since_dose(), k="K", slow="SLOW"),),
            )
        )
    )
    rows = records(*doses(0.0, ss=1, ii=6.0, addl=3, into=[("fading", 10.0)]), *looks(0.0, 5.0, 9.0))
    amounts, _ = solve(aged, rows, Rosenbrock())
    share = left_fading(0.0, 6.0, 1.0)
    trough = 10.0 * share / (1 - share)
    peak = trough + 10.0
    np.testing.assert_allclose(
        amounts[:, 0], [peak, peak * left_fading(0.0, 5.0, 1.0), peak * left_fading(0.0, 3.0, 1.0)], rtol=3e-8
    )


def test_a_steady_state_of_what_changes_with_time_is_refused():
    frame = records(*doses(0.0, ss=1, ii=12.0), *looks(1.0))
    with pytest.raises(BadInput, match="rates depend on time"):
        build_timeline([frame], timed, moving=True)


def test_a_steady_state_by_the_time_since_a_dose_that_waits_is_refused():
    waiting = Compartment("waiting", "mg", lag="ALAG")
    block = Block(
        (waiting,), (flux(waiting >> OUT, by_age, a=amount(waiting), t=time_since_dose(), k="K", slow="SLOW"),)
    )
    frame = records(*doses(0.0, ss=1, ii=12.0, into=[("waiting", 1.0)]), *looks(1.0))
    with pytest.raises(BadInput, match="`ALAG` may hold back"):
        build_timeline([frame], build_system(block), moving=True)


def test_time_with_infusions_against_lsoda():
    rows = records((2.0, 1, 100.0, 0.0, 30.0, 0, 0.0, 0, "daily", 1), *looks(6.0, 20.0, 31.0, 45.0))
    amounts, _ = solve(timed, rows, Rosenbrock())

    def slope(t, a):
        rate = VALUES["K"] * (1 + VALUES["SWING"] * np.cos(2 * np.pi * t / VALUES["DAY"]))
        return (100.0 / 30.0 if t < 32.0 else 0.0) - rate * a

    first = solve_ivp(slope, (2, 32), [0.0], t_eval=[6, 20, 31, 32], rtol=1e-11, atol=1e-12, method="LSODA")
    last = solve_ivp(slope, (32, 45), first.y[:, -1], t_eval=[45], rtol=1e-11, atol=1e-12, method="LSODA")
    np.testing.assert_allclose(amounts[:, 0], [*first.y[0, :3], last.y[0, 0]], rtol=1e-8)
