"""Residuals correlated between two endpoints at one time (L2): objectives against multivariate normals written out, draws."""

import jax
import numpy as np
import oracle
import pytest

from pbpk.errors import BadInput
from pbpk.estimation.methods import get_method
from pbpk.likelihood.replicates import draw_observations

STUDY = """
model = "iv_two_compartment"
[data]
file = "data.csv"
dose_into = "central"
units = { AMT = "mg", DV = "mg/L" }
[values]
Q = 3.0
V2 = 20.0
[parameters]
CL = { initial = "4 L/h", iiv = 0.09 }
V1 = { initial = "15 L", iiv = 0.04 }
[error.cp]
model = "additive"
add = 0.3
[error.left]
observable = "amount:central"
unit = "mg"
model = "additive"
add = 4.0
correlation = -0.6
correlated_with = "cp"
"""
TIMES, DOSE, RHO, SDS = np.array([0.5, 2.0, 6.0]), 100.0, -0.6, (0.3, 4.0)
OMEGA = np.diag([0.09, 0.04])
RNG = np.random.default_rng(4)


def predict(eta):
    cl, v1 = 4 * np.exp(eta[0]), 15 * np.exp(eta[1])
    c, _ = oracle.biexponential(TIMES, DOSE, cl, v1, 3.0, 20.0)
    return np.concatenate([c, v1 * c[:2]])  # the last time has no second endpoint


def covariance():
    sd = np.array([SDS[0]] * 3 + [SDS[1]] * 2)
    c = np.eye(5)
    for k in range(2):
        c[k, 3 + k] = c[3 + k, k] = RHO
    return sd[:, None] * c * sd


def build(make):
    root, lines, data = np.linalg.cholesky(covariance()), ["ID,TIME,AMT,DV,DVID"], []
    for i in range(4):
        y = predict(RNG.multivariate_normal(np.zeros(2), OMEGA)) + root @ RNG.standard_normal(5)
        data.append(y)
        lines.append(f"{i},0,{DOSE},.,.")
        for k, t in enumerate(TIMES):
            lines.append(f"{i},{t},.,{float(y[k])!r},cp")
            lines += [f"{i},{t},.,{float(y[3 + k])!r},left"] if k < 2 else []
    return make(STUDY, *lines), data


def gaussian(residual, v):
    return np.linalg.slogdet(v)[1] + residual @ np.linalg.solve(v, residual)


def test_objectives_are_those_of_correlated_normals(make, evaluate):
    """Pooled at η = 0, FO with its covariance, and MAP's joint objective at its minimum."""
    study, data = build(make)
    zero, v = np.zeros(2), covariance()
    a = oracle.slopes(predict, zero)
    fo = sum(gaussian(y - predict(zero), a @ OMEGA @ a.T + v) for y in data)
    assert float(evaluate(get_method("fo"), study.problem).objective.sum()) == pytest.approx(fo, abs=1e-6)
    root = np.linalg.cholesky(OMEGA)
    expected = 0.0
    for y in data:
        best = oracle.minimize(lambda z, y=y: gaussian(y - predict(root @ z), v) + z @ z, zero, options={"gtol": 1e-9})
        expected += best.fun + np.linalg.slogdet(OMEGA)[1]
    assert float(evaluate(get_method("map"), study.problem).objective.sum()) == pytest.approx(expected, abs=1e-5)


def test_focei_has_the_information_of_correlated_residuals(make, evaluate):
    """The conditional objective: joint at its mode plus ln|Ω⁻¹ + A'V⁻¹A|, the residual variances being constant."""
    study, data = build(make)
    v, root, expected = covariance(), np.linalg.cholesky(OMEGA), 0.0
    for y in data:
        best = oracle.minimize(
            lambda z, y=y: gaussian(y - predict(root @ z), v) + z @ z, np.zeros(2), options={"gtol": 1e-10}
        )
        a = oracle.slopes(lambda z: predict(root @ z), best.x)
        expected += best.fun + np.linalg.slogdet(np.eye(2) + a.T @ np.linalg.solve(v, a))[1]
    found = float(evaluate(get_method("focei"), study.problem).objective.sum())
    assert found == pytest.approx(expected, abs=1e-5)


def test_draws_are_correlated(make):
    """Residuals of 3,000 replicates: −0.6 between the endpoints of one time, nothing between times."""
    study, _ = build(make)
    problem, psi = study.problem, study.problem.initial_unconstrained
    eta = np.zeros((2, 4))
    keys = jax.random.split(jax.random.key(3), 750)
    y = np.asarray(jax.vmap(lambda k: draw_observations(problem, psi, eta, k))(keys))
    mean = predict(np.zeros(2))
    rows = np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])[:, :5]  # cp, left, cp, left, cp
    z = (rows - mean[[0, 3, 1, 4, 2]]) / np.array([*SDS, *SDS, SDS[0]])
    c = np.corrcoef(z.T)
    assert np.allclose(z.std(axis=0), 1.0, atol=0.06)
    assert c[0, 1] == pytest.approx(RHO, abs=0.05) and c[2, 3] == pytest.approx(RHO, abs=0.05)
    assert np.abs([c[0, 2], c[0, 3], c[1, 2], c[2, 4]]).max() < 0.08


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("correlation = -0.6", "correlation = 1.2", "between -1 and 1"),
        ("correlation = -0.6\n", "", "without `correlation`"),
        ('correlated_with = "cp"', 'correlated_with = "cq"', "no other endpoint `cq`"),
        ('correlated_with = "cp"', 'correlated_with = "left"', "no other endpoint `left`"),
        ("add = 0.3", "add = 0.3\nlloq = 0.1", "not plain normal"),
        ('correlated_with = "cp"', 'correlated_with = "cp"\nar1 = 0.5', "cannot go together"),
    ],
)
def test_correlations_that_mean_nothing_are_refused(make, old, new, words):
    assert old in STUDY
    with pytest.raises(BadInput, match=words):
        make(STUDY.replace(old, new), "ID,TIME,AMT,DV,DVID", "1,0,100,.,.", "1,1,.,3,cp", "1,1,.,50,left")
