"""The Rosenbrock methods: their order, their accuracy at a tolerance, and that patients do not disturb one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from pbpk.compile.engine import using_engine
from pbpk.compile.xla import jit
from pbpk.linalg.tableau import TABLEAUS
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flow, flux, saturable
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve.interval import Interval
from pbpk.solve.right_hand_side import build_vector_field
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.rosenbrock_step import take_step
from pbpk.solve.rosenbrock_window import RosenbrockOptions, StepMemory, choose_first_memory, cross_window
from pbpk.solve.timeline import build_timeline

depot = Compartment("depot", "mg")
central = Compartment("central", "mg", volume="V")
tissue = Compartment("tissue", "mg", volume="VT")
system = build_system(
    Block(
        (depot, central, tissue),
        (
            flux(depot >> central, first_order, a=amount(depot), k="KA"),
            flux(central >> tissue, flow, c=conc(central), q="Q"),
            flux(tissue >> central, flow, c=conc(tissue), q="Q"),
            flux(central >> OUT, saturable, c=conc(central), vmax="VM", km="KM"),
        ),
    )
)
VALUES = {"KA": 1.2, "Q": 3.0, "VM": 9.0, "KM": 0.5, "V": 5.0, "VT": 12.0}
T = np.array([0.5, 1.0, 2.0, 6.0, 8.0, 9.0, 9.5, 12.0, 24.0])


def wide(n=1, **changed):
    """Parameters (m, n)."""
    return np.array([np.broadcast_to((VALUES | changed)[name], n) for name in system.parameter_names], float)


def reference(p, method="Radau"):
    """Amounts and integrals (2, T, 3) after 100 into the depot at 0 and 20 mg/h into central from 8 to 9.5 h."""
    v = dict(zip(system.parameter_names, p, strict=True))

    def slope(t, y, inflow):
        c, ct = y[1] / v["V"], y[2] / v["VT"]
        lost, moved = v["VM"] * c / (v["KM"] + c), v["Q"] * (c - ct)
        return [-v["KA"] * y[0], v["KA"] * y[0] - moved - lost + inflow, moved, *y[:3]]

    y, begin, seen = np.array([100.0, *[0.0] * 5]), 0.0, []
    for end, inflow in ((8.0, 0.0), (9.5, 20.0), (24.0, 0.0)):
        times = T[(begin < T) & (end >= T)]
        how = {"method": method, "rtol": 1e-11 if method == "Radau" else 1e-13, "atol": 1e-12}
        done = solve_ivp(slope, (begin, end), y, args=(inflow,), t_eval=np.union1d(times, end), **how)
        seen.append(done.y[:, : len(times)])
        y, begin = done.y[:, -1], end
    return np.moveaxis(np.concatenate(seen, axis=1).reshape(2, 3, -1), 1, 2)


@pytest.fixture(scope="module")
def records(dose, seen):
    both = [dose(0, 100, "depot"), dose(8, 30, "central", RATE=20.0), *seen(*T)]
    return sorted(both, key=lambda r: r["TIME"])


PATIENTS = wide(4, VM=[9.0, 2.0, 30.0, 9.0], KM=[0.5, 0.05, 5.0, 0.01], Q=[3.0, 300.0, 3.0, 0.0])


@pytest.fixture(scope="module")
def truth():
    """By a stiff and by an explicit method, which must agree far below what is tested."""
    ours, theirs = (np.stack([reference(p, m) for p in PATIENTS.T], axis=-1) for m in ("Radau", "DOP853"))
    np.testing.assert_allclose(ours, theirs, atol=2e-9 * 100)
    return theirs


@pytest.mark.parametrize("name", sorted(TABLEAUS))
def test_order_of_convergence(lanes, records, name):
    """On a grid four times as dense the error falls by 4^order; a wrong coefficient would cost an order or more."""
    gentle = wide(1, VM=30.0, KM=5.0)
    tight, of_tight, _ = lanes(system, records, gentle, Rosenbrock(rtol=1e-12, atol=1e-15), integrals=True)
    error = []
    for density in (24.0, 96.0):
        solver = Rosenbrock(name, grid=(1 / density, density))
        amounts, areas, _ = lanes(system, records, gentle, solver, integrals=True)
        error.append([np.abs(amounts - tight).max(), np.abs(areas - of_tight).max()])
    orders = np.log(np.array(error[0]) / np.array(error[1])) / np.log(4)
    assert orders.min() > TABLEAUS[name].order - 0.4


@pytest.mark.parametrize("name", sorted(TABLEAUS))
def test_one_step_is_of_its_order_and_its_estimate_of_one_less(name):
    """Locally: error ~ h^(order + 1), estimate ~ h^order, both for amounts and their integral."""
    f, p, x = build_vector_field(system), jnp.asarray(wide()), jnp.array([[40.0], [30.0], [10.0]])
    bound = f.bind(p)
    whole, estimates = [], []

    @jax.jit
    def step(x, h):
        return take_step(f, TABLEAUS[name], x, jnp.full(1, h), None, bound, True)

    for h in (0.08, 0.04):
        y, total = x, 0.0
        for _ in range(64):
            y, gained, _ = step(y, h / 64)
            total = total + gained
        ours, area, estimate = step(x, h)
        whole.append([np.abs(ours - y).max(), np.abs(area - total).max()])
        estimates.append(np.abs(estimate).max())
    fell = np.log2(np.array(whole[0]) / np.array(whole[1]))
    assert fell.min() > TABLEAUS[name].order + 1 - 0.5
    assert np.log2(estimates[0] / estimates[1]) > TABLEAUS[name].order - 0.5
    assert estimates[0] > whole[0][0]


@pytest.mark.parametrize("name", sorted(TABLEAUS))
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8, 1e-10])
def test_accuracy_follows_the_tolerance(lanes, records, truth, name, rtol):
    """Within 20 times rtol of the dose (errors of some hundred steps add up), and not idly exact."""
    solver = Rosenbrock(name, rtol=rtol, atol=1e-3 * rtol)
    amounts, areas, result = lanes(system, records, PATIENTS, solver, integrals=True)
    assert (result == ResultCode.OK).all()
    error = np.abs(amounts - truth[0]).max(axis=(0, 1)) / 100 / rtol
    of_areas = (np.abs(areas - truth[1]) / T[:, None, None]).max(axis=(0, 1)) / 100 / rtol
    assert error.max() < 20
    assert of_areas.max() < 20
    assert error.max() > 1e-3


def test_a_stiff_neighbour_changes_no_bit_of_a_patient(lanes, records):
    """Steps are each patient's own: who is beside one decides only how long one waits."""
    calm, wild = wide(2), wide(2)
    wild[system.parameter_index("Q"), 1] = 1e6
    wild[system.parameter_index("KM"), 1] = 1e-6
    for integrals in (False, True):
        alone, areas, _ = lanes(system, records, calm, integrals=integrals, solver=Rosenbrock())
        beside, others, result = lanes(system, records, wild, integrals=integrals, solver=Rosenbrock())
        assert (result == ResultCode.OK).all()
        np.testing.assert_array_equal(alone[..., 0], beside[..., 0])
        if integrals:
            np.testing.assert_array_equal(areas[..., 0], others[..., 0])


@pytest.mark.parametrize("what", ["nan", "max_steps"])
def test_a_patient_that_fails_stops_no_other(lanes, records, truth, what):
    p = PATIENTS.copy()
    if what == "nan":
        p[:, 2] = np.nan
        amounts, _, result = lanes(system, records, p, Rosenbrock())
        assert result[2] == ResultCode.NOT_FINITE
        assert np.isnan(amounts[..., 2]).all()
        others = [0, 1, 3]
    else:  # fewer steps than the patient of fast exchange and sharp saturation needs in the first window
        amounts, _, result = lanes(system, records, p, Rosenbrock(max_steps=80))
        others = np.flatnonzero(result == ResultCode.OK)
        assert 0 < len(others) < 4
        assert (np.delete(result, others) == ResultCode.GAVE_UP).all()
    assert (result[others] == ResultCode.OK).all()
    np.testing.assert_allclose(amounts[..., others], truth[0][..., others], atol=1e-5)


def test_too_few_steps_are_no_answer(lanes, records):
    _, _, result = lanes(system, records, PATIENTS, Rosenbrock(max_steps=3))
    assert result.tolist() == [ResultCode.GAVE_UP] * 4
    _, _, result = lanes(system, records, PATIENTS, Rosenbrock(max_steps=3), surely=True)
    assert result.tolist() == [ResultCode.OK] * 4


@pytest.fixture(scope="module")
def coarse():
    return Rosenbrock(rtol=1e-6, atol=1e-9, grid=(0.025, 20.0))


def test_on_a_shared_grid_offenders_say_so(lanes, records, truth, coarse):
    """Steps that suit the gentle patient are too long for the sharply saturated: those say so, and their own steps cure it."""
    amounts, _, result = lanes(system, records, PATIENTS, coarse)
    error = np.abs(amounts - truth[0]).max(axis=(0, 1)) / 100
    assert set(result.tolist()) == {ResultCode.OK, ResultCode.INACCURATE}
    assert error[result == ResultCode.OK].max() < 20e-6
    assert error.max() > 20e-6
    amounts, _, result = lanes(system, records, PATIENTS, coarse, surely=True)
    assert (result == ResultCode.OK).all()
    assert np.abs(amounts - truth[0]).max() < 20e-6 * 100


def test_a_shared_grid_is_smooth_in_the_parameters(records, coarse):
    """No step is chosen by the numbers: the second difference over a tiny change stays tiny, as rounding."""
    timeline = build_timeline([pd.DataFrame(records)], system)
    run = jax.jit(lambda p: coarse.solve(system, timeline, p).amounts[: len(T), :, 0])
    at, p = system.parameter_index("VM"), jnp.asarray(wide())[None]
    low, here, high = (np.asarray(run(p.at[:, at].add(s))) for s in (-1e-4, 0.0, 1e-4))
    assert np.abs(high - 2 * here + low).max() < 1e-6
    assert np.abs(high - low).max() > 1e-5


def test_steps_are_remembered_between_looks(dose, seen):
    """Between two looks nothing changes, and the step goes on as it was: looking often costs little."""
    march = RosenbrockOptions(build_vector_field(system), TABLEAUS["rodas5p"], 1e-6, 1e-9, 1000, False, None)
    x, p = jnp.array([[40.0], [30.0], [10.0]]), march.field.bind(jnp.asarray(wide()))
    stops = jnp.full((1, 1), 2.0)
    fresh = choose_first_memory(
        march, x, Interval(stops, None, p, jnp.array([True]), StepMemory(jnp.ones(1), jnp.ones(1)))
    )
    amounts, _, _, memory = jax.jit(cross_window, static_argnums=0)(march, x, None, stops, p, fresh)
    after = choose_first_memory(march, amounts[-1], Interval(stops, None, p, jnp.array([False]), memory))
    assert float(after.length[0]) > 3 * float(fresh.length[0])
    assert float(after.since[0]) == 2.0


def turnover(made, spared):
    return made - spared


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(
            "kernel", marks=pytest.mark.skipif(bool(jit.explain_no_jit()), reason="kernels cannot be compiled here")
        ),
        "jax",
    ],
)
def test_what_is_made_at_zero_amounts(seen, engine):
    """From nothing to where a saturable loss keeps up with production, VM·c/(KM + c) = K − S; its derivatives too. A difference
    is 0 where its terms are equal, and is made all the same."""
    made = build_system(
        Block(
            (central, tissue),
            (
                flux(OUT >> central, turnover, made="K", spared="S"),
                flux(central >> tissue, flow, c=conc(central), q="Q"),
                flux(tissue >> central, flow, c=conc(tissue), q="Q"),
                flux(central >> OUT, saturable, c=conc(central), vmax="VM", km="KM"),
            ),
        )
    )
    assert build_vector_field(made).has_production and not build_vector_field(system).has_production
    v, times = VALUES | {"K": 5.0, "S": 1.0}, np.array([0.0, 0.5, 2.0, 8.0, 400.0])
    p = np.array([[v[n]] * 3 for n in made.parameter_names], float)
    timeline = build_timeline([pd.DataFrame(seen(*times))], made)

    def amounts(p):
        return Rosenbrock(rtol=1e-9).solve(made, timeline, p[None]).amounts[: len(times), :, 0]

    def slope(t, y):
        c, ct = y[0] / v["V"], y[1] / v["VT"]
        moved = v["Q"] * (c - ct)
        return [4.0 - moved - v["VM"] * c / (v["KM"] + c), moved]

    expected = solve_ivp(slope, (0, times[-1]), [0.0, 0.0], "Radau", times, rtol=1e-10, atol=1e-13).y.T
    with using_engine(engine):
        found, gradient = jax.jit(amounts)(p), jax.jit(jax.grad(lambda p: amounts(p)[-1, 0]))(p)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[-1, 0] == pytest.approx(v["V"] * v["KM"] * 4.0 / (v["VM"] - 4.0), rel=1e-7)
    by_k = v["V"] * v["KM"] * v["VM"] / (v["VM"] - 4.0) ** 2
    at = [made.parameter_index(n) for n in ("K", "S")]
    np.testing.assert_allclose(gradient[at, 0], [by_k, -by_k], rtol=1e-6)
