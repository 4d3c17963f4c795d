"""The optimiser on functions whose minimum is known, through a method that needs no model."""

from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.state import CONVERGED, ITERATION_LIMIT, STALLED
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.parameter_layout import OmegaBlock, ParameterLayout, Theta

FLAT = ParameterLayout((Theta("a", False), Theta("b", False)), (), ())


@dataclass(frozen=True)
class Fake(QuasiNewton):
    """Minimises `function(psi) -> (values (N,), gradients (P, N))`."""

    function: object = None

    def evaluate(self, problem, psi, eta):
        value, gradient = self.function(psi)
        return Evaluation(np.asarray(value), np.asarray(gradient), eta, np.ones(len(value), bool))


def problem(start, layout=FLAT):
    return SimpleNamespace(
        initial_unconstrained=np.array(start, float),
        subjects=2,
        columns=2,
        structure=SimpleNamespace(layout=layout, priors=()),
    )


def states(method, given, state=None):
    path = [state or method.init(given)]
    while not path[-1].finished:
        path.append(method.step(given, path[-1])[0])
    return path


def rosenbrock(x):
    """The two squares of Rosenbrock's function as two subjects' objectives."""
    a, b = x
    return [100 * (b - a**2) ** 2, (1 - a) ** 2 + 3], [[-400 * a * (b - a**2), -2 * (1 - a)], [200 * (b - a**2), 0.0]]


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -2.0), (0.0, 0.0)])
def test_rosenbrock(start):
    end = states(Fake("fake", function=rosenbrock), problem(start))[-1]
    assert end.status == CONVERGED
    np.testing.assert_allclose(end.psi, [1, 1], atol=1e-3)
    assert end.ofv == pytest.approx(3, abs=1e-6)


def test_every_iteration_falls():
    ofv = [s.ofv for s in states(Fake("fake", function=rosenbrock), problem((-1.2, 1.0)))]
    assert (np.diff(ofv)[:-1] < 0).all()


def test_steps_are_bounded():
    path = [s.psi for s in states(Fake("fake", function=rosenbrock), problem((3.0, -2.0)))]
    assert max(np.abs(b - a).max() for a, b in pairwise(path)) <= 1 + 1e-12


def test_a_region_without_numbers_is_backed_out_of():
    def walled(x):
        value, gradient = rosenbrock(x)
        if x[0] > 1.05:
            return [np.nan, np.nan], np.full((2, 2), np.nan)
        return value, gradient

    end = states(Fake("fake", function=walled), problem((-1.2, 1.0)))[-1]
    assert end.status == CONVERGED
    np.testing.assert_allclose(end.psi, [1, 1], atol=1e-3)


def test_a_lost_subject_is_no_gain():
    """Where a subject's mode was not found, its objective is not one, however low: the end must not be there."""

    @dataclass(frozen=True)
    class Lossy(Fake):
        def evaluate(self, problem, psi, eta):
            found = super().evaluate(problem, psi, eta)
            if psi[0] > 0.2 and psi[0] < 0.8:
                return found._replace(objective=found.objective - [50.0, 0.0], good=np.array([False, True]))
            return found

    path = states(Lossy("lossy", function=rosenbrock), problem((-1.2, 1.0)))
    assert all(np.all(s.good) for s in path)
    assert all(s.ofv > 0 for s in path)


def test_resumed_states_continue_bit_for_bit():
    method, given = Fake("fake", function=rosenbrock), problem((-1.2, 1.0))
    path = states(method, given)
    middle = path[len(path) // 2]
    saved = replace(middle, **{k: np.array(getattr(middle, k)) for k in ("psi", "gradient", "eta", "inverse")})
    again = states(method, given, saved)
    assert len(again) == len(path) - len(path) // 2
    for a, b in zip(again, path[len(path) // 2 :], strict=True):
        np.testing.assert_array_equal(a.psi, b.psi)
        np.testing.assert_array_equal(a.inverse, b.inverse)
        assert (a.ofv, a.evaluations, a.iteration, a.status) == (b.ofv, b.evaluations, b.iteration, b.status)


def test_a_wrong_gradient_stalls_rather_than_converges():
    end = states(Fake("fake", function=lambda x: ([x @ x, 1.0], -2 * np.outer(x, [1, 0]))), problem((1.0, 2.0)))[-1]
    assert end.status == STALLED


def test_no_minimum_meets_the_limit():
    end = states(Fake("fake", function=lambda x: ([-x[0], -x[1]], [[-1.0, 0.0], [0.0, -1.0]])), problem((0, 0)))[-1]
    assert end.status == ITERATION_LIMIT
    assert end.iteration == 300


ONE_ETA = ParameterLayout((Theta("a", False),), (OmegaBlock(("a",)),), ())


def spread(bottom):
    """OFV (a − 1)² + 100 (ω² − bottom)²: in ln ω it has no slope at ω = 0, whether or not that is its minimum."""

    def function(x):
        variance = np.exp(2 * x[1])
        slope = 400 * variance * (variance - bottom)
        return [(x[0] - 1) ** 2, 100 * (variance - bottom) ** 2], [[2 * (x[0] - 1), 0.0], [0.0, slope]]

    return function


def test_a_vanished_random_effect_is_restored():
    method, given = Fake("fake", function=spread(0.3)), problem((0.0, -1.0), ONE_ETA)
    stuck = replace(method.init(given), psi=np.array([1.0, -12.0]))
    stuck = replace(stuck, ofv=9.0, gradient=np.zeros((2, 2)))
    end = states(method, given, stuck)[-1]
    assert end.status == CONVERGED
    assert np.exp(2 * end.psi[1]) == pytest.approx(0.3, rel=1e-3)


def test_one_that_is_nothing_stays_so():
    end = states(Fake("fake", function=spread(-0.3)), problem((0.0, -1.0), ONE_ETA))[-1]
    assert end.status == CONVERGED
    assert np.exp(2 * end.psi[1]) < 1e-4
