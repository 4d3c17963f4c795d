"""Derivatives in the time of a stop, to the third, against those of one compartment in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.compile.xla import jit
from pbpk.linalg.packing import plan_packing
from pbpk.linalg.series import design
from pbpk.solve.resolvent import propagate
from pbpk.solve.series_window import ResolventWindow

K, X, R, T = 0.3, 5.0, 2.0, 1.7


@pytest.mark.parametrize("compiled", [False, True])
def test_of_amounts_and_integrals(graph, compiled):
    if compiled and (reason := jit.explain_no_jit()):
        pytest.skip(reason)
    system = graph(1, [(0, 1)])
    rates = jnp.full((1, 8), K)
    window = ResolventWindow(system, design(1.0, 1e-13), True, compiled=compiled)
    matrix = rates if compiled else plan_packing(system).pack(rates)

    def both(t):
        found = propagate(window, matrix, jnp.full((1, 8), X), jnp.full((1, 8), R), jnp.full((1, 8), 1.0) * t)
        return jnp.stack([found[0][0, 0, 0], found[1][0, 0, 0]])

    left, order = np.exp(-K * T), both
    # x' = R − Kx, so that every further derivative is −K times the last; the integral's begin one earlier.
    slope = (R - K * X) * left
    expected = [[slope, R / K + (X - R / K) * left], [-K * slope, slope], [K**2 * slope, -K * slope]]
    for values in expected:
        order = jax.jacfwd(order)
        np.testing.assert_allclose(jax.jit(order)(T), values, rtol=1e-9)
