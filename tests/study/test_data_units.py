"""The unit of the data: one fit in every unit, its objective that of the data as they are written, endpoints with units of
their own."""

import numpy as np
import oracle
import pytest

from pbpk.errors import BadInput
from pbpk.estimation.methods import get_method
from pbpk.study.load import load_study

TIMES, DOSE = np.array([0.5, 1.0, 2.0, 4.0, 8.0]), 100.0
OMEGA, CL, V = np.diag([0.09, 0.04]), 4.0, 25.0
FACTORS = {"mg/L": 1.0, "ug/L": 1e-3, "ng/mL": 1e-3, "g/L": 1e3}  # mg/L of one unit

STUDY = """
model = "iv_one_compartment"
[data]
file = "data.csv"
dose_into = "central"
units = {{ AMT = "mg", DV = "{unit}" }}
[parameters]
CL = {{ initial = "4 L/h", iiv = 0.09 }}
V = {{ initial = "25 L", iiv = 0.04 }}
[error.cp]
{error}
"""
COMBINED = 'model = "combined2"\nprop = 0.15\nadd = 0.05'
LOG = 'model = "log"\nadd = 0.2'
TRANSFORMED = LOG + "\ntransformed = true"
LIMITED = COMBINED + "\nlloq = {limit}"


def concentrations():
    """mg/L (5, 6): the model's, with scatter of a fixed seed."""
    rng = np.random.default_rng(11)
    eta = rng.multivariate_normal([0, 0], OMEGA, size=6)
    true = [oracle.bolus(TIMES, [(0.0, DOSE)], CL * np.exp(a), V * np.exp(b)) for a, b in eta]
    return np.array(true).T * np.exp(0.15 * rng.standard_normal((5, 6)))


def study_in(make, unit, error, convert=lambda y: y, **how):
    y = convert(concentrations() / FACTORS[unit])
    lines = ["ID,TIME,AMT,DV"]
    for i in range(6):
        lines += [f"{i},0,{DOSE},.", *(f"{i},{t},.,{v!r}" for t, v in zip(TIMES, y[:, i].tolist(), strict=True))]
    return make(STUDY.format(unit=unit, error=error), *lines, **how)


def objective(method, unit, log=False):
    """The whole study's objective by the oracle, in a unit."""
    per, total = FACTORS[unit], 0.0
    for y in concentrations().T / per:

        def predict(eta):
            c = oracle.bolus(TIMES, [(0.0, DOSE)], CL * np.exp(eta[0]), V * np.exp(eta[1])) / per
            return np.log(c) if log else c

        def variance(f):
            return np.full_like(f, 0.04) if log else (0.15 * f) ** 2 + (0.05 / per) ** 2

        total += oracle.subject_objective(method, np.log(y) if log else y, predict, variance, OMEGA)
    return total


def evaluate_ofv(evaluate, study, method):
    return float(evaluate(get_method(method), study.problem).objective.sum())


@pytest.mark.parametrize("method", ["focei", "fo"])
def test_the_objective_is_that_of_the_data_as_written(make, evaluate, method):
    """It moves by exactly 2n·ln of the factor, and is an independent program's in each unit."""
    ofv = {unit: evaluate_ofv(evaluate, study_in(make, unit, COMBINED), method) for unit in FACTORS}
    for unit, value in ofv.items():
        assert value == pytest.approx(objective(method, unit), abs=1e-5), unit
        assert value - ofv["mg/L"] == pytest.approx(-2 * 30 * np.log(FACTORS[unit]), abs=1e-9), unit


def test_logarithms_in_any_unit(make, evaluate):
    """DV = ln(concentration in the data's unit): no Jacobian, so one objective in all units, that of an independent program."""
    wanted = objective("focei", "mg/L", log=True)
    for unit in ("mg/L", "ug/L"):
        assert evaluate_ofv(evaluate, study_in(make, unit, TRANSFORMED, np.log), "focei") == pytest.approx(
            wanted, abs=1e-5
        )
    found = evaluate_ofv(evaluate, study_in(make, "ug/L", LOG), "focei")  # takes the logarithm itself
    assert found == pytest.approx(wanted + 2 * np.log(1000 * concentrations()).sum(), abs=1e-5)


@pytest.mark.slow(seconds=10)
def test_one_fit_in_every_unit(make, minimise):
    """Estimates are the same whatever the data's unit is, measured or in logarithms."""
    for error, convert in ((COMBINED, lambda y: y), (TRANSFORMED, np.log)):
        fits = []
        for unit in ("mg/L", "ug/L"):
            study = study_in(make, unit, error, convert)
            state = minimise(get_method("focei"), study.problem)
            theta, omega, sigma = study.problem.unpack(state.psi)
            fits.append([float(theta["CL"]), float(theta["V"]), *np.diag(omega), *map(float, sigma.values())])
        np.testing.assert_allclose(fits[0], fits[1], rtol=1e-4)


def test_limits_are_in_the_unit_of_the_data(make, evaluate):
    limits = {unit: 0.9 / FACTORS[unit] for unit in ("mg/L", "ug/L")}
    ofv, quantified = {}, {}
    for unit, limit in limits.items():
        study = study_in(make, unit, LIMITED.format(limit=limit))
        quantified[unit] = study.problem.quantified
        ofv[unit] = evaluate_ofv(evaluate, study, "map")
    below = int((concentrations() < 0.9).sum())
    assert below > 0 and set(quantified.values()) == {30 - below}
    assert ofv["ug/L"] - ofv["mg/L"] == pytest.approx(2 * (30 - below) * np.log(1000), abs=1e-8)


TWO = """
model = "iv_one_compartment"
[data]
file = "data.csv"
dose_into = "central"
units = { AMT = "mg", DV = "ug/L" }
[parameters]
CL = { initial = "4 L/h" }
V = { initial = "25 L" }
[error.cp]
model = "additive"
add = 0.5
[error.left]
observable = "amount:central"
model = "additive"
add = 2.0
unit = "g"
"""


def test_endpoints_in_units_of_their_own(make, write, evaluate):
    """Concentrations in ug/L and what is left of the dose in g, in one column."""
    y = oracle.bolus(TIMES, [(0.0, DOSE)], CL, V)
    lines = ["ID,TIME,AMT,DV,DVID", "1,0,100,.,."]
    for t, c in zip(TIMES.tolist(), y.tolist(), strict=True):
        lines += [f"1,{t},.,{1000 * c + 300!r},cp", f"1,{t},.,{c * V / 1000 + 0.001!r},left"]
    study = make(TWO, *lines)
    found = evaluate_ofv(evaluate, study, "pooled")
    expected = 5 * (2 * np.log(500.0) + (300 / 500) ** 2) + 5 * (2 * np.log(0.002) + (1 / 2) ** 2)
    assert found == pytest.approx(expected, abs=1e-8)
    with pytest.raises(BadInput, match=r'DV \(left\) has the unit "ug/L"') as caught:
        load_study(write(TWO.replace('unit = "g"', ""), *lines))
    assert "[error.left] unit" in caught.value.hint
