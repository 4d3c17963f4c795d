"""Doses at steady state against sums of closed forms over the doses of the past, and the derivatives of both."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm

from pbpk.errors import BadInput
from pbpk.model import OUT, Block, Compartment, conc, flux, saturable
from pbpk.model.load import load_model
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve.dose_checks import can_reach_steady_state
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.timeline import build_timeline

oral = load_model("oral_one_compartment").system
KA, CL, V = 1.5, 2.0, 10.0
PLAIN = {"KA": KA, "CL": CL, "V": V, "ALAG1": 0.0, "F1": 1.0, "ALAG2": 0.0, "F2": 1.0}
PLAIN |= {"R1": 20.0, "D1": 2.0, "R2": 50.0, "D2": 2.0}
T = jnp.array([0.0, 0.5, 1.0, 3.0, 6.5, 20.0])
PAST = jnp.arange(200.0)  # doses: at 6 h and a rate of 0.2/h the first leaves e^-240


def decay(t, a, k):
    return jnp.where(t >= 0, a * jnp.exp(-k * jnp.maximum(t, 0)), 0.0)


def infused(t, rate, length, k):
    return rate / k * (1 - jnp.exp(-k * jnp.clip(t, 0, length))) * jnp.exp(-k * jnp.maximum(t - length, 0))


def absorbed(t, a, k, ka):
    return ka / (ka - k) * (decay(t, a, k) - decay(t, a, ka))


def always(form, ii, lag=0.0, more=0):
    """The sum of `form` (of the time since its dose) over the doses every `ii` forever up to t = 0, and `more` after."""
    doses = jnp.concatenate([-PAST, 1.0 + jnp.arange(more)]) * ii + lag
    return jax.vmap(lambda s: form(T - s))(doses).sum(axis=0)


SHARED = [  # (records, parameters, the central amount at T)
    ("bolus", {"II": 6.0}, {}, lambda k: always(lambda t: decay(t, 100.0, k), 6.0)),
    ("infusion", {"II": 6.0, "DUR": 2.5}, {}, lambda k: always(lambda t: infused(t, 40.0, 2.5, k), 6.0)),
    ("overlap", {"II": 6.0, "RATE": 100 / 15.5}, {}, lambda k: always(lambda t: infused(t, 100 / 15.5, 15.5, k), 6.0)),
    (
        "overlap and more doses",
        {"II": 6.0, "RATE": 100 / 15.5, "ADDL": 2},
        {},
        lambda k: always(lambda t: infused(t, 100 / 15.5, 15.5, k), 6.0, more=2),
    ),
    ("lasts one interval", {"II": 6.0, "DUR": 6.0}, {}, lambda k: always(lambda t: infused(t, 100 / 6, 6.0, k), 6.0)),
    (
        "lasts three intervals",
        {"II": 6.0, "DUR": 18.0},
        {},
        lambda k: always(lambda t: infused(t, 100 / 18, 18, k), 6.0),
    ),
    ("endless", {"AMT": 0.0, "RATE": 30.0}, {}, lambda k: decay(T, 30.0 / k, k)),
]
MOVED = [
    ("lag", {"II": 6.0}, {"ALAG2": 2.2}, lambda k: always(lambda t: decay(t, 100.0, k), 6.0, 2.2)),
    (
        "lag and more doses",
        {"II": 6.0, "ADDL": 1},
        {"ALAG2": 2.2},
        lambda k: always(lambda t: decay(t, 100.0, k), 6.0, 2.2, more=1),
    ),
    ("lag beyond II", {"II": 6.0}, {"ALAG2": 14.0}, lambda k: always(lambda t: decay(t, 100.0, k), 6.0, 14.0)),
    ("lag of II", {"II": 6.0}, {"ALAG2": 6.0}, lambda k: always(lambda t: decay(t, 100.0, k), 6.0, 6.0)),
    (
        "lag, overlap, F",
        {"II": 6.0, "RATE": 100 / 15.5},
        {"ALAG2": 2.2, "F2": 0.5},
        lambda k: always(lambda t: infused(t, 100 / 15.5, 7.75, k), 6.0, 2.2),
    ),
    (
        "still running under the lag",
        {"II": 6.0, "DUR": 4.0},
        {"ALAG2": 5.0, "F2": 0.5},
        lambda k: always(lambda t: infused(t, 12.5, 4.0, k), 6.0, 5.0),
    ),
    (
        "modelled rate",
        {"II": 6.0, "RATE": -1.0},
        {"R2": 8.0},
        lambda k: always(lambda t: infused(t, 8.0, 12.5, k), 6.0),
    ),
    (
        "modelled duration",
        {"II": 6.0, "RATE": -2.0},
        {"D2": 9.0, "F2": 0.9},
        lambda k: always(lambda t: infused(t, 10.0, 9.0, k), 6.0),
    ),
    ("endless, modelled", {"AMT": 0.0, "RATE": -1.0}, {"R2": 8.0}, lambda k: decay(T, 8.0 / k, k)),
    ("endless, its end lagged", {"AMT": 0.0, "RATE": 30.0}, {"ALAG2": 0.7}, lambda k: ended(30.0, 0.7, k)),
    ("nothing bioavailable", {"II": 6.0, "RATE": 20.0}, {"F2": 0.0}, lambda k: 0 * T),
]


def ended(rate, lag, k):
    return rate / k * jnp.exp(-k * jnp.maximum(T - lag, 0))


@pytest.mark.parametrize("solver", [Resolvent(), General("tsit5")], ids=lambda s: s.name)
@pytest.mark.parametrize("cases", [SHARED, MOVED], ids=["times fixed", "times moving"])
def test_against_the_doses_of_the_past(solve, dose, seen, cases, solver):
    """All kinds in one batch, each with a clearance of its own."""
    cl = np.linspace(1.5, 2.5, len(cases))
    values = {n: np.array([(PLAIN | more).get(n) for _, _, more, _ in cases]) for n in PLAIN} | {"CL": cl}
    patients = [[dose(0, 100, "central", SS=1) | record, *seen(*T)] for _, record, _, _ in cases]
    amounts, result = solve(oral, patients, values, solver)
    assert result.tolist() == [ResultCode.OK] * len(cases)
    for (name, _, _, form), got, one in zip(cases, amounts, cl, strict=True):
        close = {"rtol": 1e-9, "atol": 1e-9} if solver.name == "resolvent" else {"rtol": 2e-7, "atol": 1e-7}
        np.testing.assert_allclose(got[:, 1], form(one / V), **close, err_msg=name)


def test_the_second_kind_adds_and_the_first_replaces(solve, dose, seen):
    """What was there, what was pending and what was running stays with SS = 2 and goes with SS = 1."""
    k = CL / V
    before = [dose(-4, 70, "central"), dose(-4, 60, "depot", ADDL=9, II=5.0), dose(-1, 80, "central", RATE=10.0)]
    both = [[*before, dose(0, 100, "central", SS=ss, II=6.0, RATE=25.0), *seen(*T)] for ss in (1, 2)]
    (replaced, added), result = solve(oral, both, PLAIN)
    assert result.tolist() == [ResultCode.OK, ResultCode.OK]
    steady = always(lambda t: infused(t, 25.0, 4.0, k), 6.0)
    there = decay(T + 4, 70.0, k) + infused(T + 1, 10.0, 8.0, k)
    there += sum(absorbed(T + 4 - 5.0 * i, 60.0, k, KA) for i in range(10))
    np.testing.assert_allclose(replaced[:, 1], steady, rtol=1e-9)
    np.testing.assert_allclose(replaced[:, 0], 0.0, atol=1e-9)
    np.testing.assert_allclose(added[:, 1], steady + there, rtol=1e-9)


def test_two_regimens_at_steady_state_at_once(solve, dose, seen):
    """SS = 1 and on top of it SS = 2, by another route and with other intervals; a patient with one of them beside."""
    k = CL / V
    one, two = dose(0, 100, "central", SS=1, II=6.0, DUR=9.0), dose(0, 50, "depot", SS=2, II=8.0, ADDL=2)
    (both, alone), _ = solve(oral, [[one, two, *seen(*T)], [two, *seen(*T)]], PLAIN)
    second = always(lambda t: absorbed(t, 50.0, k, KA), 8.0, more=2)
    np.testing.assert_allclose(both[:, 1], always(lambda t: infused(t, 100 / 9, 9.0, k), 6.0) + second, rtol=1e-9)
    np.testing.assert_allclose(alone[:, 1], second, rtol=1e-9)


def test_parameters_are_those_of_its_record(solve, dose, seen):
    p = np.array([np.broadcast_to((PLAIN | {"CL": [2.0, 1.0, 3.0]})[n], 3) for n in oral.parameter_names], float)
    (amounts,), _ = solve(oral, [[*seen(0), dose(5, 100, "central", SS=1, II=6.0), *seen(7)]], p.T[:, :, None])
    np.testing.assert_allclose(amounts[1, 1], 100 / (1 - np.exp(-0.6)) * np.exp(-0.3 * 2), rtol=1e-9)


def test_what_only_fills(graph):
    """A sink, a ring that nothing leaves, and what leads there; nothing here leaves the model, as in models/iodide."""
    assert can_reach_steady_state(graph(5, [(0, 1), (1, 0), (1, 2), (2, 3), (3, 2), (0, 4)])).tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]
    iodide = load_model("iodide").system
    assert [name for name, lasts in zip(iodide.names, can_reach_steady_state(iodide), strict=True) if not lasts] == [
        "decayed"
    ]


def test_a_body_of_many_organs(solve, dose, seen):
    """ICRP's iodine, a dose every 24 h for ever, against the 400 of them that its half-lives need, spelt out."""
    iodide = load_model("iodide", nuclide="I-131")
    values = dict(zip(iodide.system.parameter_names, iodide.values, strict=True))
    steady = [dose(0, 1, "blood", SS=1, II=24.0), *seen(0, 5, 30)]
    spelt = [dose(0, 1, "blood", ADDL=400, II=24.0), *seen(9600, 9605, 9630)]
    (short, long), result = solve(iodide.system, [steady, spelt], values)
    assert result.tolist() == [ResultCode.OK, ResultCode.OK]
    last = iodide.system.index("decayed")
    np.testing.assert_allclose(np.delete(short, last, axis=1), np.delete(long, last, axis=1), rtol=1e-8, atol=1e-9)


EDGES = [(0, 1), (1, 2), (2, 1), (1, 0), (0, 4), (2, 3)]
RATES = [1.0, 0.4, 0.3, 0.2, 0.5, 0.7]


@pytest.mark.parametrize("solver", [Resolvent(), General("tsit5")], ids=lambda s: s.name)
def test_newtons_first_step_is_the_closed_form(solve, dose, seen, graph, matrix_of, solver):
    """(I − Φ)⁻¹ Φ a, with Φ SciPy's; the compartment that only fills (c3) is left at 0 and then fills."""
    system = graph(4, EDGES)
    assert can_reach_steady_state(system).tolist() == [True, True, True, False]
    a, first, t = matrix_of(4, EDGES, RATES), np.eye(4)[1] * 10.0, 3.0
    phi = expm(a * t)
    steady = np.linalg.solve(np.eye(4)[:3, :3] - phi[:3, :3], (phi @ first)[:3])
    expected = np.append(steady, 0.0) + first
    values = {f"k{i}": k for i, k in enumerate(RATES)}
    (amounts,), result = solve(system, [[dose(0, 10, "c1", SS=1, II=t), *seen(0, 2.0)]], values, solver)
    assert result.tolist() == [ResultCode.OK]
    close = 1e-11 if solver.name == "resolvent" else 1e-7
    np.testing.assert_allclose(amounts, [expected, expm(a * 2.0) @ expected], atol=10 * close)


body = Compartment("body", "mg", volume="V")
urine = Compartment("urine", "mg")
saturating = build_system(
    Block((body, urine), (flux(body >> urine, saturable, c=conc(body), vmax="VM", km="KM"),)), ("VM", "KM", "V")
)
bounded = build_system(Block((body,), (flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM"),)))


def trough(vm, km, v, a, ii):
    """Of Michaelis and Menten's elimination: km ln(c₁/c₀) + a/v = vm·ii/v between the doses, and c₁ = c₀ + a/v."""
    return a / jnp.expm1((vm * ii / v - a / v) / km)


def test_saturable_elimination(solve, dose, seen):
    """From easy to a trough of seven doses, and an endless infusion; doses that exceed what can leave have none to find."""
    v, a, ii = 10.0, 50.0, 12.0
    values = {"VM": np.array([9.0, 5.0, 4.4, 20.0, 4.0]), "KM": np.array([1.0, 0.5, 2.0, 1.0, 1.0]), "V": v}
    patient, endless = dose(0, a, "body", SS=1, II=ii), dose(0, 0, "body", SS=1, RATE=15.0)
    patients = [[one, *seen(0, ii)] for one in (patient, patient, patient, endless, patient)]
    amounts, result = solve(bounded, patients, values, General("tsit5"))
    assert result.tolist() == [ResultCode.OK, ResultCode.OK, ResultCode.OK, ResultCode.OK, ResultCode.NO_STEADY_STATE]
    for i in range(3):
        c0 = float(trough(values["VM"][i], values["KM"][i], v, a, ii))
        np.testing.assert_allclose(amounts[i][:, 0], [c0 + a, c0], rtol=1e-6)
    assert amounts[2][1, 0] > 300
    np.testing.assert_allclose(amounts[3][0, 0], v * 15.0 * 1.0 / (20.0 - 15.0), rtol=1e-8)


VARIED = {"KA": 1.1, "ALAG1": 2.2, "D2": 9.3, "CL": 2.1, "F1": 0.8}


def by_closed_form(q):
    ka, lag, length, cl, f = q
    k = cl / V
    central = always(lambda t: infused(t, 100 / length, length, k), 6.0, more=1)
    return central + always(lambda t: absorbed(t, 50.0 * f, k, ka), 8.0, lag)


def by_engine(solver, timeline, q):
    p = jnp.array([PLAIN[n] for n in oral.parameter_names])
    for name, value in zip(VARIED, q, strict=True):
        p = p.at[oral.parameter_index(name)].set(value)
    return solver.solve(oral, timeline, p[None, :, None]).amounts[: len(T), 1, 0]


def test_derivatives_to_second_order_both_ways(dose, seen):
    """In KA, lag, modelled duration, CL and F, of infusions that overlap and a lagged dose on top; oracle: the same of sums."""
    records = [dose(0, 100, "central", SS=1, II=6.0, RATE=-2.0, ADDL=1), dose(0, 50, "depot", SS=2, II=8.0), *seen(*T)]
    timeline = build_timeline([pd.DataFrame(records)], oral, moving=True)
    q = jnp.array(list(VARIED.values()))
    f, backward = (partial(by_engine, s, timeline) for s in (Resolvent().forward_mode(), Resolvent()))
    at = np.array([2, 3, 5])  # between events, which are smooth

    def twice(q):
        def once(q):
            value = f(q)
            return value, value

        def slopes(q):
            first, value = jax.jacfwd(once, has_aux=True)(q)
            return first, (value, first)

        return jax.jacfwd(slopes, has_aux=True)(q)

    second, (value, forward) = jax.jit(twice)(q)
    reverse = jax.jit(jax.jacrev(backward))(q)
    np.testing.assert_allclose(value[at], by_closed_form(q)[at], rtol=1e-9)
    expected = jax.jacfwd(by_closed_form)(q)[at]
    assert (np.abs(expected).max(axis=0) > 1e-2).all(), "every parameter must matter"
    np.testing.assert_allclose(forward[at], expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(reverse[at], expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(second[at], jax.hessian(by_closed_form)(q)[at], rtol=1e-6, atol=1e-6)


def test_derivatives_where_newton_iterates(dose, seen):
    """In Vmax and Km of saturable elimination: forward twice as a fit takes them, and reverse through diffrax's adjoint."""
    timeline = build_timeline([pd.DataFrame([dose(0, 50, "body", SS=1, II=12.0), *seen(0)])], bounded)
    q = jnp.array([6.0, 1.0])

    def f(solver, q):
        p = jnp.array([dict(VM=q[0], KM=q[1], V=10.0)[n] for n in bounded.parameter_names])
        return solver.solve(bounded, timeline, p[None, :, None]).amounts[0, 0, 0]

    def form(q):
        return 50.0 + trough(q[0], q[1], 10.0, 50.0, 12.0)

    solver = General("tsit5", rtol=1e-10, atol=1e-12)
    forward = partial(f, solver.forward_mode())
    second, first = jax.jit(jax.jacfwd(lambda q: (jax.jacfwd(forward)(q),) * 2, has_aux=True))(q)
    np.testing.assert_allclose(first, jax.grad(form)(q), rtol=1e-6)
    np.testing.assert_allclose(second, jax.hessian(form)(q), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(partial(f, solver)))(q), jax.grad(form)(q), rtol=1e-6)


def test_a_patient_without_steady_state_spoils_no_derivative(dose, seen, graph):
    system = graph(1, [(0, 1)])
    timeline = build_timeline([pd.DataFrame([dose(0, 10, "c0", SS=1, II=6.0), *seen(1)])] * 2, system)

    def f(k):
        done = Resolvent().solve(system, timeline, k[None, None, :])
        return done.amounts[0, 0, 0], done.result  # of the first patient alone

    k = jnp.array([0.2, 0.0])
    slope, result = jax.jit(jax.grad(f, has_aux=True))(k)
    assert result.tolist() == [ResultCode.OK, ResultCode.NO_STEADY_STATE]
    expected = jax.grad(lambda k: 10 / (1 - jnp.exp(-6 * k)) * jnp.exp(-k))(0.2)
    np.testing.assert_allclose(slope, [expected, 0.0], rtol=1e-9)


def test_more_overlap_than_foreseen_is_told(dose, seen):
    """The events are laid out for the typical duration; a patient far from it gets a code, and the others their numbers."""
    records = pd.DataFrame([dose(0, 100, "central", SS=1, II=6.0, RATE=-2.0), *seen(*T)])
    p = np.array([np.broadcast_to(PLAIN[n], 3) for n in oral.parameter_names], float)[None]
    p[0, oral.parameter_index("D2")] = [9.0, 17.5, 40.0]
    timeline = build_timeline([records] * 3, oral, typical=np.where(p == 17.5, 9.0, np.where(p == 40.0, 9.0, p)))
    done = jax.jit(lambda p: Resolvent().solve(oral, timeline, p))(p)
    assert done.result.tolist() == [ResultCode.OK, ResultCode.OK, ResultCode.OVERLAPS]
    for i, length in enumerate((9.0, 17.5)):
        expected = always(lambda t, d=length: infused(t, 100 / d, d, CL / V), 6.0)
        np.testing.assert_allclose(done.amounts[: len(T), 1, i], expected, rtol=1e-9)


def test_a_modelled_rate_or_duration_of_nothing_is_told(solve, dose, seen):
    patients = [[dose(0, 100, "central", RATE=code), *seen(*T)] for code in (-1.0, -2.0, -1.0, -2.0)]
    values = PLAIN | {"R2": np.array([0.0, 1.0, 5.0, 5.0]), "D2": np.array([1.0, -1.0, 0.0, 2.0])}
    amounts, result = solve(oral, patients, values)
    assert result.tolist() == [ResultCode.BAD_DOSE, ResultCode.BAD_DOSE, ResultCode.OK, ResultCode.OK]
    np.testing.assert_allclose(amounts[2][:, 1], infused(T, 5.0, 20.0, CL / V), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(amounts[3][:, 1], infused(T, 50.0, 2.0, CL / V), rtol=1e-9, atol=1e-9)


def test_what_is_not_there_is_not_traced(dose, seen):
    """Neither Newton's inverse nor voids nor infusions: a bolus alone is a scan of the solver and a sum."""
    p = jnp.array([PLAIN[n] for n in oral.parameter_names])[None, :, None]

    def program(records, **more):
        timeline = build_timeline([pd.DataFrame([*records, *seen(1)])], oral, **more)
        text = str(jax.make_jaxpr(lambda p: Resolvent().solve(oral, timeline, p).amounts)(p))
        return timeline, set(re.findall(r" = (lu|sort|floor)\b", text))

    plain, found = program([dose(0, 100, "central")])
    assert plain.steady is None and plain.target is None and not plain.has_infusions and not plain.has_moving_events
    assert found == set()
    steady, found = program([dose(0, 100, "central", SS=1, II=6.0)], moving=True)
    assert steady.steady is not None and found == {"lu", "sort", "floor"}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"SS": 1}, "SS = 1 needs an interval"),
        ({"SS": 2, "AMT": 0.0, "II": 12.0}, "with AMT = 0 needs a RATE"),
        ({"SS": 3, "II": 12.0}, "none of 0, 1, 2"),
        ({"ADDL": 2}, "ADDL = 2 needs an interval"),
        ({"RATE": -1.0}, "modelled rate, but the compartment `body` has none"),
        ({"RATE": -2.0}, 'Compartment("body", "mg", duration="NAME")'),
        ({"RATE": -3.0}, "neither -1 nor -2"),
        ({"SS": 1, "II": 0.001, "DUR": 1000.0}, "over 20,000 events"),
    ],
)
def test_refused_by_row(dose, seen, record, words):
    frame = pd.DataFrame([{**dose(0, 100, "body"), **record}, *seen(100)], index=[7, 8]).assign(ID="12")
    with pytest.raises(BadInput, match=r"row 7 \(ID 12\)") as caught:
        build_timeline([frame], bounded)
    assert caught.value.exit_code == 3 and words in str(caught.value)


def test_a_dose_that_never_leaves_has_no_steady_state(dose, seen):
    with pytest.raises(BadInput, match="into `urine` has no steady state"):
        build_timeline([pd.DataFrame([dose(0, 100, "urine", SS=1, II=12.0), *seen(1)])], saturating)
