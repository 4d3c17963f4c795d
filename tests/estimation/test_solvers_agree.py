"""One study, three ways to solve it: the resolvent, Rosenbrock steps and diffrax minimise to one OFV."""

import numpy as np
import pytest

from pbpk.estimation.methods import get_method
from pbpk.estimation.state import CONVERGED
from pbpk.study.load import load_study

FOCEI = get_method("focei")
OTHERS = ("rodas5p", "kvaerno5")


def minimise(problem):
    state = FOCEI.init(problem)
    while not state.finished:
        state, _ = FOCEI.step(problem, state)
    assert state.status == CONVERGED
    return state


def objective(problem, psi):
    found = FOCEI.evaluate(problem, psi, np.zeros((len(problem.structure.layout.etas), problem.subjects)))
    assert np.asarray(found.good).all()
    return float(np.sum(found.objective))


@pytest.mark.slow(seconds=80)
def test_theophylline_fitted_by_each_solver():
    exact = minimise(load_study("theophylline", solver="resolvent").problem)
    for solver in OTHERS:
        assert minimise(load_study("theophylline", solver=solver).problem).ofv == pytest.approx(exact.ofv, abs=1e-6), (
            solver
        )


@pytest.mark.slow
def test_phenobarbital_at_the_minimum_by_each_solver():
    state = minimise(load_study("phenobarbital", solver="resolvent").problem)
    for solver in OTHERS:
        found = objective(load_study("phenobarbital", solver=solver).problem, state.psi)
        assert found == pytest.approx(state.ofv, abs=1e-6), solver
