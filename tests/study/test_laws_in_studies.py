"""Fits of what laws say: effects observed by a law, change-points in time, modelled rates and durations of infusions; each
objective that of an independent program with predictions in closed form."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from pbpk.estimation.methods import get_method
from pbpk.solve.choose import restore_reverse_mode

STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, after, amount, clearance, conc, flux, observe, where

central = Compartment("central", "mg", volume="V", rate="R", duration="D")
switched = Compartment("switched", "mg")


def inhibited(c, e0, imax, ic50):
    return e0 * (1 - imax * c / (ic50 + c))


def by_phase(a, k, q, on):
    return a * (k + (q - k) * on)


model = Block(
    (central, switched),
    (
        flux(central >> OUT, clearance, c=conc(central), cl="CL"),
        flux(switched >> OUT, by_phase, a=amount(switched), k="K", q="Q", on=after("MT")),
    ),
    observables=(
        observe("cp", conc(central), "concentration"),
        observe("effect", inhibited, "pressure", c=conc(central), e0="E0", imax="IMAX", ic50="IC50"),
        observe("left", amount(switched), "what is left"),
    ),
    routes={"iv": central, "switched": switched},
)
"""
ROWS = "".join(
    f'{name} = {{ value = {value}, unit = "{unit}", about = "of a test", source = "assumed: a test" }}\n'
    for name, value, unit in (
        *(("CL", 4.0, "L/h"), ("V", 25.0, "L"), ("E0", 120.0, "mmHg"), ("IMAX", 0.6, "1"), ("IC50", 1500.0, "ug/L")),
        *(("K", 0.1, "1/h"), ("Q", 0.5, "1/h"), ("MT", 6.0, "h"), ("R", 20.0, "mg/h"), ("D", 3.0, "h")),
    )
)
TIMES, DOSE, CL, V = np.array([0.5, 1.5, 4.0, 9.0]), 100.0, 4.0, 25.0
RNG = np.random.default_rng(5)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The model among a project's own."""
    folder = tmp_path / "models" / "laws"
    folder.mkdir(parents=True)
    (folder / "structure.py").write_text(STRUCTURE)
    (folder / "parameters.toml").write_text(ROWS)
    monkeypatch.chdir(tmp_path)


EFFECT = """
model = "laws"
[data]
file = "data.csv"
units = { AMT = "mg", DV = "ug/L" }
[parameters]
CL = { initial = "4 L/h", iiv = 0.09 }
E0 = { initial = "120 mmHg", iiv = 0.04 }
IC50 = { initial = "1500 ug/L", iiv = 0.16 }
[error.cp]
model = "proportional"
prop = 0.2
[error.effect]
model = "additive"
add = 5.0
unit = "mmHg"
"""


def predict_effect(eta):
    c = 1000 * oracle.bolus(TIMES, [(0.0, DOSE)], CL * np.exp(eta[0]), V)
    ic50 = 1500 * np.exp(eta[2])
    return np.concatenate([c, 120 * np.exp(eta[1]) * (1 - 0.6 * c / (ic50 + c))])


@pytest.mark.parametrize("method", ["focei", "fo"])
def test_an_effect_observed_by_a_law(here, make, evaluate, method):
    omega = np.diag([0.09, 0.04, 0.16])
    lines, expected = ["ID,TIME,AMT,DV,DVID,CMT"], 0.0
    for i in range(4):
        y = predict_effect(RNG.multivariate_normal(np.zeros(3), omega)) * np.exp(0.1 * RNG.standard_normal(8))
        lines.append(f"{i},0,{DOSE},.,.,central")
        for t, c, e in zip(TIMES, y[:4].tolist(), y[4:].tolist(), strict=True):
            lines += [f"{i},{t},.,{c!r},cp,.", f"{i},{t},.,{e!r},effect,."]
        expected += oracle.subject_objective(
            method,
            y,
            predict_effect,
            lambda f: np.where(np.arange(8) < 4, (0.2 * f) ** 2, 25.0),
            omega,
        )
    found = float(evaluate(get_method(method), make(EFFECT, *lines).problem).objective.sum())
    assert found == pytest.approx(expected, abs=2e-5)


CHANGE = """
model = "laws"
[data]
file = "data.csv"
units = { AMT = "mg", DV = "mg" }
[parameters]
MT = { initial = "6 h", iiv = 0.02 }
Q = { initial = "0.5 1/h", iiv = 0.09 }
K = { initial = "0.1 1/h" }
[error.left]
model = "proportional"
prop = 0.1
"""
LATE = np.array([2.0, 4.0, 9.0, 11.0, 14.0])


def predict_change(eta):
    change, q = 6 * np.exp(eta[0]), 0.5 * np.exp(eta[1])
    before = np.minimum(LATE, change)
    return DOSE * np.exp(-0.1 * before - q * (LATE - before))


def change_lines(omega):
    y = [predict_change(RNG.multivariate_normal(np.zeros(2), omega)) for _ in range(4)]
    y = [v * np.exp(0.1 * RNG.standard_normal(5)) for v in y]
    lines = ["ID,TIME,AMT,DV,CMT"]
    for i, v in enumerate(y):
        lines += [f"{i},0,{DOSE},.,switched", *(f"{i},{t},.,{x!r},." for t, x in zip(LATE, v.tolist(), strict=True))]
    return y, lines


@pytest.mark.parametrize("method", ["focei", "fo"])
def test_a_change_point_with_variability(here, make, evaluate, method):
    omega = np.diag([0.02, 0.09])
    y, lines = change_lines(omega)
    expected = sum(oracle.subject_objective(method, v, predict_change, lambda f: (0.1 * f) ** 2, omega) for v in y)
    found = float(evaluate(get_method(method), make(CHANGE, *lines).problem).objective.sum())
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow(seconds=10)
def test_a_change_point_is_estimated(here, make, minimise):
    """From 8 h back to the 6 h with which the data were made, through the derivative in the time itself."""
    _, lines = change_lines(np.diag([0.0, 0.0]))
    text = CHANGE.replace("6 h", "8 h").replace(", iiv = 0.02", "").replace(", iiv = 0.09", "")
    study = make(text, *lines)
    theta = study.problem.unpack(minimise(get_method("pooled"), study.problem).psi)[0]
    assert float(theta["MT"]) == pytest.approx(6.0, abs=0.6)
    assert float(theta["Q"]) == pytest.approx(0.5, rel=0.15)


INFUSED = """
model = "laws"
[data]
file = "data.csv"
units = {{ AMT = "mg", DV = "mg/L" }}
[parameters]
CL = {{ initial = "4 L/h", iiv = 0.09 }}
{name} = {{ initial = "{value}", iiv = 0.04 }}
[error.cp]
model = "proportional"
prop = 0.1
"""
CODES = {-1: ("R", "20 mg/h", 20.0), -2: ("D", "3 h", 3.0)}


def predict_infusion(code, eta):
    cl, value = CL * np.exp(eta[0]), CODES[code][2] * np.exp(eta[1])
    length = DOSE / value if code == -1 else value
    rate, k = DOSE / length, cl / V
    return rate / cl * (np.exp(-k * np.maximum(TIMES - length, 0)) - np.exp(-k * TIMES))


@pytest.mark.parametrize("method", ["focei", "fo"])
@pytest.mark.parametrize("code", [-1, -2], ids=["rate", "duration"])
def test_an_infusion_whose_length_is_estimated(here, make, evaluate, code, method):
    """RATE = −1 and −2: the end of the infusion moves with the patient, between and beyond the observations."""
    omega = np.diag([0.09, 0.04])
    lines, expected = ["ID,TIME,AMT,RATE,DV,CMT"], 0.0
    for i in range(4):
        y = predict_infusion(code, RNG.multivariate_normal(np.zeros(2), omega)) * np.exp(0.1 * RNG.standard_normal(4))
        lines.append(f"{i},0,{DOSE},{code},.,central")
        lines += [f"{i},{t},.,.,{v!r},central" for t, v in zip(TIMES, y.tolist(), strict=True)]
        expected += oracle.subject_objective(
            method, y, lambda eta: predict_infusion(code, eta), lambda f: (0.1 * f) ** 2, omega
        )
    study = make(INFUSED.format(name=CODES[code][0], value=CODES[code][1]), *lines)
    found = float(evaluate(get_method(method), study.problem).objective.sum())
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_change_point_before_the_first_record_has_happened(here, make):
    _, lines = change_lines(np.eye(2) * 0.01)
    text = CHANGE.replace('"6 h", iiv = 0.02', '"-6 h", distribution = "normal"')
    problem = make(text, *lines).problem
    individual = problem.individual_parameters(problem.unpack(problem.initial_unconstrained)[0], np.zeros((1, 4)))
    left, result = problem.predict(individual)
    assert not np.any(result)
    np.testing.assert_allclose(left[:5, 0], DOSE * np.exp(-0.5 * LATE), rtol=1e-7)


GROWTH = """
from pbpk.model import Block, exp, observe, time


def grow(t, size, rate):
    return size * exp(rate * t)


model = Block(observables=(observe("size", grow, "diameter", t=time(), size="S0", rate="G"),))
"""
GROWING = """
model = "growing"
[data]
file = "data.csv"
units = { TIME = "d", DV = "mm" }
[parameters]
S0 = { initial = "20 mm", iiv = 0.09 }
G = { initial = "0.02 1/d", iiv = 0.16 }
[error.size]
model = "proportional"
prop = 0.1
"""


@pytest.mark.parametrize("method", ["focei", "fo"])
def test_a_model_that_is_a_closed_form(here, tmp_path, make, evaluate, method):
    """No compartment, no dose: a diameter as a law of time."""
    folder, days = tmp_path / "models" / "growing", np.array([0.0, 10.0, 30.0, 60.0])
    folder.mkdir()
    (folder / "structure.py").write_text(GROWTH)
    row = '{} = {{ value = {}, unit = "{}", about = "of a test", source = "assumed: a test" }}\n'
    (folder / "parameters.toml").write_text(row.format("S0", 20.0, "mm") + row.format("G", 0.02, "1/d"))
    omega, lines, expected = np.diag([0.09, 0.16]), ["ID,TIME,DV"], 0.0

    def predict(eta):
        return 20 * np.exp(eta[0]) * np.exp(0.02 * np.exp(eta[1]) * days)

    for i in range(5):
        y = predict(RNG.multivariate_normal(np.zeros(2), omega)) * np.exp(0.1 * RNG.standard_normal(4))
        lines += [f"{i},{t},{v!r}" for t, v in zip(days, y.tolist(), strict=True)]
        expected += oracle.subject_objective(method, y, predict, lambda f: (0.1 * f) ** 2, omega)
    found = float(evaluate(get_method(method), make(GROWING, *lines).problem).objective.sum())
    assert found == pytest.approx(expected, abs=2e-5)


def test_the_likelihood_of_a_law_in_one_call(here, make):
    """Solved and evaluated by one program, with its slopes: what predictions and JAX give."""
    lines = ["ID,TIME,AMT,DV,DVID,CMT"]
    for i in range(3):
        lines.append(f"{i},0,{DOSE},.,.,central")
        for t, c, e in zip(TIMES, predict_effect(np.zeros(3))[:4], predict_effect(np.ones(3) / 5)[4:], strict=True):
            lines += [f"{i},{t},.,{c},cp,.", f"{i},{t},.,{e},effect,."]
    problem = make(EFFECT, *lines).problem
    assert problem.has_compiled_likelihood
    theta, _, sigma = problem.unpack(problem.initial_unconstrained)
    u = problem.individual_parameters(theta, RNG.normal(0, 0.2, (3, 3)))

    def by_call(u, sigma):
        return jnp.sum(problem.minus2ll_at(u, theta | sigma))

    def by_predictions(u, sigma):
        return jnp.sum(problem.minus2ll_of_predictions(problem.predict_all(u)[0], theta | sigma))

    a, b = by_call(u, sigma), by_predictions(u, sigma)
    assert float(a) == pytest.approx(float(b), rel=1e-12)
    reverse = replace(
        problem, structure=replace(problem.structure, solver=restore_reverse_mode(problem.structure.solver))
    )

    def by_call_reversed(u, sigma):
        return jnp.sum(reverse.minus2ll_at(u, theta | sigma))

    ours, theirs = jax.grad(by_call_reversed, (0, 1))(u, sigma), jax.jacfwd(by_predictions, (0, 1))(u, sigma)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-8, atol=1e-8)
    for name in sigma:
        assert float(ours[1][name]) == pytest.approx(float(theirs[1][name]), rel=1e-9)
