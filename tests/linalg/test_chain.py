"""A Rosenbrock step as a chain of stages, against the stages as the tableaus have them (dense, in NumPy)."""

from dataclasses import replace

import numpy as np
import pytest

from pbpk.linalg.stage_chain import make_stage_chain
from pbpk.linalg.tableau import TABLEAUS

BOTH = pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)


def problem(seed, bend):
    """f = A y + v sin(3 (u·y)) · bend, where A is stiff; its Jacobian; and what f is beyond it, along v."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(5, 5)) - np.diag(10.0 ** rng.uniform(-1, 4, 5))
    u, v = rng.normal(size=(2, 5))
    v = bend * v
    return (
        lambda y: a @ y + v * np.sin(3 * u @ y),
        lambda y: a + 3 * np.cos(3 * u @ y) * np.outer(v, u),
        lambda y, x: np.sin(3 * u @ y) - np.sin(3 * u @ x) - 3 * np.cos(3 * u @ x) * (u @ (y - x)),
        v,
    )


def by_tableau(tableau, f, jacobian, x, h):
    """The amounts after a step, its error, and the integral of the amounts as further compartments that nothing reads."""
    gamma, n = tableau.gamma, len(x)
    wide, matrix = np.concatenate([x, np.zeros(n)]), np.zeros((2 * n, 2 * n))
    matrix[:n, :n], matrix[n:, :n] = jacobian(x), np.eye(n)
    left, u = np.eye(2 * n) - gamma * h * matrix, np.zeros((len(tableau.a), 2 * n))
    for i, (a, c) in enumerate(zip(tableau.a, tableau.c, strict=True)):
        y = wide + a @ u
        u[i] = np.linalg.solve(left, gamma * h * np.concatenate([f(y[:n]), y[:n]]) + gamma * c @ u)
    end = wide + tableau.a[-1] @ u + u[-1]
    return end[:n], u[-1, :n], end[n:]


def by_chain(tableau, f, jacobian, beyond, v, x, h):
    chain, n = make_stage_chain(tableau), len(x)
    gh, left = chain.gamma * h, np.eye(n) - chain.gamma * h * jacobian(x)
    w, more = np.zeros((chain.stages, n)), np.zeros(chain.stages)
    for i in range(chain.stages):
        more[i] = beyond(x + chain.moved[i] @ w, x)
        before = gh * f(x) if i < chain.fresh else w[i - 1]
        found = np.linalg.solve(left, before + gh * v * (chain.bent[i] @ more))
        w[i] = found if i < chain.fresh else found - w[i - 1]
    return x + chain.result @ w, chain.error @ w, h * (x + chain.gained @ w)


@BOTH
@pytest.mark.parametrize("h", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("bend", [0.0, 0.1, 1.0])
def test_the_same_step(tableau, h, bend):
    """To rounding of what is there, before or after. Of Rodas4, whose basis is the worse one, what is beyond the tangents is
    multiplied by up to 10⁵."""
    for seed in range(5):
        f, jacobian, beyond, v = problem(seed, bend)
        x = np.random.default_rng(seed).normal(size=5)
        expected = by_tableau(tableau, f, jacobian, x, h)
        for ours, theirs in zip(by_chain(tableau, f, jacobian, beyond, v, x, h), expected, strict=True):
            bound = 1e-12 if tableau.order == 5 else 2e-11
            np.testing.assert_allclose(
                ours, theirs, rtol=0, atol=bound * max(np.abs(x).max(), np.abs(expected[0]).max())
            )


@BOTH
def test_of_a_linear_system_the_stages_are_the_terms_of_a_series(tableau):
    """(γhJ)ᵏ Wᵏ⁺¹ γh f from the last that begins with f on; and the step is of the order of the method."""
    chain = make_stage_chain(tableau)
    for z in (-0.3, -40.0):
        inverse = 1 / (1 - chain.gamma * z)
        terms = [
            inverse * chain.gamma * z * (chain.gamma * z * inverse) ** k for k in range(chain.stages - chain.fresh + 1)
        ]
        w = np.array([terms[0]] * (chain.fresh - 1) + terms)
        left, u = 1 - tableau.gamma * z, np.zeros(len(tableau.a))
        for i in range(len(u)):
            u[i] = (tableau.gamma * z * (1 + tableau.a[i] @ u) + tableau.gamma * tableau.c[i] @ u) / left
        assert 1 + chain.result @ w == pytest.approx(1 + tableau.a[-1] @ u + u[-1], abs=3e-14)
    z = -0.01
    inverse = 1 / (1 - chain.gamma * z)
    terms = [
        inverse * chain.gamma * z * (chain.gamma * z * inverse) ** k for k in range(chain.stages - chain.fresh + 1)
    ]
    w = np.array([terms[0]] * (chain.fresh - 1) + terms)
    assert abs(1 + chain.result @ w - np.exp(z)) < abs(z) ** (tableau.order + 1)
    assert abs(chain.gained @ w + 1 - np.expm1(z) / z) < abs(z) ** tableau.order


def test_nothing_of_an_unlucky_method_is_wrong():
    """One whose stages do not follow from one another has no chain, and says so."""
    rodas4 = TABLEAUS["rodas4"]
    c = rodas4.c.copy()
    a = rodas4.a.copy()
    a[3], c[3] = a[2], c[2]  # the fourth stage is the third again
    a[3, 2] = c[3, 2] = 0.0
    with pytest.raises(ValueError, match="no chain"):
        make_stage_chain(replace(rodas4, a=a, c=c))
