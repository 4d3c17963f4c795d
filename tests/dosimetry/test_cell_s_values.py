"""What a nucleus sees: sources that fill space give all the energy, diffusion keeps decays, and drawn tracks agree."""

import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.dosimetry.cells.cell import cell_hits, migration_length
from pbpk.dosimetry.cells.hits import alpha_energy, compute_hits, list_alphas
from pbpk.dosimetry.cells.source_distances import (
    ball,
    diffuse,
    join_sources,
    outside,
    plane,
    point_source,
    shell,
    slab,
    surface,
    tube,
)
from pbpk.dosimetry.charged.ranges import load_range_table
from pbpk.dosimetry.constants import MEV
from pbpk.errors import BadInput

FILLED = {
    "all": lambda: outside(0.0, cut=4.0),
    "ball": lambda: join_sources(ball(20.0, 27.0, 4.0), outside(20.0, 27.0, 4.0)),
    "shell": lambda: join_sources(ball(20.0, 27.0, 4.0), shell(20.0, 35.0, 27.0, 4.0), outside(35.0, 27.0, 4.0)),
    "slabs": lambda: join_sources(slab(-500.0, 10.0, 4.0), slab(10.0, 500.0, 4.0)),
    "tubes": lambda: join_sources(
        tube(0.0, 15.0, 20.0, 4.0), tube(15.0, 30.0, 20.0, 4.0), tube(30.0, jnp.inf, 20.0, 4.0)
    ),
}


@pytest.mark.parametrize("name", FILLED)
def test_what_fills_space_gives_the_dose_of_equilibrium(name):
    assert float(compute_hits(FILLED[name](), 4.0).dose) * 1e-15 / (alpha_energy("At-211") * MEV) == pytest.approx(
        1.0, abs=3e-5
    )


def test_a_thin_slab_is_a_plane_and_a_thin_shell_a_surface():
    thin = float(compute_hits(slab(9.999, 10.001, 4.0).scaled(1 / 0.002), 4.0).dose)
    assert float(compute_hits(plane(10.0), 4.0).dose) == pytest.approx(thin, rel=1e-3)
    volume = 4 / 3 * np.pi * (8.001**3 - 7.999**3)
    thin = float(compute_hits(shell(7.999, 8.001, 15.0, 4.0).scaled(1 / volume), 4.0).dose)
    assert float(compute_hits(surface(8.0, 15.0), 4.0).dose) == pytest.approx(thin, rel=1e-3)


def test_cytoplasm_by_drawing_tracks():
    rng, n = np.random.default_rng(4), 200_000
    radius = (64 + rng.random(n) * (125 - 64)) ** (1 / 3)
    cos = rng.uniform(-1, 1, n)
    t = -radius * cos  # way to the closest approach
    under = 16 - radius**2 + t**2
    h = np.sqrt(np.maximum(under, 0))
    hit = (under > 0) & (t > 0)
    total = 0.0
    for _, energy, often in list_alphas("At-211"):
        table = load_range_table("alpha")
        reach = float(table.reach(energy))
        left = [np.asarray(table.residual_energy(np.maximum(reach - (t + s * h) * 1e-4, 0.0))) for s in (-1, 1)]
        total = total + np.where(hit, left[0] - left[1], 0.0) * often
    dose = total * MEV / (4 / 3 * np.pi * 64e-15)
    expected = float(cell_hits("cytoplasm", 5.0, 4.0).dose)
    assert dose.mean() == pytest.approx(expected, abs=4 * dose.std() / n**0.5)


def test_diffusion_keeps_decays_and_spreads_them_by_its_length():
    for start, length in ((0.0, 3.0), (5.0, 3.0), (5.0, 0.1)):
        found = diffuse(point_source(start), length)
        assert float(found.weight.sum()) == pytest.approx(1.0, abs=1e-6)
        square = float((found.weight * found.distance**2).sum())
        assert square == pytest.approx(start**2 + 6 * length**2, rel=1e-5)


def test_migration_of_polonium_takes_at_most_its_share_away():
    assert float(migration_length(1e-10)) * np.sqrt(6) == pytest.approx(21, rel=0.01)
    still = float(cell_hits("surface", 5.0, 4.0).dose)
    assert float(cell_hits("surface", 5.0, 4.0, migration=1e-3).dose) == pytest.approx(still, rel=1e-3)
    gone = float(cell_hits("surface", 5.0, 4.0, migration=1000.0).dose)
    assert 0.52 < 1 - gone / still < 0.56
    some = float(cell_hits("surface", 5.0, 4.0, migration=float(migration_length(1e-10))).dose)
    assert gone < some < still
    # however the nuclide is spelt, its own decays stay
    assert float(cell_hits("surface", 5.0, 4.0, "At211", migration=1000.0).dose) == pytest.approx(gone, rel=1e-12)


def test_a_chain_has_all_its_alphas():
    assert alpha_energy("Ac-225") == pytest.approx(27.5, abs=0.6)  # four alphas
    assert float(cell_hits("nucleus", 5.0, 4.0, "Ac-225").count) == pytest.approx(4.0, abs=0.03)


def test_a_beta_emitter_has_no_alphas():
    with pytest.raises(BadInput, match="emits no alphas"):
        cell_hits("cell", 5.0, 4.0, "Lu-177")
