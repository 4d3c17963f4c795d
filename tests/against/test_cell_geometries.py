"""Cell S values of 211At with 0.582 211Po from an earlier, independent study; energy and stopping power; MKM against pymkm."""

import jax
import numpy as np
import pytest

from pbpk.dosimetry.cells import mkm
from pbpk.dosimetry.cells.cell import cell_hits
from pbpk.dosimetry.cells.hits import alpha_energy

# R_cell/R_nucleus µm: Gy/(Bq s) from the nucleus, the cytoplasm, the surface, to the digits it gave
S = {
    (5, 4): (0.131, 0.0593, 0.0449),
    (3, 2): (0.519, 0.178, 0.115),
    (5, 3): (0.232, 0.068, 0.041),
    (6, 4): (0.131, 0.045, 0.030),
    (8, 6): (0.0587, 0.0244, 0.0175),
    (10, 5): (0.0842, 0.0189, 0.0105),
}


@pytest.mark.parametrize("radii", S)
def test_s_values(radii):
    for source, value in zip(("nucleus", "cytoplasm", "surface"), S[radii], strict=True):
        assert float(cell_hits(source, float(radii[0]), float(radii[1])).dose) == pytest.approx(value, rel=0.02)


def test_hits_and_moments_of_the_first_geometry():
    expected = {
        "nucleus": (0.131, 1.000, 0.131),
        "cytoplasm": (0.0593, 0.278, 0.213),
        "surface": (0.0449, 0.200, 0.2246),
        "cell": (0.0960, 0.648, 0.148),
    }
    for source, (dose, count, zf) in expected.items():
        found = cell_hits(source, 5.0, 4.0)
        assert float(found.dose) == pytest.approx(dose, rel=0.005)
        assert float(found.count) == pytest.approx(count, rel=0.005)
        assert float(found.zf) == pytest.approx(zf, rel=0.005)
    assert float(cell_hits("surface", 5.0, 4.0).zd) == pytest.approx(0.2608, rel=0.002)


def test_energy_of_a_decay():
    assert alpha_energy("At-211") == pytest.approx(6.784, rel=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("domain", [0.3, 0.42])
def test_domains_and_survival_against_pymkm(domain):
    track = pytest.importorskip("pymkm.physics.particle_track").ParticleTrack
    energy = pytest.importorskip("pymkm.physics.specific_energy").SpecificEnergy
    model = mkm.Mkm(0.13, 0.05, domain, 4.1)
    z0 = energy.compute_saturation_parameter(domain, 4.1, 0.05)
    assert float(model.z0) == pytest.approx(z0, rel=1e-12)
    for mev in (0.4, 2.0, 4.0, 5.87, 7.45):
        let = float(mkm.stopping_power(mev))
        domains = energy(track(energy=mev / 4, atomic_number=2, let=let, base_points=300), domain)
        z, b = domains.single_event_specific_energy(base_points_b=300, base_points_r=300)
        corrected = domains.saturation_corrected_single_event_specific_energy(z0, z)
        theirs = domains.dose_averaged_specific_energy(z, b, corrected, integration_method="simps")
        ours = float(mkm.domain_z_star(mev, domain, z0))
        assert ours == pytest.approx(theirs, rel=3e-3)


def test_survival_against_pymkm(monkeypatch):
    tables = pytest.importorskip("pymkm.mktable.core")
    curves = pytest.importorskip("pymkm.sftable.core")
    powers = pytest.importorskip("pymkm.io.table_set").StoppingPowerTableSet.from_default_source("fluka_2020_0")
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # pymkm 1.0 is from before NumPy 2.4
    doses = np.array([0.5, 1.0, 2.0, 4.0])
    domains = tables.MKTableParameters(
        domain_radius=0.42, nucleus_radius=4.1, beta0=0.05, base_points_b=200, base_points_r=200
    )
    table = tables.MKTable(parameters=domains, sp_table_set=powers)
    curve = curves.SFTable(parameters=curves.SFTableParameters(mktable=table, alpha0=0.13, beta0=0.05, dose_grid=doses))
    with pytest.warns(UserWarning, match="No precomputed data"):
        curve.compute(ion="He", energy=5.8695 / 4, let=float(mkm.stopping_power(5.8695)))
    theirs = curve.table[0]["data"]["survival_fraction"].to_numpy()
    model = mkm.Mkm(0.13, 0.05, 0.42, 4.1)
    ours = np.exp(np.asarray(model.log_survival(doses, mkm.domain_z_star(5.8695, 0.42, model.z0))))
    assert np.allclose(np.log(ours), np.log(theirs), rtol=2e-3)


def test_z_star_of_a_nucleus_is_that_of_the_energies_it_sees():
    # a nucleus so small that a track keeps its energy in it: from 20 µm off only what 20 µm leave
    model = mkm.Mkm(0.13, 0.05, 0.3, 4.1)
    hits = cell_hits("surface", 20.0, 0.02)
    found = float(mkm.z_star(hits, model))
    seen = mkm.domain_z_star(np.asarray(hits.entry_energy)[np.asarray(hits.frequency) > 0], 0.3, model.z0)
    assert float(seen.min()) <= found <= float(seen.max())
    # of one energy, from a line so narrow: that energy's
    one = hits._replace(frequency=np.array([1.0]), entry_energy=np.array([4.0]), exit_energy=np.array([3.99]))
    assert float(mkm.z_star(one, model)) == pytest.approx(float(mkm.domain_z_star(3.995, 0.3, model.z0)), rel=2e-3)
    # RBE at vanishing dose
    assert float(model.rbe_max(30.0, 0.13)) == pytest.approx((0.13 + 1.5) / 0.13)


def test_stopping_power_is_astars():
    # ASTAR, water: 79.0 keV/µm at 5.867 MeV, 66.4 at 7.45
    assert np.allclose(mkm.stopping_power(np.array([5.867, 7.45])), [790, 664], rtol=0.005)


def test_differentiable_in_the_radius():
    slope = jax.grad(lambda r: cell_hits("surface", r, 4.0).dose)(5.0)
    h = 1e-4
    step = (cell_hits("surface", 5.0 + h, 4.0).dose - cell_hits("surface", 5.0 - h, 4.0).dose) / (2 * h)
    assert float(slope) == pytest.approx(float(step), rel=1e-4)
