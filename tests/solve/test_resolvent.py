"""The series of one resolvent against exact exponentials: right, or it says that it is not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from truth import exponentials

from pbpk.linalg.packing import evaluate_linear_part
from pbpk.linalg.series import SPANS, design
from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    conc,
    first_order,
    flux,
    saturable,
    zero_order,
)
from pbpk.model.system import build_system
from pbpk.results import ResultCode, explain
from pbpk.solve.contour import Contour
from pbpk.solve.resolvent import Resolvent, integrate_to_infinity, may_oscillate, propagate
from pbpk.solve.series_window import ResolventWindow

SIZE = 5
EDGES = [(a, b) for a in range(SIZE) for b in range(SIZE + 1) if a != b]  # every graph is this one, some rates being 0


@partial(jax.jit, static_argnums=(0, 5))
def _cross(system, p, x, source, stops, span):
    window = ResolventWindow(system, design(span, 1e-13), integrals=True)
    return propagate(window, evaluate_linear_part(system, p)[0], x, source, stops)


def cross(system, rates, x, stops, source=None):
    """Amounts (M, n, N), integrals and the estimated error (N,) after `stops` from x, for rates (m, N) or (m,)."""
    p = np.asarray(rates, float).reshape(len(rates), -1)
    start = np.broadcast_to(np.asarray(x, float).reshape(len(x), -1), (len(x), p.shape[1]))
    span = next(s for s in SPANS if s >= stops[-1] / stops[0] * (1 - 1e-12))
    return [np.asarray(a) for a in _cross(system, p, start, source, np.asarray(stops, float)[:, None], span)]


@pytest.fixture(scope="module")
def every(graph):
    return graph(SIZE, EDGES)


@pytest.fixture(scope="module")
def zoo():
    """Rates (m, N) of graphs of every kind, and their kinds (N,)."""
    rng = np.random.default_rng(1)
    kinds = {
        "ring": lambda a, b: b == (a + 1) % SIZE,
        "small ring": lambda a, b: (a < 3 and b == (a + 1) % 3) or b == SIZE,
        "chain": lambda a, b: b == a + 1,
        "body": lambda a, b: 0 in (a, b),
        "sparse": lambda a, b: rng.random() < 0.3,
        "stiff": lambda a, b: rng.random() < 0.4,
    }
    rates, names = [], []
    for name, chosen in kinds.items():
        for i in range(14):
            low, high = {"stiff": (-4, 8), "body": (-2, 3)}.get(name, (-2, 2))
            k = 10 ** rng.uniform(low, high, len(EDGES))
            if i % 2 and name in ("ring", "small ring", "chain"):  # equal rates are the worst
                k[:] = k[0]
            rates.append(k * [bool(chosen(a, b)) for a, b in EDGES])
            names.append(name)
    return np.array(rates).T, np.array(names)


@pytest.mark.parametrize("stops", [[7.0], [0.3, 1.0, 7.0], [0.1, 1.0, 2.0, 10.0]])
def test_the_estimate_bounds_the_error(every, zoo, stops):
    """Amounts and, over the window's length, integrals; relative to what is present, with and without an inflow."""
    rates, kind = zoo
    rng, end = np.random.default_rng(2), stops[-1]
    x, source = rng.uniform(0, 1, (2, SIZE, rates.shape[1]))
    alone, of_alone, bound_alone = cross(every, rates, x, stops)
    fed, of_fed, bound = cross(every, rates, x, stops, source)
    error = np.zeros((4, rates.shape[1]))
    for i, k in enumerate(rates.T):
        for m, t in enumerate(stops):
            whole, once, twice = exponentials(SIZE, EDGES, k, t)
            start, flowed = x[:, i].sum(), x[:, i].sum() + source[:, i].sum() * end
            for row, got, exact, scale in (
                (0, alone, whole @ x[:, i], start),
                (1, of_alone, once @ x[:, i], start * end),
                (2, fed, whole @ x[:, i] + once @ source[:, i], flowed),
                (3, of_fed, once @ x[:, i] + twice @ source[:, i], flowed * end),
            ):
                error[row, i] = max(error[row, i], np.abs(got[m, :, i] - exact).max() / scale)
    assert (error[:2] <= 2 * bound_alone + 1e-13).all()
    assert (error[2:] <= 2 * bound + 1e-13).all()
    real = np.isin(kind, ["body"])
    assert error[:, real].max() < 1e-12  # on the axis it is exact,
    assert bound[real].max() < 1e-10  # and knows it
    assert error.max() > 1e-9 or len(stops) == 1  # the zoo does hold what the series cannot do


INFUSED = ({"RATE": 5.0}, 1.0, 2.0)  # into c1, at 1 h for 2 h
TIMES = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 9.0, 20.0])


def exactly(rates, t):
    """Amounts and their integrals at t after 10 into c0 at 0 and the infusion."""
    _, begin, length = INFUSED
    bolus, inflow = 10.0 * np.eye(SIZE)[0], 5.0 * np.eye(SIZE)[1]
    whole, once, _ = exponentials(SIZE, EDGES, rates, t)
    amounts, areas = whole @ bolus, once @ bolus
    for since, sign in ((t - begin, 1.0), (t - begin - length, -1.0)):
        if since > 0:
            _, once, twice = exponentials(SIZE, EDGES, rates, since)
            amounts, areas = amounts + sign * once @ inflow, areas + sign * twice @ inflow
    return amounts, areas


@pytest.fixture(scope="module")
def truth(zoo):
    found = [[exactly(k, t) for k in zoo[0].T] for t in TIMES]
    return np.moveaxis(np.array(found), (0, 1, 2, 3), (1, 3, 0, 2))  # (amounts or integrals, T, n, N)


@pytest.fixture(scope="module")
def records(dose, seen):
    how, begin, length = INFUSED
    both = [dose(0, 10, "c0"), dose(begin, 5.0 * length, "c1", **how), *seen(*TIMES)]
    return sorted(both, key=lambda r: (r["TIME"], 1 - r["EVID"]))


def test_right_or_flagged(lanes, every, zoo, truth, records):
    """A patient that the series cannot do says so, whatever its graph; the others are right; and the contour does all."""
    amounts, areas, result = lanes(every, records, zoo[0], integrals=True)
    given, hours = 20.0, TIMES[:, None, None]
    error = np.abs(amounts - truth[0]).max(axis=(0, 1)) / given
    of_areas = np.abs((areas - truth[1]) / hours).max(axis=(0, 1)) / given
    flagged = result == ResultCode.INACCURATE
    assert (flagged | (result == ResultCode.OK)).all()
    assert error[~flagged].max() < 1e-8
    assert of_areas[~flagged].max() < 1e-8
    assert 0 < flagged.sum() < 30
    assert set(zoo[1][flagged]) <= {"ring", "small ring", "chain", "sparse", "stiff"}
    amounts, areas, result = lanes(every, records, zoo[0], integrals=True, surely=True)
    assert (result == ResultCode.OK).all()
    assert np.abs(amounts - truth[0])[..., flagged].max() < 2e-11 * given
    assert np.abs((areas - truth[1]) / hours)[..., flagged].max() < 2e-11 * given


def test_in_a_fit_the_contour_is_part_of_the_program(lanes, every, zoo, truth, records):
    amounts, areas, result = lanes(every, records, zoo[0], Resolvent().forward_mode(), integrals=True)
    assert (result == ResultCode.OK).all()
    assert np.abs(amounts - truth[0]).max() < 1e-8 * 20
    assert np.abs((areas - truth[1]) / TIMES[:, None, None]).max() < 1e-8 * 20


def test_which_models_may_need_the_contour(graph):
    assert not may_oscillate(graph(5, [(0, i) for i in range(1, 5)] + [(i, 0) for i in range(1, 5)]))
    assert may_oscillate(graph(3, [(0, 1), (1, 2), (2, 0)]))
    assert may_oscillate(graph(8, [(i, i + 1) for i in range(8)]))
    assert not may_oscillate(graph(3, [(0, 1), (1, 2), (2, 3)]))


def test_a_flag_is_of_one_patient(lanes, every, zoo, records):
    """The others' bits do not depend on who is beside them."""
    rates, _ = zoo
    _, _, result = lanes(every, records, rates)
    some = np.flatnonzero(result == ResultCode.OK)[[0, 5, 9, 20]]
    bad = np.flatnonzero(result == ResultCode.INACCURATE)[:1]
    together, _, codes = lanes(every, records, rates[:, [*some, *bad]])
    apart, _, _ = lanes(every, records, rates[:, [*some, some[0]]])
    assert codes.tolist() == [ResultCode.OK] * 4 + [ResultCode.INACCURATE]
    np.testing.assert_array_equal(together[..., :4], apart[..., :4])


def test_times_together_and_one_by_one(every, zoo):
    """A window is a way to share work, not another result."""
    rates = zoo[0][:, zoo[1] == "body"]
    x, stops = np.random.default_rng(3).uniform(0, 1, (SIZE, rates.shape[1])), [0.5, 0.7, 2.0, 4.5]
    together, areas, _ = cross(every, rates, x, stops)
    for m, t in enumerate(stops):
        alone, area, _ = cross(every, rates, x, [t])
        np.testing.assert_allclose(together[m], alone[0], atol=2e-13 * SIZE)
        np.testing.assert_allclose(areas[m], area[0], atol=2e-13 * SIZE * t)


@pytest.mark.parametrize("decay", [1e-3, 0.1, 30.0])
def test_forty_half_lives_of_physical_decay(every, zoo, decay):
    """What every compartment loses alike is taken out first: amounts are right relative to what has not decayed."""
    rates = zoo[0][:, np.isin(zoo[1], ["body", "stiff"])]
    rates = rates * [[b != SIZE] for _, b in EDGES]
    t = 40 * np.log(2) / decay
    decayed = rates + np.array([[decay * (b == SIZE)] for _, b in EDGES])
    got, _, error = cross(every, decayed, np.eye(SIZE)[0], [t / 40, t])
    for i, k in enumerate(decayed.T):
        exact = exponentials(SIZE, EDGES, k, t)[0][:, 0]
        assert np.abs(got[-1, :, i] - exact).max() <= 1e-9 * 2.0**-40 or error[i] > 1e-9
    assert (error < 1e-9).sum() > 20
    np.testing.assert_allclose(
        got[:, :, error < 1e-9].sum(axis=1), np.array([[0.5], [2.0**-40]]) + 0 * error[error < 1e-9], rtol=1e-9
    )


def test_rates_of_zero(graph):
    got, areas, _ = cross(graph(3, [(0, 1), (1, 2), (2, 3)]), [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, 7.0])
    np.testing.assert_allclose(got[:, :, 0], [[1.0, 2.0, 3.0]] * 2, rtol=1e-13)
    np.testing.assert_allclose(areas[:, :, 0], [[1.0, 2.0, 3.0], [7.0, 14.0, 21.0]], rtol=1e-13)


@pytest.mark.parametrize("stiffness", [1.0, 1e3, 1e6, 1e9])
def test_stiffness_loses_no_mass(every, stiffness):
    """Elimination by column excesses subtracts nothing (elimination.py); differences of rates lost 4e-14 × rate × time."""
    rng = np.random.default_rng(0)
    inside = np.array([b != SIZE for _, b in EDGES])
    rates = stiffness * 10 ** rng.uniform(-2, 0, len(EDGES)) * (rng.random(len(EDGES)) < 0.4) * inside
    got, _, _ = cross(every, rates, np.eye(SIZE)[1], [0.1, 1.0])
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-12)


def test_no_time_changes_nothing(lanes, every, zoo, dose, seen):
    amounts, _, _ = lanes(every, [dose(1, 3, "c0"), *seen(1), dose(1, 2, "c2"), *seen(1, 2)], zoo[0])
    np.testing.assert_allclose(amounts[0].T, [[3, 0, 0, 0, 0]] * zoo[0].shape[1], atol=1e-8)
    np.testing.assert_allclose(amounts[1].T, [[3, 0, 2, 0, 0]] * zoo[0].shape[1], atol=1e-8)


_to_infinity = jax.jit(integrate_to_infinity, static_argnums=0)


def dense(rates):
    a = np.zeros((SIZE + 1, SIZE + 1))
    for (source, target), k in zip(EDGES, rates, strict=True):
        a[source, source] -= k
        a[target, source] += k
    return a[:SIZE, :SIZE]


def test_to_infinity(every):
    rng = np.random.default_rng(5)
    rates, x = 10 ** rng.uniform(-3, 2, (len(EDGES), 20)), rng.uniform(0, 1, (SIZE, 20))
    got = _to_infinity(every, jnp.asarray(rates), jnp.asarray(x))
    exact = [np.linalg.solve(-dense(k), x[:, i]) for i, k in enumerate(rates.T)]
    np.testing.assert_allclose(got.T, exact, rtol=1e-11)


def test_to_infinity_where_something_never_empties(every):
    """c3 and c4 keep what reaches them; c2 is not reached; stiff rates leave that as it is."""
    arrows = {(0, 1): 2.0, (1, 0): 1e8, (0, 5): 0.5, (1, 3): 0.1, (3, 4): 1.0, (4, 3): 2.0}
    rates = jnp.array([[arrows.get(e, 0.0)] for e in EDGES])
    reached = _to_infinity(every, rates, jnp.eye(SIZE)[:, :1])[:, 0]
    assert np.isfinite(reached[:2]).all()
    assert np.isposinf(reached[3:]).all()
    assert reached[2] == 0
    assert np.array_equal(_to_infinity(every, rates, jnp.eye(SIZE)[:, 3:4])[:3, 0], np.zeros(3))
    assert np.array_equal(_to_infinity(every, rates, jnp.zeros((SIZE, 1))), np.zeros((SIZE, 1)))


def test_derivatives_to_infinity(every):
    """−A⁻¹x: ∂/∂k by finite differences of the dense solution."""
    rng = np.random.default_rng(6)
    rates, x, way = rng.uniform(0.1, 2, len(EDGES)), rng.uniform(0, 1, SIZE), rng.normal(size=len(EDGES))

    def ours(k, x):
        return _to_infinity(every, k[:, None], x[:, None])[:, 0]

    slope = jax.jvp(lambda k: ours(k, x), (rates,), (way,))[1]
    high, low = (np.linalg.solve(-dense(rates + s * way), x) for s in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-7)
    np.testing.assert_allclose(jax.jacrev(ours, argnums=1)(rates, x), np.linalg.inv(-dense(rates)), rtol=1e-10)


body, other = Compartment("body", "mg", volume="V"), Compartment("other", "mg", volume="V")


def test_refuses_nonlinear_fluxes_by_name():
    system = build_system(Block((body,), (flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM"),)))
    assert (
        Resolvent()
        .unsupported_reason(system)
        .startswith("nonlinear fluxes: body -> out (saturable, test_resolvent.py:")
    )


def test_refuses_what_the_contour_refuses(graph):
    assert "a cycle of 14 compartments" in Resolvent().unsupported_reason(
        graph(14, [(i, (i + 1) % 14) for i in range(14)])
    )
    assert Resolvent().fallback() == Contour()


def test_refuses_a_flux_driven_from_elsewhere():
    system = build_system(Block((body, other), (flux(body >> OUT, first_order, a=amount(other), k="K"),)))
    assert "driven by another compartment than their source: body -> out" in Resolvent().unsupported_reason(system)


@pytest.mark.parametrize(
    ("path", "law", "more"),
    [
        (OUT >> body, zero_order, {"rate": "K"}),
        (body >> OUT, zero_order, {"rate": "K"}),  # a constant loss is no production, and flows all the same
        (body >> OUT, lambda a, k: 0.0 * a + k, {"a": amount(body), "k": "K"}),
        (OUT >> body, lambda made, spared: made - spared, {"made": "K", "spared": "S"}),  # 0 where they are equal
    ],
)
def test_constant_terms_are_carried(solve, dose, seen, path, law, more):
    system = build_system(Block((body,), (flux(path, law, **more),)))
    assert Resolvent().unsupported_reason(system) == ""
    values = {"K": 0.5, "S": 0.2, "V": 1.0}
    (amounts,), _ = solve(system, [[dose(0, 10, "body"), *seen(0, 2, 3)]], values)
    rate = values["K"] - (values["S"] if "spared" in more else 0.0)
    sign = 1 if path.target is body else -1
    np.testing.assert_allclose(amounts[:, 0], 10 + sign * rate * np.array([0, 2, 3]), atol=1e-11)


def test_failure_is_a_value_of_that_patient(solve, dose, seen, graph):
    system = graph(2, [(0, 1), (1, 2)])
    patient = [dose(0, 10, "c0"), *seen(1, 2)]
    amounts, result = solve(system, [patient] * 3, {"k0": [1.0, -1.0, np.nan], "k1": 0.5})
    assert result.tolist() == [ResultCode.OK, ResultCode.NEGATIVE_RATE, ResultCode.NOT_FINITE]
    assert np.isfinite(amounts[0]).all()
    assert explain(result[1]) == "a rate constant is negative"
    assert (
        explain(ResultCode.NEGATIVE_RATE | ResultCode.NOT_FINITE)
        == "the solution is not finite; a rate constant is negative"
    )
    assert explain(ResultCode.OK) == "ok"
