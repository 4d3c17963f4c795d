"""Standard errors of a quadratic objective, whose matrices are known."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.standard_errors import compute_standard_errors
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.parameter_layout import ParameterLayout, Theta

HESSIAN = np.array([[8.0, 2.0], [2.0, 4.0]])
SCORES = np.array([[1.0, -2.0, 1.5, -0.5], [0.5, 1.0, -2.0, 0.5]])  # sum to 0: the minimum is at the start
NATURAL = np.array([3.0, -1.0])
LAYOUT = ParameterLayout((Theta("CL", True), Theta("B", False)), (), ())


@dataclass(frozen=True)
class Quadratic(QuasiNewton):
    hessian: object = None

    def evaluate(self, problem, psi, eta):
        move = self.hessian @ (psi - problem.initial_unconstrained)
        return Evaluation(np.zeros(4), SCORES + move[:, None] / 4, eta, np.ones(4, bool))


@pytest.fixture
def problem():
    return SimpleNamespace(
        initial_unconstrained=LAYOUT.to_unconstrained(NATURAL),
        initial=NATURAL,
        subjects=4,
        columns=4,
        structure=SimpleNamespace(layout=LAYOUT, priors=()),
    )


def found(problem, hessian=HESSIAN):
    method = Quadratic("quadratic", hessian=hessian)
    seen = []
    result = compute_standard_errors(method, problem, method.init(problem), lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    return result


def test_three_matrices(problem):
    result = found(problem)
    r, s, to = HESSIAN / 2, SCORES @ SCORES.T / 4, np.diag([3.0, 1.0])  # dCL/dψ = CL
    inverse = np.linalg.inv(r)
    assert result.problems == ()
    np.testing.assert_allclose(result.covariance["R"], to @ inverse @ to, rtol=1e-7)
    np.testing.assert_allclose(result.covariance["S"], to @ np.linalg.inv(s) @ to, rtol=1e-12)
    np.testing.assert_allclose(result.covariance["sandwich"], to @ inverse @ s @ inverse @ to, rtol=1e-7)
    correlation = 2 / np.sqrt(32)
    assert result.condition_number == pytest.approx((1 + correlation) / (1 - correlation), rel=1e-7)


def test_a_saddle_gives_no_hessian_matrix(problem):
    result = found(problem, np.diag([8.0, -4.0]))
    assert set(result.covariance) == {"S"}
    assert "not positive definite" in result.problems[0]


def test_too_few_subjects_give_no_scores_matrix(problem, monkeypatch):
    monkeypatch.setattr("test_uncertainty.SCORES", np.outer([1.0, 2.0], [1.0, -1.0, 2.0, -2.0]))
    result = found(problem)
    assert set(result.covariance) == {"R", "sandwich"}
    assert "4 subjects cannot support 2 parameters" in result.problems[0]
