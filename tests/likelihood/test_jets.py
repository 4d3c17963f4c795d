"""Jets against JAX's own derivatives of one subject, through the solver written in JAX, and against difference quotients."""

import jax
import numpy as np
import pytest

from pbpk.compile.engine import using_engine
from pbpk.likelihood.prediction_jets import evaluate_jet, first_order_jet, second_order_jet
from pbpk.study.load import load_study


@pytest.fixture(scope="module")
def problem():
    return load_study("theophylline").problem


@pytest.fixture(scope="module")
def u(problem):
    theta, _, _ = problem.unpack(problem.initial_unconstrained)
    eta = 0.2 * np.random.default_rng(0).normal(size=(3, 12))
    return problem.individual_parameters(theta, eta)


@pytest.fixture(scope="module")
def predict(problem):
    return jax.jit(lambda u: problem.predict(u)[0])


@pytest.fixture(scope="module")
def jet(problem, u):
    return jax.jit(second_order_jet)(problem, u)


def test_against_jax_for_one_subject(problem, predict, u, jet):
    i = 3

    def alone(x):
        return predict(u.at[:, i].set(x))[:, i]

    np.testing.assert_allclose(jet.f[:, i], alone(u[:, i]), rtol=1e-13)
    with using_engine("jax"):
        first = np.moveaxis(np.asarray(jax.jit(jax.jacfwd(alone))(u[:, i])), -1, 0)
        second = np.moveaxis(np.asarray(jax.jit(jax.hessian(alone))(u[:, i])), 0, -1)
    np.testing.assert_allclose(jet.first[:, :, i], first, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(jet.second[:, :, :, i], second, rtol=1e-9, atol=1e-11)


def test_against_difference_quotients(predict, u, jet):
    for j in range(3):
        h = 1e-3 * np.asarray(u[j]).mean()
        ends = [np.asarray(predict(u.at[j].add(k * h))) for k in (-2, -1, 0, 1, 2)]
        first = (ends[0] - 8 * ends[1] + 8 * ends[3] - ends[4]) / (12 * h)
        second = (-ends[0] + 16 * ends[1] - 30 * ends[2] + 16 * ends[3] - ends[4]) / (12 * h**2)
        np.testing.assert_allclose(jet.first[j], first, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(jet.second[j, j], second, rtol=1e-4, atol=1e-6)


def test_first_order_is_the_same_without_the_second(problem, u, jet):
    short = jax.jit(first_order_jet)(problem, u)
    assert short.second is None
    np.testing.assert_allclose(short.f, jet.f, rtol=1e-14)
    np.testing.assert_allclose(short.first, jet.first, rtol=1e-12, atol=1e-14)


def test_polynomial_leaves_a_cubic_error(predict, u, jet):
    errors = []
    for h in (0.02, 0.01):
        away = u * (1 + h * np.array([1.0, -0.5, 0.7]))[:, None]
        errors.append(np.abs(np.asarray(evaluate_jet(jet, away) - predict(away))).max())
    assert errors[0] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.1)
