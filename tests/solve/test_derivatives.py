"""Derivatives of every solver in everything that moves its result, each against two others that were made otherwise.

One number is made of all amounts and integrals by random weights, and everything is moved at once along random
directions: parameters, sizes and times of doses. A reverse rule is held to the forward one, that to finite differences,
and both to diffrax at a tight tolerance; closed forms are differentiated by complex steps.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pbpk.linalg.packing import evaluate_linear_part
from pbpk.linalg.series import design
from pbpk.model import OUT, Block, Compartment, amount, clearance, conc, first_order, flow, flux, saturable
from pbpk.model.system import build_system
from pbpk.solve.contour import Contour
from pbpk.solve.event_kinds import BOLUS, END, START
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent, propagate, propagate_reversibly
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.series_window import ResolventWindow
from pbpk.solve.timeline import build_timeline

depot = Compartment("depot", "mg", lag="LAG1", bioavailability="F")
central = Compartment("central", "mg", volume="V", lag="LAG2", duration="D")
tissue = Compartment("tissue", "mg", volume="VT")
_SHARED = (
    flux(depot >> central, first_order, a=amount(depot), k="KA"),
    flux(central >> tissue, flow, c=conc(central), q="Q"),
    flux(tissue >> central, flow, c=conc(tissue), q="Q"),
)


def _body(*out):
    return build_system(Block((depot, central, tissue), (*_SHARED, *out)), ("CL", "VM", "KM"))


LINEAR = _body(flux(central >> OUT, clearance, c=conc(central), cl="CL"))
BENT = _body(flux(central >> OUT, saturable, c=conc(central), vmax="VM", km="KM"))
VALUES = {"KA": [1.2, 0.7], "Q": [3.0, 9.0], "V": [5.0, 4.0], "VT": [12.0, 7.0], "CL": [2.0, 1.0]}
VALUES |= {
    "VM": [9.0, 20.0],
    "KM": [0.8, 2.0],
    "F": [0.8, 1.1],
    "LAG1": [0.0, 0.0],
    "LAG2": [0.0, 0.0],
    "D": [2.0, 1.3],
}
LAGS = {"LAG1": [0.7, 0.3], "LAG2": [0.4, 0.25]}
SYSTEMS = {"resolvent": LINEAR, "contour": LINEAR, "adaptive": BENT, "grid": BENT}
SOLVERS = {
    "resolvent": Resolvent(rtol=1e-9),
    "contour": Contour(),
    "adaptive": Rosenbrock(rtol=1e-10, atol=1e-13),
    "grid": Rosenbrock(grid=(0.02, 24.0)),
}


@pytest.fixture(scope="module")
def timelines(dose, seen):
    """Two courses with several windows, infusions, and a dose that resets: times fixed, and times that parameters move."""
    oral, bolus, anew = dose(0, 100, "depot"), dose(8, 50, "central"), dose(24, 60, "depot", EVID=4)
    looks = seen(0.5, 1, 2, 3, 4, 5, 7, 9, 12, 20, 26, 30)

    def course(infusion, moving):
        records = sorted([oral, infusion, bolus, anew, *looks], key=lambda r: r["TIME"])
        return build_timeline([pd.DataFrame(records)], LINEAR, moving=moving)

    given, modelled = dose(3.5, 40, "central", RATE=20.0), dose(3.5, 40, "central", RATE=-2.0)
    return {"fixed": course(given, False), "moving": course(modelled, True)}


def values(system, moving):
    return np.array([(VALUES | (LAGS if moving else {}))[name] for name in system.parameter_names])


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _number(solver, system, how, integrals, timeline, weights, p, size, shift):
    """`how`: value, reverse (with the gradient), or forward (with the slope along the directions that are appended)."""

    def number(p, size, shift):
        own = replace(timeline, amount=timeline.amount * size, time=timeline.time + shift)
        done = solver.solve(system, own, p[None], integrals=integrals)
        count = weights[0].shape[0]
        total = jnp.sum(weights[0] * done.amounts[:count])
        return total + jnp.sum(weights[1] * done.integrals[:count]) if integrals else total

    if how == "reverse":
        return jax.value_and_grad(number, argnums=(0, 1, 2))(p, size, shift)
    (p, along_p), (size, along_size), (shift, along_shift) = p, size, shift
    way = (along_p, along_size, along_shift)
    slope = lambda *at: jax.jvp(number, at, way)  # noqa: E731
    return slope(p, size, shift) if how == "forward" else jax.jvp(slope, (p, size, shift), way)


class Problem:
    """The number as a function of everything, at one point and along one direction."""

    def __init__(self, system, timeline, integrals=True):
        rng = np.random.default_rng(4)
        n, count = len(system.names), int(timeline.output_mask.sum())
        p = values(system, timeline.has_moving_events)
        self.system, self.timeline, self.integrals = system, timeline, integrals
        self.weights = rng.normal(size=(count, n, 2)), rng.normal(size=(count, n, 2)) / 20
        # A record and what it implies are two events of one time, and move together. The infusion's end is an event of
        # its own where times are fixed, and follows from its start where they move.
        dosing = np.isin(timeline.kind, (BOLUS, START) if timeline.has_moving_events else (BOLUS, START, END))
        ways = {t: rng.uniform(-1, 1) for t in np.unique(timeline.time[dosing & (timeline.epoch == 0)]) if t > 0}
        shift = np.vectorize(lambda t: ways.get(t, 0.0))(timeline.time) * (timeline.epoch == 0)
        self.at = (p, np.ones_like(timeline.amount), np.zeros_like(timeline.time))
        self.along = (
            p * rng.uniform(-1, 1, p.shape),
            rng.uniform(-1, 1, timeline.amount.shape),
            shift,
        )

    def evaluate(self, solver, how, step=0.0):
        at = [a + step * d for a, d in zip(self.at, self.along, strict=True)]
        if how != "reverse":
            at = list(zip(at, self.along, strict=True))
        found = _number(solver, self.system, how, self.integrals, self.timeline, self.weights, *at)
        return jax.tree.map(np.asarray, found)

    def dot(self, gradient):
        return sum(float(np.sum(g * d)) for g, d in zip(gradient, self.along, strict=True))

    def scale(self, gradient):
        """What the terms of the slope would sum to without cancelling: rounding is relative to it."""
        return sum(float(np.abs(g * d).sum()) for g, d in zip(gradient, self.along, strict=True))


@pytest.fixture(scope="module")
def problem(timelines):
    return lambda name, course, integrals=True: Problem(SYSTEMS[name], timelines[course], integrals)


@pytest.fixture(scope="module")
def by_diffrax(timelines):
    """(slope, slope of the slope) along the direction, by diffrax's forward mode, once for each problem."""
    tight, found = General("dopri8", rtol=1e-11, atol=1e-13).forward_mode(), {}

    def by_diffrax(name, course):
        key = SYSTEMS[name].names, SYSTEMS[name].nonlinear, course
        if key not in found:
            found[key] = Problem(SYSTEMS[name], timelines[course]).evaluate(tight, "forward")[1]
        return float(found[key])

    return by_diffrax


@pytest.mark.parametrize("course", ["fixed", "moving"])
@pytest.mark.parametrize("name", list(SOLVERS))
def test_reverse_forward_differences_and_diffrax(problem, by_diffrax, name, course):
    """With respect to parameters, lags, F, lengths of infusions, sizes and times of doses; amounts and integrals."""
    one, solver = problem(name, course), SOLVERS[name]
    value, gradient = one.evaluate(solver, "reverse")
    same, slope = one.evaluate(solver.forward_mode(), "forward")
    scale = one.scale(gradient)
    assert value == pytest.approx(same, abs=1e-9)
    assert abs(one.dot(gradient) - slope) < (1e-9 if name in ("resolvent", "contour") else 1e-10) * scale
    h = 3e-4
    ahead = [float(one.evaluate(solver, "reverse", s * h)[0]) for s in (-2, -1, 1, 2)]
    assert abs((ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * h) - slope) < 2e-8 * scale
    assert abs(by_diffrax(name, course) - slope) < (1e-6 if name == "grid" else 2e-8) * scale


@pytest.mark.parametrize("name", list(SOLVERS))
def test_without_integrals(problem, name):
    """Other cotangents and another way across resets."""
    one, solver = problem(name, "fixed", integrals=False), SOLVERS[name]
    _, gradient = one.evaluate(solver, "reverse")
    _, slope = one.evaluate(solver.forward_mode(), "forward")
    assert abs(one.dot(gradient) - slope) < 1e-9 * one.scale(gradient)
    h = 3e-4
    ahead = [float(one.evaluate(solver, "reverse", s * h)[0]) for s in (-2, -1, 1, 2)]
    assert abs((ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * h) - slope) < 2e-8 * one.scale(gradient)


@pytest.mark.parametrize("name", list(SOLVERS))
def test_second_derivatives(problem, name):
    """The slope of the slope, which estimation takes, against differences of slopes."""
    one, solver = problem(name, "fixed"), SOLVERS[name].forward_mode()
    (_, slope), (same, second) = one.evaluate(solver, "second")
    assert same == pytest.approx(slope, rel=1e-10)
    h = 3e-4
    ahead = [float(one.evaluate(solver, "forward", s * h)[1]) for s in (-2, -1, 1, 2)]
    differences = (ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * h)
    assert abs(differences - second) < 1e-7 * max(abs(float(second)), abs(float(slope)))


def test_each_patients_gradient_is_its_own(problem):
    """A patient's parameters move its own amounts alone: with the other's weights 0 its gradient is 0 there."""
    for name in ("resolvent", "adaptive"):
        one = problem(name, "fixed")
        one.weights = tuple(w * np.array([1.0, 0.0]) for w in one.weights)
        _, (of_p, _, _) = one.evaluate(SOLVERS[name], "reverse")
        assert np.abs(of_p[:, 0]).max() > 0
        assert np.array_equal(of_p[:, 1], np.zeros(len(of_p)))


@pytest.mark.parametrize("integrals", [False, True])
@pytest.mark.parametrize("fed", [False, True])
def test_kept_and_recomputed_vectors_give_the_same_gradient(integrals, fed):
    """With few windows the reverse rule keeps the vectors, with many it computes them again."""
    rng = np.random.default_rng(0)
    p, x, source = jnp.asarray(values(LINEAR, False)), rng.uniform(0, 1, (3, 2)), rng.uniform(0, 1, (3, 2))
    stops, weights = jnp.array([[0.5], [1.0], [3.0]]), rng.normal(size=(2, 3, 3, 2))

    def number(cross, keep, p, x, source, stops):
        window = ResolventWindow(LINEAR, design(10.0, 1e-13), integrals, keep=keep)
        after, area, _ = cross(window, evaluate_linear_part(LINEAR, p)[0], x, source if fed else None, stops)
        return jnp.sum(weights[0] * after) + (jnp.sum(weights[1] * area) if integrals else 0.0)

    def gradient(cross, keep):
        return jax.jit(jax.grad(partial(number, cross, keep), argnums=(0, 1, 2, 3)))(p, x, source, stops)

    kept, again = gradient(propagate_reversibly, True), gradient(propagate_reversibly, False)
    plain = gradient(propagate, False)  # by transposing the forward rule
    for a, b, c in zip(kept, again, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(a, c, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["resolvent", "adaptive"])
def test_many_windows(dose, seen, name):
    """More than the reverse rule keeps: twenty doses with looks between them."""
    doses = [dose(12.0 * i, 10, "depot") for i in range(20)]
    records = sorted([*doses, *seen(*(12.0 * i + s for i in range(20) for s in (1.0, 7.0)))], key=lambda r: r["TIME"])
    timeline = build_timeline([pd.DataFrame(records)], LINEAR)
    assert timeline.windows is not None
    assert len(timeline.windows.closing_event) > 16
    one, solver = Problem(SYSTEMS[name], timeline), SOLVERS[name]
    _, gradient = one.evaluate(solver, "reverse")
    _, slope = one.evaluate(solver.forward_mode(), "forward")
    assert abs(one.dot(gradient) - slope) < 1e-9 * one.scale(gradient)


def test_more_steps_than_the_reverse_rule_has_room_for_are_no_number(dose, seen):
    """Rather than a gradient of part of the way."""
    frame = pd.DataFrame([dose(0, 100, "central"), *seen(3e4)])
    timeline = build_timeline([frame], BENT)
    one = Problem(BENT, timeline)
    one.at[0][BENT.parameter_index("VM")] = 1e-3
    solver = Rosenbrock(grid=(1.0, 40.0), rtol=1e-3)
    assert np.isnan(one.evaluate(solver, "reverse")[1][0]).any()
    assert np.isfinite(one.evaluate(replace(solver, grid=(1.0, 10.0)), "reverse")[1][0]).all()


# One compartment behind a depot, in closed form; a lagged dose, and an infusion whose length is a parameter.

single = Compartment("single", "mg", volume="V", lag="LAG2", duration="D")
ONE = build_system(
    Block(
        (depot, single),
        (
            flux(depot >> single, first_order, a=amount(depot), k="KA"),
            flux(single >> OUT, clearance, c=conc(single), cl="CL"),
        ),
    )
)
PLACE = {"KA": 1.3, "CL": 2.0, "V": 8.0, "LAG1": 0.7, "F": 0.8, "LAG2": 0.4, "D": 2.5}
LOOKS = np.array([1.5, 3.0, 5.0, 12.0])


def closed_form(v):
    """Amounts (T, 2) after 100 into the depot at 0 and 40 over D into single at 2 h; parameters may be complex."""
    k, ka = v["CL"] / v["V"], v["KA"]

    def exp(k, t):
        return np.where(t.real >= 0, np.exp(-k * np.where(t.real >= 0, t, 0)), 0)

    t = LOOKS - v["LAG1"]
    inside, begun = 100 * v["F"] * exp(ka, t), LOOKS - 2.0 - v["LAG2"]
    absorbed = 100 * v["F"] * ka / (ka - k) * (exp(k, t) - exp(ka, t))
    ended = begun - v["D"]
    running = np.where(begun.real >= 0, 1 - exp(k, begun), 0) - np.where(ended.real >= 0, 1 - exp(k, ended), 0)
    return np.stack([inside, absorbed + 40 / v["D"] / k * running], axis=1)


@pytest.mark.parametrize("solver", list(SOLVERS.values()), ids=list(SOLVERS))
def test_against_complex_steps_of_a_closed_form(dose, seen, solver):
    """Exact to rounding: no difference is taken."""
    records = [dose(0, 100, "depot"), dose(2, 40, "single", RATE=-2.0), *seen(*LOOKS)]
    timeline = build_timeline([pd.DataFrame(sorted(records, key=lambda r: r["TIME"]))], ONE, moving=True)
    p = jnp.array([PLACE[name] for name in ONE.parameter_names])

    def amounts(solver, p):
        return solver.solve(ONE, timeline, p[None, :, None]).amounts[: len(LOOKS), :, 0]

    forward = jax.jit(jax.jacfwd(partial(amounts, solver.forward_mode())))(p)
    reverse = jax.jit(jax.jacrev(partial(amounts, solver)))(p)
    for i, name in enumerate(ONE.parameter_names):
        exact = np.imag(closed_form({k: complex(v) for k, v in PLACE.items()} | {name: PLACE[name] + 1e-30j})) / 1e-30
        np.testing.assert_allclose(forward[..., i], exact, atol=1e-6, err_msg=f"forward {name}")
        np.testing.assert_allclose(reverse[..., i], exact, atol=1e-6, err_msg=f"reverse {name}")
