"""Charged particles in bodies and slabs: identities that hold whatever the tables say."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.dosimetry.charged.bodies import absorbed_fraction, ellipsoid_radius, sphere_radius
from pbpk.dosimetry.charged.ranges import load_range_table
from pbpk.dosimetry.charged.slabs import dose_from_contents, dose_from_layer, half_space_dose
from pbpk.errors import BadInput

ALPHA = 5.867


def test_nothing_leaves_a_large_body_and_little_stays_in_a_small_one():
    assert float(absorbed_fraction(ALPHA, 1e3, "alpha")) == pytest.approx(1.0, abs=1e-5)
    tiny = 1e-5  # g/cm², a track crosses it: the mean way out is 3R/4
    power = 1 / ((load_range_table("alpha").reach(ALPHA + 1e-3) - load_range_table("alpha").reach(ALPHA - 1e-3)) / 2e-3)
    assert float(absorbed_fraction(ALPHA, tiny, "alpha")) == pytest.approx(0.75 * tiny * float(power) / ALPHA, rel=0.02)


def test_absorbed_fraction_by_drawing_tracks():
    rng, n, radius = np.random.default_rng(1), 400_000, 0.006
    point = rng.normal(size=(n, 3))
    point *= radius * rng.random((n, 1)) ** (1 / 3) / np.linalg.norm(point, axis=1, keepdims=True)
    way = rng.normal(size=(n, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    along = (point * way).sum(1)
    out = -along + np.sqrt(along**2 + radius**2 - (point**2).sum(1))
    drawn = np.asarray(load_range_table("alpha").energy_lost(ALPHA, out)) / ALPHA
    assert float(absorbed_fraction(ALPHA, radius, "alpha")) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / n**0.5)


def test_it_is_differentiable_in_the_radius():
    slope = jax.grad(lambda r: absorbed_fraction(ALPHA, r, "alpha"))(0.01)
    h = 1e-6
    steps = absorbed_fraction(ALPHA, 0.01 + h, "alpha") - absorbed_fraction(ALPHA, 0.01 - h, "alpha")
    assert float(slope) == pytest.approx(float(steps) / (2 * h), rel=1e-4)


def test_an_ellipsoid_of_equal_axes_is_a_sphere_and_a_flat_one_lets_more_out():
    assert float(ellipsoid_radius(5.0, (2, 2, 2))) == pytest.approx(float(sphere_radius(5.0)), rel=1e-9)
    assert ellipsoid_radius(5.0, (1, 1, 0.2)) < 0.75 * sphere_radius(5.0)


def test_half_the_dose_at_the_surface_of_the_contents_and_none_beyond_the_range():
    reach = float(load_range_table("alpha").reach(ALPHA))
    assert float(half_space_dose(ALPHA, 0.0, "alpha")) == pytest.approx(0.5, abs=1e-9)
    assert float(half_space_dose(ALPHA, 1.01 * reach, "alpha")) == 0.0
    assert float(half_space_dose(ALPHA, 0.99 * reach, "alpha")) > 0.0


def test_half_space_against_its_definition():
    table = load_range_table("alpha")
    reach, x = float(table.reach(ALPHA)), 1e-3
    r = np.linspace(x, reach, 400_001)
    slope = -np.gradient(np.asarray(table.residual_energy(reach - r)), r)
    direct = np.trapezoid((1 - x / r) * slope, r) / (2 * ALPHA)
    assert float(half_space_dose(ALPHA, x, "alpha")) == pytest.approx(direct, rel=1e-4)


def test_alphas_of_211at_in_gastric_juice_do_not_reach_the_stem_cells():
    """60 to 100 µm: the 5.87 MeV alphas end at 48 µm; those of 211Po at 70 µm bring a thousandth."""
    layer = (60e-4, 100e-4)
    assert float(dose_from_contents(5.8695, layer, "alpha")) == 0.0
    assert 0 < float(dose_from_contents(7.45, layer, "alpha")) < 1e-3


def test_energy_is_conserved_between_layers():
    """What a thin layer gives to layers all around it adds up to all it has."""
    edges = np.linspace(-0.02, 0.02, 81)
    source = (0.0, 0.001)
    got = sum(float(dose_from_layer(ALPHA, source, (a, b), "alpha")) * (b - a) for a, b in itertools.pairwise(edges))
    assert got == pytest.approx(source[1] - source[0], rel=2e-3)


def test_a_thick_source_around_a_layer_gives_it_everything():
    assert float(dose_from_layer(ALPHA, (0.0, 0.5), (0.1, 0.11), "alpha")) == pytest.approx(1.0, abs=1e-9)


def test_unknown_tissue():
    with pytest.raises(BadInput, match="no ranges of alphas in `watr`") as caught:
        load_range_table("alpha", "watr")
    assert "water" in caught.value.hint


@pytest.mark.parametrize("particle", ["alpha", "electron"])
def test_what_is_left_and_what_it_reaches_are_inverse(particle):
    table, e = load_range_table(particle), jnp.array([0.002, 0.05, 1.0, 5.0])
    np.testing.assert_allclose(table.residual_energy(table.reach(e)), e, rtol=1e-6)
