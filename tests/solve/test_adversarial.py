"""Kinetics that break solvers. Every solver is right to its tolerance or says that it is not; then a stricter one is right.

Linear cases are graphs of five compartments with some rates of zero, all in one batch, against exact exponentials; so a
case also has every other one for a neighbour.
"""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import wrightomega
from truth import exponentials

from pbpk.model import OUT, Block, Compartment, amount, clearance, conc, first_order, flux, saturable
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve.contour import Contour
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline

SIZE = 5
EDGES = [(a, b) for a in range(SIZE) for b in range(SIZE + 1) if a != b]
RING = {(i, (i + 1) % SIZE): 2.0 for i in range(SIZE)}
BODY = {(0, i): 10.0 * i for i in range(1, SIZE)} | {(i, 0): 3.0 for i in range(1, SIZE)}
DECAY = {(i, SIZE): 0.1 for i in range(SIZE)}
STIFF = {(0, 1): 1e8, (1, 0): 0.5e8, (0, 5): 1.0}
SPAN = np.array([1e-6, 0.01, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])

CASES = {  # rates, the dose (into c0), times
    "a fast exchange beside a slow loss, 1e8": (STIFF, 10.0, SPAN / 10),
    "a fast step before a slow one, 1e8": ({(0, 1): 1e8, (1, 5): 1.0}, 10.0, SPAN / 10),
    "a fast ring before a slow loss, 1e8": ({(0, 1): 1e8, (1, 2): 1e8, (2, 0): 1e8, (2, 5): 1.0}, 10.0, SPAN / 10),
    "a slow step before a fast one, 1e8": ({(0, 1): 1.0, (1, 5): 1e8}, 10.0, SPAN / 10),
    "an organ without flow": (BODY | {(0, 2): 0.0, (2, 0): 0.0} | DECAY, 10.0, SPAN),
    "an organ that nothing leaves": (BODY | {(2, 0): 0.0}, 10.0, SPAN),
    "a ring without losses": (RING, 10.0, SPAN),
    "a ring with losses": (RING | DECAY, 10.0, SPAN),
    "a lopsided ring": (RING | {(0, 1): 200.0, (2, 3): 0.02} | DECAY, 10.0, SPAN),
    "a one-way chain of equal rates": ({(i, i + 1): 4.0 for i in range(SIZE)}, 10.0, SPAN / 10),
    "rates of exactly zero": ({}, 10.0, SPAN),
    "no dose at all": (BODY | DECAY, 0.0, SPAN),
    "1e-30": (BODY | DECAY, 1e-30, SPAN),
    "1e-30, a ring": (RING | DECAY, 1e-30, SPAN),
    "1e30": (BODY | DECAY, 1e30, SPAN),
    "40 half-lives": (BODY | {e: np.log(2) / 10 for e in DECAY}, 10.0, 10 * np.array([1, 2, 5, 10, 20, 30, 39, 40.0])),
    "40 half-lives at one look": ({e: np.log(2) / 10 for e in DECAY}, 10.0, np.array([1e-3] + [400.0] * 7)),
    "as slow as can be": ({(0, 1): 1e-12, (1, 0): 1e-9}, 10.0, SPAN),
}
SOLVERS = {  # and the error, of what was given, that each may make without a word
    "resolvent": (Resolvent(), 1e-8),
    "contour": (Contour(), 2e-11),
    "rodas5p": (Rosenbrock(), 1e-6),
    "rodas4": (Rosenbrock("rodas4"), 1e-6),
}
every_solver = pytest.mark.parametrize(("solver", "tolerance"), list(SOLVERS.values()), ids=list(SOLVERS))


@pytest.fixture(scope="module")
def batch(graph, dose, seen):
    """The system, one timeline for all cases, their parameters, and exact amounts and integrals (2, T, n, N)."""
    system = graph(SIZE, EDGES)
    frames = [pd.DataFrame([dose(0, size, "c0"), *seen(*times)]) for _, size, times in CASES.values()]
    p = np.array([[rates.get(e, 0.0) for e in EDGES] for rates, _, _ in CASES.values()]).T
    found = [
        [np.array(exponentials(SIZE, EDGES, k, t)[:2])[:, :, 0] * size for t in times]
        for k, (_, size, times) in zip(p.T, CASES.values(), strict=True)
    ]
    return system, build_timeline(frames, system), p, np.moveaxis(np.array(found), (0, 1, 2), (3, 1, 0))


SIZES = np.array([size or 1.0 for _, size, _ in CASES.values()])
LATE = np.array([times for _, _, times in CASES.values()]).T


def errors(amounts, areas, exact):
    """(N,) of what was given, and of that times the time that integrals took."""
    of_areas = np.abs(areas - exact[1]) / LATE[:, None, :]
    return np.maximum(np.abs(amounts - exact[0]), of_areas).max(axis=(0, 1)) / SIZES


@every_solver
def test_right_or_flagged(lanes, batch, solver, tolerance):
    system, timeline, p, exact = batch
    amounts, areas, result = lanes(system, timeline, p, solver, integrals=True)
    error = errors(amounts, areas, exact)
    for name, wrong, code in zip(CASES, error, result, strict=True):
        assert wrong < tolerance or code != ResultCode.OK, f"{name}: {wrong} and says nothing"
    assert (result == ResultCode.OK).sum() >= len(CASES) - 6  # saying nothing but that it failed would not do either


@every_solver
def test_the_stricter_solver_is_right(lanes, batch, solver, tolerance):
    system, timeline, p, exact = batch
    amounts, areas, result = lanes(system, timeline, p, solver, integrals=True, surely=True)
    assert (result == ResultCode.OK).all()
    assert errors(amounts, areas, exact).max() < tolerance


def test_forty_half_lives_relative_to_what_is_left(lanes, batch):
    """The default for linear models keeps digits, where others keep the absolute error of what was given."""
    system, timeline, p, exact = batch
    amounts, _, result = lanes(system, timeline, p, Resolvent())
    for i, name in enumerate(CASES):
        if name.startswith("40"):
            assert result[i] == ResultCode.OK
            np.testing.assert_allclose(amounts[:, :, i].sum(axis=1), exact[0][:, :, i].sum(axis=1), rtol=1e-9)


@every_solver
def test_thirty_equal_transit_compartments(lanes, graph, dose, seen, solver, tolerance):
    """The matrix is one Jordan block: nothing is further from normal. Known answer: Erlang's."""
    edges, n = [(i, i + 1) for i in range(30)], 30
    times = np.array([0.3, 1.0, 3.0, 5.0, 8.0, 12.0])
    system, p = graph(n, edges), np.full((30, 1), 5.0)
    exact = np.stack([exponentials(n, edges, p[:, 0], t)[0][:, 0] * 10 for t in times])
    amounts, _, result = lanes(system, [dose(0, 10, "c0"), *seen(*times)], p, solver)
    assert np.abs(amounts[..., 0] - exact).max() < 10 * tolerance or result[0] != ResultCode.OK
    amounts, _, result = lanes(system, [dose(0, 10, "c0"), *seen(*times)], p, solver, surely=True)
    assert result[0] == ResultCode.OK
    assert np.abs(amounts[..., 0] - exact).max() < 10 * tolerance


depot = Compartment("depot", "mg")
central = Compartment("central", "mg", volume="V")
oral = build_system(
    Block(
        (depot, central),
        (
            flux(depot >> central, first_order, a=amount(depot), k="KA"),
            flux(central >> OUT, clearance, c=conc(central), cl="CL"),
        ),
    )
)


@every_solver
def test_a_thousand_doses(lanes, dose, seen, solver, tolerance):
    """ADDL = 999, looked at between them, at the instant of the last and long after: a geometric sum."""
    times, ka, k = np.array([0.0, 0.25, 100.1, 499.5, 520.0]), 1.5, 0.2
    records = [dose(0, 10, "depot", ADDL=999, II=0.5), *seen(*times)]
    amounts, _, result = lanes(oral, records, _oral(ka), solver)
    assert result[0] == ResultCode.OK
    given = np.array([[t - 0.5 * i for t in times] for i in range(1000)])
    past = given >= -1e-9
    since = np.where(past, given, 0.0)
    expected = np.where(past, 10 * ka / (ka - k) * (np.exp(-k * since) - np.exp(-ka * since)), 0.0).sum(axis=0)
    np.testing.assert_allclose(
        amounts[:, 0, 0], np.where(past, 10 * np.exp(-ka * since), 0.0).sum(axis=0), atol=10 * tolerance
    )
    np.testing.assert_allclose(amounts[:, 1, 0], expected, atol=100 * tolerance)


def _oral(ka):
    return np.array([[{"KA": ka, "CL": 2.0, "V": 10.0}[name]] for name in oral.parameter_names])


@every_solver
def test_doses_at_the_instant_of_an_observation(lanes, dose, seen, solver, tolerance):
    """Records of one time act in their order, whatever no time at all does to a solver."""
    records = [
        *seen(0),
        dose(0, 10, "central"),
        *seen(0, 2),
        dose(2, 5, "central"),
        *seen(2),
        dose(2, 1, "depot"),
        *seen(2),
    ]
    amounts, _, result = lanes(oral, records, _oral(1.5), solver)
    left = 10 * np.exp(-0.4)
    assert result[0] == ResultCode.OK
    expected = [[0, 0], [0, 10], [0, left], [0, left + 5], [1, left + 5]]
    np.testing.assert_allclose(amounts[..., 0], expected, atol=20 * tolerance)


body = Compartment("body", "mg", volume="V")
saturated = build_system(Block((body,), (flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM"),)))
SATURABLE = {  # VM, KM, dose; V is 2
    "ordinary": (9.0, 0.5, 100.0),
    "all but a constant rate, until it is gone": (9.0, 1e-9, 100.0),
    "all but linear": (9e7, 1e7, 100.0),
    "fast and sharp": (1e8, 1e-3, 100.0),
    "not at all": (0.0, 0.5, 100.0),
    "1e-30": (9.0, 0.5, 1e-30),
    "1e-30, sharp": (9.0, 1e-9, 1e-30),
    "nothing": (9.0, 0.5, 0.0),
}


@pytest.mark.parametrize("name", ["rodas5p", "rodas4"])
def test_saturable_elimination_in_closed_form(lanes, dose, seen, name):
    """c = KM · ω(ln(c₀/KM) + (c₀ − VM t/V)/KM), with Wright's function ω."""
    times = np.array([1e-3, 0.5, 2.0, 11.0, 12.0, 30.0])
    frames = [pd.DataFrame([dose(0, size, "body"), *seen(*times)]) for _, _, size in SATURABLE.values()]
    vm, km, size = np.array(list(SATURABLE.values())).T
    p = np.array([{"VM": vm, "KM": km, "V": np.full(len(vm), 2.0)}[x] for x in saturated.parameter_names])
    c0, given = size / 2.0, np.where(size > 0, size, 1.0)
    with np.errstate(divide="ignore"):
        inner = np.log(c0 / km) + (c0 - vm * times[:, None] / 2.0) / km
    exact = np.where(size > 0, 2.0 * km * wrightomega(np.maximum(inner, -1e300)).real, 0.0)
    timeline = build_timeline(frames, saturated)
    amounts, _, result = lanes(saturated, timeline, p, Rosenbrock(name))
    error = np.abs(amounts[:, 0] - exact).max(axis=0) / given
    for case, wrong, code in zip(SATURABLE, error, result, strict=True):
        assert wrong < 1e-6 or code != ResultCode.OK, f"{case}: {wrong} and says nothing"
    amounts, _, result = lanes(saturated, timeline, p, Rosenbrock(name), surely=True)
    assert (result == ResultCode.OK).all()
    assert (np.abs(amounts[:, 0] - exact).max(axis=0) / given).max() < 1e-6


@every_solver
def test_nothing_wrong_is_said_of_any_in_a_gradient(batch, solver, tolerance):
    """Finite, for every case: 0/0 at rates of zero or amounts of none would spoil all parameters of a fit."""
    system, timeline, p, _ = batch
    few = [i for i, name in enumerate(CASES) if "1e8" not in name and "1e30" not in name]
    part = jax.tree.map(lambda a: a[..., few] if a.ndim and a.shape[-1] == len(CASES) else a, timeline)
    slope = jax.jit(jax.grad(lambda q: solver.solve(system, part, q[None]).amounts.sum()))(p[:, few])
    assert np.isfinite(slope).all()
