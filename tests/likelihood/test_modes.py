"""Individual modes: where they are, that they do not depend on where the search began, and what is left without data."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

TEXT = """
model = "iv_one_compartment"
[parameters]
CL = { initial = 2.0, iiv = 0.2 }
V = { initial = 20.0, iiv = 9.0, distribution = "normal" }
[error.cp]
model = "combined2"
add = 0.05
prop = 0.1
"""


@pytest.fixture(scope="module")
def problem(make):
    """Six subjects: an outlier (4), one without any observation (5), one far from typical (6)."""
    rng = np.random.default_rng(7)
    lines = ["ID,TIME,AMT,DV"]
    for who, (cl, v) in enumerate([(2, 20), (1.4, 25), (3, 17), (2, 20), (2, 20), (9, 12)], start=1):
        lines.append(f"{who},0,100,.")
        for t in (0.5, 1.0, 2.0, 4.0, 8.0, 12.0):
            f = oracle.bolus(t, [(0.0, 100.0)], cl, v) * (1 + 0.1 * rng.normal())
            f *= 4 if (who, t) == (4, 4.0) else 1
            lines.append(f"{who},{t},.,{'.' if who == 5 else f}")
    return make(TEXT, *lines).problem


@pytest.fixture(scope="module")
def find(problem):
    """Modes from η, with the gradient of the joint density there."""

    @jax.jit
    def find(psi, eta):
        modes = find_conditional_modes(problem, psi, eta, interaction=True)
        terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)
        slope = jax.vmap(jax.grad(lambda e, s: terms.joint_minus2ll(psi, e, s)), in_axes=-1, out_axes=-1)
        return modes, slope(modes.eta, subject_arrays(problem, modes.jet))

    return lambda eta: find(problem.initial_unconstrained, eta)


def test_modes_are_stationary(find):
    modes, slope = find(np.zeros((2, 6)))
    assert np.asarray(modes.converged).all()
    assert np.abs(np.asarray(slope)).max() < 1e-7


def test_the_start_does_not_matter(find):
    cold = np.asarray(find(np.zeros((2, 6)))[0].eta)
    for start in (cold, cold + 0.1, np.array([[0.5], [-3.0]]) * np.ones((2, 6))):
        np.testing.assert_allclose(np.asarray(find(start)[0].eta), cold, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, 800.0])
def test_a_start_without_a_finite_value_is_replaced(find, bad):
    cold = np.asarray(find(np.zeros((2, 6)))[0].eta)
    start = cold.copy()
    start[:, 1] = bad
    modes, _ = find(start)
    assert np.asarray(modes.converged).all()
    np.testing.assert_allclose(np.asarray(modes.eta), cold, atol=1e-7)


def test_no_observation_leaves_the_typical_patient(find):
    np.testing.assert_allclose(np.asarray(find(np.full((2, 6), 0.3))[0].eta)[:, 4], 0.0, atol=1e-10)


def test_predictions_belong_to_the_modes(problem, find):
    modes, _ = find(np.zeros((2, 6)))
    theta, _, _ = problem.unpack(problem.initial_unconstrained)
    np.testing.assert_allclose(modes.jet.individual, problem.individual_parameters(theta, modes.eta), rtol=1e-13)
