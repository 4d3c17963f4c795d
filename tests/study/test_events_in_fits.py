"""Steady states, voids and the rule between records in a study: what the fit predicts, and how it differentiates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.errors import BadInput
from pbpk.likelihood.prediction_jets import second_order_jet

TEXT = """
model = "oral_one_compartment"
[data]
dose_into = "depot"
{data}
[parameters]
KA = {{ initial = 1.5, iiv = 0.1 }}
CL = {{ initial = 2.0, iiv = 0.1 }}
ALAG1 = {{ initial = 1.2, iiv = 0.1 }}
[values]
V = 10.0
{more}
[error.cp]
model = "additive"
add = 0.5
"""


def absorbed(t, ka, cl):
    k, t = cl / 10.0, jnp.maximum(t, 0)
    return 10.0 * ka / (ka - k) * (jnp.exp(-k * t) - jnp.exp(-ka * t))  # 100 mg in 10 L


def test_steady_state_with_a_lag_that_varies_and_its_jet(make):
    """The likelihood's polynomial, to second order in KA, CL and the lag, against that of a sum over the doses of the past."""
    lines = ["ID,TIME,AMT,II,SS,DV"]
    for who in (1, 2):
        lines += [f"{who},0,100,8,1,.", f"{who},0.5,.,.,.,1", f"{who},3,.,.,.,1", f"{who},7,.,.,.,1"]
    problem = make(TEXT.format(data="", more=""), *lines).problem
    theta, _, _ = problem.unpack(problem.initial_unconstrained)
    u = problem.individual_parameters(
        theta, jnp.array([[0.1, 0.0], [0.0, 0.2], [0.1, 0.9]])
    )  # the second's lag is 2.95 h
    jet = jax.jit(lambda u: second_order_jet(problem, u))(u)
    assert np.asarray(jet.result).tolist() == [0, 0]

    def by_sum(u):
        ka, cl, lag = u
        times = jnp.array([0.5, 3.0, 7.0])
        doses = jnp.arange(-60.0, 1.0) * 8.0 + lag
        return jnp.where(times > doses[:, None], absorbed(times - doses[:, None], ka, cl), 0.0).sum(axis=0)

    for i in range(2):
        np.testing.assert_allclose(jet.f[:3, i], by_sum(u[:, i]), rtol=1e-9)
        np.testing.assert_allclose(jet.first[:, :3, i].T, jax.jacfwd(by_sum)(u[:, i]), rtol=1e-7, atol=1e-7)
        second = np.moveaxis(np.asarray(jet.second)[:, :, :3, i], 2, 0)
        np.testing.assert_allclose(second, jax.hessian(by_sum)(u[:, i]), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def predicted(make):
    """cp at 2 and 5 h after 100 mg; CL is a column: 2, then 4, then 1."""

    def predicted(data="", more=""):
        text = TEXT.replace("CL = {{ initial = 2.0, iiv = 0.1 }}\n", "").replace("1.2", "1e-9")
        lines = ["ID,TIME,AMT,DV,CL", "1,0,100,.,2", "1,2,.,1,4", "1,5,.,1,1"]
        problem = make(text.format(data=data, more=more), *lines).problem
        theta, _, _ = problem.unpack(problem.initial_unconstrained)
        f, result = problem.predict(problem.individual_parameters(theta, np.zeros((2, 1))))
        assert result.tolist() == [0]
        return np.asarray(f)[:2, 0]

    return predicted


def course(first, second, kept=1.0):
    """cp at 2 and 5 h with these clearances up to 2 h and up to 5 h, of the depot only a part kept at 2 h."""
    at_2 = absorbed(2.0, 1.5, first)
    return [at_2, at_2 * np.exp(-0.3 * second) + kept * np.exp(-3.0) * absorbed(3.0, 1.5, second)]


def test_between_records_the_next_values_hold_or_the_last(predicted):
    np.testing.assert_allclose(predicted(), course(4.0, 1.0), rtol=1e-7)
    np.testing.assert_allclose(predicted('covariates_over_time = "locf"'), course(2.0, 4.0), rtol=1e-7)


def test_a_void(predicted):
    more = '[[void]]\ncompartment = "depot"\nat = ["2 h"]\nleft = 0.25'
    np.testing.assert_allclose(predicted(more=more), course(4.0, 1.0, 0.25), rtol=1e-7)


@pytest.mark.parametrize(
    ("data", "more", "words"),
    [
        ('covariates_over_time = "linear"', "", "data.covariates_over_time"),
        ("", '[[void]]\ncompartment = "depot"\nevry = 2', "did you mean `every`"),
        ("", '[[void]]\ncompartment = "depot"', "fit.toml: `void`: the voids of `depot` need either"),
        ("", '[[void]]\ncompartment = "dept"\nevery = 2', "did you mean `depot`"),
    ],
)
def test_refused(predicted, data, more, words):
    with pytest.raises(BadInput) as caught:
        predicted(data, more)
    assert words in str(caught.value)
