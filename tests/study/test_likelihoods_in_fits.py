"""Fits of events, counts and grades against SciPy's minimum of the same likelihood, and when time at risk begins."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, gammaln

from pbpk.errors import BadInput
from pbpk.estimation.methods import get_method

STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe, zero_order

central = Compartment("central", "mg", volume="V")
hazard = Compartment("hazard", "mg")
model = Block(
    (central, hazard),
    (flux(central >> OUT, first_order, a=amount(central), k="K"), flux(OUT >> hazard, zero_order, rate="H")),
    observables=(observe("cp", conc(central), "concentration"), observe("cumulated", amount(hazard), "hazard", "ONE"),
                 observe("rate", amount(central), "its rate", "ZERO")),
    routes={"iv": central},
)
"""
ROW = '{n} = {{ value = {v}, unit = "{u}", about = "a number", source = "assumed: for a test", status = "assumed" }}\n'
TABLE = "".join(
    ROW.format(n=n, v=v, u=u)
    for n, v, u in [("V", 10.0, "L"), ("K", 0.1, "1/h"), ("H", 0.05, "mg/h"), ("ONE", 1.0, "1"), ("ZERO", 1.0, "1")]
)
STUDY = """
model = "m"
[data]
dose_into = "central"
[parameters]
K = {{ initial = "0.1 1/h", fixed = true }}
{more}
[error.y]
{error}
"""


@pytest.fixture(scope="module")
def load(write):
    """A study that carries a model whose concentration is 10·exp(−0.1 t) mg/L after 100 mg, and whose hazard is H."""
    from pbpk.study.load import load_study

    def load(error, *lines, more="", **how):
        folder = write(STUDY.format(error=error, more=more), *lines)
        (folder / "m").mkdir()
        (folder / "m/structure.py").write_text(STRUCTURE)
        (folder / "m/parameters.toml").write_text(TABLE)
        return load_study(folder, **how)

    return load


def fit_pooled(minimise, study):
    """The minimum, and the estimates by name."""
    state = minimise(get_method("pooled"), study.problem)
    theta, _, sigma = study.problem.unpack(state.psi)
    return float(state.ofv), {k: float(v) for k, v in (theta | sigma).items()}


def concentration(t):
    return 10 * np.exp(-0.1 * np.asarray(t))


TIMES = np.array([1.0, 4.0, 9.0, 15.0, 22.0])


def test_interval_censored_events_of_a_weibull_hazard(load, minimise):
    """Visits at fixed times; the event is known to lie between two. With an effect of the concentration."""
    rng = np.random.default_rng(3)
    visits = np.array([0.0, 3.0, 6.0, 10.0, 16.0, 24.0])
    at = np.sort(9.0 * rng.weibull(1.4, size=40))
    lines, intervals = ["ID,TIME,AMT,DV"], []
    for i, t in enumerate(at):
        lines.append(f"{i},0,100,.")
        for a, b in pairwise(visits):
            lines.append(f"{i},{b},.,{int(t <= b)}")
            intervals.append((a, b, t <= b))
            if t <= b:
                break
    error = 'model = "event"\nobservable = "cp"\nbaseline = "weibull"\nscale = 8.0\nshape = 1.2\nslope = 0.01\ninterval = true'
    ofv, estimates = fit_pooled(minimise, load(error, *lines))

    a, b, happened = (np.array(x) for x in zip(*intervals, strict=True))

    def minus2ll(x):
        scale, shape, slope = np.exp(x[0]), np.exp(x[1]), x[2]
        gained = ((b / scale) ** shape - (a / scale) ** shape) * np.exp(slope * concentration(b))
        return np.sum(np.where(happened, -2 * np.log(-np.expm1(-gained)), 2 * gained))

    best = minimize(minus2ll, [np.log(8.0), np.log(1.2), 0.01], method="BFGS", options={"gtol": 1e-7})
    assert ofv == pytest.approx(best.fun, abs=1e-3)
    found = [estimates["scale"], estimates["shape"], estimates["slope"]]
    np.testing.assert_allclose(found, [*np.exp(best.x[:2]), best.x[2]], rtol=2e-3, atol=2e-4)


def test_counts(load, minimise):
    rng = np.random.default_rng(4)
    lines, seen = ["ID,TIME,AMT,DV"], []
    for i in range(12):
        lines.append(f"{i},0,100,.")
        for t in TIMES:
            y = rng.poisson(np.exp(0.4 + 0.12 * concentration(t)))
            lines.append(f"{i},{t},.,{y}")
            seen.append((concentration(t), y))
    ofv, estimates = fit_pooled(
        minimise, load('model = "poisson"\nobservable = "cp"\nlink = "log"\nintercept = 0.1\nslope = 0.05', *lines)
    )
    c, y = np.array(seen).T

    def minus2ll(x):
        log_rate = x[0] + x[1] * c
        return -2 * np.sum(y * log_rate - np.exp(log_rate) - gammaln(y + 1))

    best = minimize(minus2ll, [0.1, 0.05], method="BFGS", options={"gtol": 1e-7})
    assert ofv == pytest.approx(best.fun, abs=1e-3)
    np.testing.assert_allclose([estimates["intercept"], estimates["slope"]], best.x, rtol=1e-3)


def test_grades(load, minimise):
    rng = np.random.default_rng(5)
    lines, seen = ["ID,TIME,AMT,DV"], []
    for i in range(15):
        lines.append(f"{i},0,100,.")
        for t in TIMES:
            latent = 0.4 * concentration(t) - 1.5 + rng.logistic()
            y = int(latent > 0) + int(latent > 1.3)
            lines.append(f"{i},{t},.,{y}")
            seen.append((concentration(t), y))
    ofv, estimates = fit_pooled(
        minimise, load('model = "ordinal"\nobservable = "cp"\ncuts = [-1.0, -2.0]\nslope = 0.2', *lines)
    )
    c, y = np.array(seen).T

    def minus2ll(x):
        first, second = expit(x[0] + x[2] * c), expit(x[0] - np.exp(x[1]) + x[2] * c)
        chance = np.where(y == 0, 1 - first, np.where(y == 1, first - second, second))
        return -2 * np.sum(np.log(chance))

    best = minimize(minus2ll, [-1.0, 0.0, 0.2], method="BFGS", options={"gtol": 1e-7})
    assert ofv == pytest.approx(best.fun, abs=1e-3)
    np.testing.assert_allclose(estimates["slope"], best.x[2], rtol=2e-3)


OWN = 'model = "event"\nobservable = "cumulated"\nhazard = "rate"\ninterval = true'


def evaluate_pooled(evaluate, study):
    return float(evaluate(get_method("pooled"), study.problem).objective.sum())


def test_an_untreated_arm_is_at_risk_from_the_start(load, evaluate):
    """The model's own hazard, 0.05/h: who is never dosed has no record before the first visit, and was at risk all the same."""
    free = 'H = { initial = "0.05 mg/h" }'
    lines = ["ID,TIME,AMT,DV", "1,0,100,.", "1,10,.,0", "1,20,.,1", "2,10,.,0", "2,20,.,1"]
    one = 2 * 0.5 - 2 * np.log(-np.expm1(-0.5))
    assert evaluate_pooled(evaluate, load(OWN, *lines, more=free)) == pytest.approx(2 * one, abs=1e-8)
    later = load(OWN + '\nat_risk_from = "5 h"', *(x for x in lines if not x.startswith("1,")), more=free)
    assert evaluate_pooled(evaluate, later) == pytest.approx(2 * 0.25 - 2 * np.log(-np.expm1(-0.5)), abs=1e-8)
    with pytest.raises(BadInput, match="records begin at 0 h"):
        load(OWN + "\nat_risk_from = 5", *lines, more=free)


def test_an_event_without_hazard_is_impossible(load, evaluate):
    """Where no hazard was met its likelihood is 0, not 0.632; an interval without time in it is refused."""
    none = '[values]\nH = "0 mg/h"'
    lines = ["ID,TIME,AMT,DV", "1,0,100,.", "1,10,.,1"]
    assert evaluate_pooled(evaluate, load(OWN, *lines, more=none)) == np.inf
    with pytest.raises(BadInput, match="no time at risk"):
        load(OWN, "ID,TIME,AMT,DV", "1,0,100,.", "1,10,.,0", "1,10,.,1", more=none)
