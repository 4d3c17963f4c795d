"""Lost modes are sought again and never pass for a likelihood; an evaluation alone, by every method."""

from types import SimpleNamespace

import numpy as np
import pytest

import pbpk
from pbpk.estimation.lost_modes import MOST_RETRIES, find_lost, retry_lost_modes
from pbpk.estimation.methods import METHODS, get_method
from pbpk.likelihood.evaluation import Evaluation
from pbpk.report.fit_text import format_fit
from pbpk.study.load import load_study


class OnlyFrom:
    """A method that finds the second subject's mode only from where its η begins beyond a limit."""

    finds_etas = True

    def __init__(self, limit):
        self.limit, self.calls = limit, 0

    def evaluate(self, problem, psi, eta):
        self.calls += 1
        good = np.array([True, abs(eta[0, 1]) > self.limit, True])
        objective = np.where(good, [10.0, 20.0, 30.0], [10.0, -5000.0, 30.0])
        return Evaluation(objective + 1e-9 * self.calls, np.zeros((2, 3)), eta, good)


def problem_of(omega):
    layout = SimpleNamespace(etas=("CL",))
    return SimpleNamespace(
        structure=SimpleNamespace(layout=layout, classes=1), unpack=lambda psi: (None, np.eye(1) * omega, None)
    )


def test_a_lost_mode_is_found_from_another_start():
    method = OnlyFrom(limit=0.3)
    first = method.evaluate(None, None, np.zeros((1, 3)))
    assert find_lost(first).tolist() == [False, True, False]
    again, found = retry_lost_modes(method, problem_of(0.25), np.zeros(2), first)
    assert found == 1 and not find_lost(again).any() and again.objective[1] > 0
    assert again.objective[[0, 2]].tolist() == first.objective[[0, 2]].tolist(), (
        "the others keep theirs to the last digit"
    )


def test_what_cannot_be_found_stays_lost():
    method = OnlyFrom(limit=1e9)
    first = method.evaluate(None, None, np.zeros((1, 3)))
    again, found = retry_lost_modes(method, problem_of(0.25), np.zeros(2), first)
    assert found == 0 and find_lost(again).tolist() == [False, True, False] and method.calls == 1 + MOST_RETRIES


def test_nothing_is_tried_where_nothing_is_lost():
    method = OnlyFrom(limit=-1.0)
    first = method.evaluate(None, None, np.zeros((1, 3)))
    assert retry_lost_modes(method, problem_of(0.25), np.zeros(2), first) == (first, 0) and method.calls == 1


@pytest.mark.slow(seconds=40)
@pytest.mark.parametrize("name", METHODS)
def test_an_evaluation_alone(name):
    """NONMEM's MAXEVAL = 0: the objective at the initial values, which no search has moved."""
    fit = pbpk.fit("theophylline", method=name, evaluate=True)
    study = load_study("theophylline")
    initial = dict(zip(study.problem.structure.layout.names, np.asarray(study.problem.initial), strict=True))
    assert fit.successful and fit.cause.startswith("evaluated") and len(fit.iterations) == 1
    assert all(fit.estimates[n] == pytest.approx(initial[n], rel=1e-12) for n in ("KA", "CL", "V"))
    method = get_method(name).configure(study.spec.estimation, 1)
    problem = method.prepare(study.problem)
    zero = np.zeros((len(problem.structure.layout.etas), problem.columns))
    value = float(np.asarray(method.evaluate(problem, problem.initial_unconstrained, zero).objective).sum())
    assert fit.ofv == pytest.approx(value, abs=1e-9)
    assert len(fit.table) == 132 and np.isfinite(fit.table["IPRED"]).all()


def test_an_objective_without_a_mode_is_marked():
    fit = pbpk.fit("theophylline", method="focei", evaluate=True)
    content = fit.to_json()
    assert "NO LIKELIHOOD" not in format_fit(content, fit.parameters)
    text = format_fit(content | {"lost_modes": ["7"]}, fit.parameters)
    assert "NO LIKELIHOOD: no mode was found for ID 7" in text
