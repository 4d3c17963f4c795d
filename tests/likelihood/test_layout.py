from dataclasses import replace

import jax
import numpy as np
import pytest

from pbpk.likelihood.parameter_layout import OmegaBlock, ParameterLayout, Theta, natural_with_jacobian

THETAS = (Theta("CL", True), Theta("V", True, fixed=True), Theta("B", False))
BLOCKS = (OmegaBlock(("CL", "V")), OmegaBlock(("KA",)), OmegaBlock(("Q",), fixed=True))
LAYOUT = ParameterLayout(THETAS, BLOCKS, ("add", "prop"))
NATURAL = np.array([2.0, 30.0, -0.5, 0.09, 0.02, 0.04, 0.5, 0.1, 0.7, 0.2])


def test_names_are_in_the_order_of_the_natural_vector():
    omegas = ("OMEGA_CL", "OMEGA_CL_V", "OMEGA_V", "OMEGA_KA", "OMEGA_Q")
    assert LAYOUT.names == ("CL", "V", "B", *omegas, "add", "prop")
    assert LAYOUT.etas == ("CL", "V", "KA", "Q")
    np.testing.assert_array_equal(LAYOUT.fixed_mask, [0, 1, 0, 0, 0, 0, 0, 1, 0, 0])


def test_round_trip():
    psi = LAYOUT.to_unconstrained(NATURAL)
    assert len(psi) == (~LAYOUT.fixed_mask).sum()
    np.testing.assert_allclose(LAYOUT.to_natural(psi, NATURAL), NATURAL, rtol=1e-14)
    np.testing.assert_allclose(
        LAYOUT.to_unconstrained(np.asarray(LAYOUT.to_natural(psi + 0.3, NATURAL))), psi + 0.3, rtol=1e-13
    )


def test_unpacked():
    theta, omega, sigma = LAYOUT.unpack(LAYOUT.to_unconstrained(NATURAL), NATURAL)
    assert {k: float(v) for k, v in theta.items()} == pytest.approx({"CL": 2.0, "V": 30.0, "B": -0.5})
    assert {k: float(v) for k, v in sigma.items()} == pytest.approx({"add": 0.7, "prop": 0.2})
    wanted = np.diag([0.09, 0.04, 0.5, 0.1])
    wanted[0, 1] = wanted[1, 0] = 0.02
    np.testing.assert_allclose(omega, wanted, rtol=1e-14)


def test_held_entries_do_not_move():
    moved = np.asarray(LAYOUT.to_natural(LAYOUT.to_unconstrained(NATURAL) + 0.7, NATURAL))
    np.testing.assert_array_equal(moved[LAYOUT.fixed_mask], NATURAL[LAYOUT.fixed_mask])
    assert (moved[~LAYOUT.fixed_mask] != NATURAL[~LAYOUT.fixed_mask]).all()


def test_a_held_standard_deviation_keeps_its_place():
    held = replace(LAYOUT, fixed_sigmas=("add",))
    np.testing.assert_array_equal(held.fixed_mask, [0, 1, 0, 0, 0, 0, 0, 1, 1, 0])
    psi = held.to_unconstrained(NATURAL)
    assert len(psi) == (~held.fixed_mask).sum() and held.names == LAYOUT.names
    _, _, sigma = held.unpack(psi + 0.7, NATURAL)
    assert float(sigma["add"]) == NATURAL[8] and float(sigma["prop"]) == pytest.approx(NATURAL[9] * np.exp(0.7))
    np.testing.assert_allclose(held.to_natural(psi, NATURAL), NATURAL, rtol=1e-14)


def test_every_step_is_a_valid_model():
    rng = np.random.default_rng(0)
    for scale in (0.1, 1.0, 5.0):
        theta, omega, sigma = LAYOUT.unpack(rng.normal(0, scale, 8), NATURAL)
        assert np.linalg.eigvalsh(omega[:3, :3]).min() > 0
        assert theta["CL"] > 0 and sigma["add"] > 0 and sigma["prop"] > 0


def test_spreads_are_the_logarithms_on_the_diagonal():
    psi, positions = LAYOUT.to_unconstrained(NATURAL), LAYOUT.log_sd_positions
    assert len(positions) == 3  # Q's is held
    np.testing.assert_allclose(np.exp(psi[positions]), [0.3, np.sqrt(0.04 - 0.02**2 / 0.09), np.sqrt(0.5)], rtol=1e-14)


def test_jacobian_of_the_natural_vector():
    psi = LAYOUT.to_unconstrained(NATURAL)
    natural, jacobian, omega = natural_with_jacobian(LAYOUT, psi, NATURAL)
    np.testing.assert_allclose(natural, NATURAL, rtol=1e-14)
    assert omega.shape == (4, 4)
    steps = 1e-6 * np.eye(len(psi))
    ends = [
        np.asarray(LAYOUT.to_natural(psi + s, NATURAL)) - np.asarray(LAYOUT.to_natural(psi - s, NATURAL)) for s in steps
    ]
    np.testing.assert_allclose(jacobian, np.stack(ends, axis=1) / 2e-6, atol=1e-8)
    assert not np.asarray(jacobian)[LAYOUT.fixed_mask].any()


def test_natural_is_traceable():
    psi = LAYOUT.to_unconstrained(NATURAL)
    np.testing.assert_allclose(jax.jit(LAYOUT.to_natural)(psi, NATURAL), LAYOUT.to_natural(psi, NATURAL), rtol=1e-14)


def test_a_covariance_that_is_none_is_refused():
    with pytest.raises(np.linalg.LinAlgError):
        LAYOUT.to_unconstrained(np.where(np.arange(10) == 4, 0.07, NATURAL))
