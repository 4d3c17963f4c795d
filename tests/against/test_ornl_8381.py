"""Photon specific absorbed fractions against ORNL/TM-8381 (Cristy and Eckerman 1987), vol. VI, adult male, 1/g.

Single values of the report: two digits, with statistics of its own. Ours come from the same equations re-entered, XCOM in
place of the cross-sections of its day, and a Monte Carlo of our own. Where our phantom was changed (the thyroid, moved
for want of a neck) the geometry as reported is run here. Left out: ovaries, whose self-dose in the report is that of a
gland a fifth heavier than its equations give, and the small intestine's wall, which the report's convention halves.
"""

import numpy as np
import pytest

from pbpk.dosimetry.phantom.grid import build_grid
from pbpk.dosimetry.photons.transport import GROUPS, build_geometry, transport_photons
from pbpk.dosimetry.saf import load_photon_fractions

pytestmark = pytest.mark.optimised
SELF_AT = (0.010, 0.020, 0.030, 0.100, 0.500, 1.000, 4.000)  # MeV
SELF = {
    "adrenals": (0.05, 0.018, 0.0068, 0.0013, 0.0016, 0.0015, 0.001),
    "brain": (0.00069, 0.00057, 0.00038, 0.00012, 0.00012, 0.00011, 7.3e-05),
    "heart_wall": (0.0027, 0.0014, 0.00076, 0.0002, 0.0002, 0.00019, 0.00013),
    "kidneys": (0.0031, 0.002, 0.00099, 0.00023, 0.00025, 0.00023, 0.00016),
    "liver": (0.00051, 0.00041, 0.00028, 9.2e-05, 8.7e-05, 8.1e-05, 5.5e-05),
    "lungs": (0.00091, 0.0005, 0.00024, 5.3e-05, 5.2e-05, 4.7e-05, 3.1e-05),
    "pancreas": (0.0096, 0.0052, 0.0024, 0.00052, 0.00057, 0.00053, 0.00035),
    "spleen": (0.0052, 0.0034, 0.0018, 0.00042, 0.00045, 0.00041, 0.00027),
    "testes": (0.023, 0.012, 0.0052, 0.0011, 0.0012, 0.0011, 0.00075),
    "thymus": (0.042, 0.019, 0.0076, 0.0015, 0.0018, 0.0016, 0.0011),
    "uterus": (0.012, 0.007, 0.0033, 0.00073, 0.00077, 0.00072, 0.00048),
}
THYROID = (0.041, 0.018, 0.0072, 0.0014, 0.0017, 0.0016, 0.001)
CROSS_AT = (0.030, 0.050, 0.100, 0.500, 1.000, 4.000)
CROSS = {  # (target, source)
    ("kidneys", "liver"): (1.4e-5, 1.9e-5, 1.5e-5, 1.3e-5, 1.2e-5, 8.1e-6),
    ("pancreas", "liver"): (2.0e-5, 2.5e-5, 2.0e-5, 1.6e-5, 1.4e-5, 1.0e-5),
    ("adrenals", "liver"): (3.0e-5, 2.9e-5, 2.2e-5, 1.9e-5, 1.8e-5, 1.3e-5),
    ("lungs", "liver"): (1.8e-5, 1.5e-5, 1.1e-5, 8.7e-6, 8.1e-6, 5.7e-6),
    ("heart_wall", "liver"): (1.1e-5, 1.5e-5, 1.2e-5, 1.0e-5, 9.7e-6, 6.8e-6),
    ("skin", "liver"): (1.7e-6, 2.0e-6, 1.8e-6, 2.0e-6, 2.2e-6, 1.8e-6),
    ("spleen", "kidneys"): (6.3e-5, 5.1e-5, 3.4e-5, 3.0e-5, 2.8e-5, 1.9e-5),
    ("adrenals", "kidneys"): (6.4e-5, 5.2e-5, 3.7e-5, 3.3e-5, 3.1e-5, 2.2e-5),
    ("right_colon_wall", "kidneys"): (5.2e-6, 1.2e-5, 1.1e-5, 9.3e-6, 7.9e-6, 6.0e-6),
    ("small_intestine", "kidneys"): (5.9e-6, 1.2e-5, 1.1e-5, 9.5e-6, 9.1e-6, 6.6e-6),
    ("stomach_wall", "pancreas"): (1.3e-4, 1.0e-4, 6.5e-5, 5.5e-5, 5.0e-5, 3.4e-5),
    ("spleen", "pancreas"): (1.5e-4, 1.1e-4, 6.5e-5, 5.8e-5, 5.0e-5, 3.6e-5),
    ("liver", "lungs"): (1.6e-5, 1.4e-5, 1.0e-5, 8.7e-6, 8.1e-6, 5.7e-6),
    ("heart_wall", "lungs"): (3.5e-5, 3.3e-5, 2.3e-5, 1.9e-5, 1.7e-5, 1.2e-5),
    ("thymus", "heart_wall"): (6.1e-5, 5.6e-5, 3.8e-5, 3.1e-5, 3.0e-5, 1.9e-5),
    ("spleen", "stomach_contents"): (4.8e-5, 5.7e-5, 4.1e-5, 3.3e-5, 2.9e-5, 1.9e-5),
    ("pancreas", "stomach_contents"): (1.2e-4, 9.9e-5, 6.4e-5, 5.2e-5, 4.7e-5, 3.2e-5),
    ("stomach_wall", "stomach_contents"): (6.5e-4, 3.2e-4, 1.9e-4, 1.8e-4, 1.6e-4, 1.1e-4),
    ("bladder_wall", "bladder_contents"): (9.4e-4, 4.4e-4, 2.5e-4, 2.5e-4, 2.3e-4, 1.5e-4),
    ("uterus", "bladder_contents"): (1.1e-4, 1.0e-4, 6.5e-5, 5.2e-5, 4.5e-5, 3.3e-5),
    ("testes", "bladder_contents"): (1.3e-5, 2.6e-5, 1.9e-5, 1.6e-5, 1.6e-5, 1.2e-5),
    ("total_body", "liver"): (1.2e-5, 9.1e-6, 6.4e-6, 5.7e-6, 5.4e-6, 4.0e-6),
}
FROM_THYROID = {"lungs": (4.6e-6, 4.2e-6), "thymus": (8.5e-6, 7.0e-6), "brain": (6.7e-6, 7.0e-6)}  # at 0.1 and 0.5 MeV


def digits(value):
    """Half a unit of the second digit, relative: what rounding alone can make."""
    first = 10 ** np.floor(np.log10(value))
    return 0.05 * first / value


def allowed(organ, energy):
    """5 %. At 20 and 30 keV every organ of ours is 2 to 6 % above the report (XCOM against older photoelectric cross-sections;
    tests/dosimetry/test_photon_transport.py has NIST's own), and the adrenals at 30 keV, the least organ, 6.9 %."""
    return 0.07 if (organ, energy) == ("adrenals", 0.030) else 0.05


@pytest.fixture(scope="module")
def ours():
    return load_photon_fractions("adult-male")


@pytest.mark.parametrize("organ", SELF)
def test_self_absorption_within_5_percent(ours, organ):
    found = dict(zip(ours.energy.tolist(), ours.between(organ, organ), strict=True))
    for energy, wanted in zip(SELF_AT, SELF[organ], strict=True):
        assert found[energy] == pytest.approx(wanted, rel=allowed(organ, energy) + digits(wanted)), energy


@pytest.mark.parametrize("target, source", CROSS)
def test_cross_absorption_within_15_percent(ours, target, source):
    found = dict(zip(ours.energy.tolist(), ours.between(target, source), strict=True))
    for energy, wanted in zip(CROSS_AT, CROSS[target, source], strict=True):
        assert found[energy] == pytest.approx(wanted, rel=0.15), energy


def test_our_own_statistics(ours):
    """Standard errors: of self-absorption, and of all cross-absorption of 1e-6/g and more between organs."""
    organs = [n for n in ours.targets if n in ours.sources and n not in ("other", "total_body", "red_marrow")]
    own, cross = [], []
    for source in organs:
        for target in organs:
            saf = ours.between(target, source)
            error = ours.relative_error[ours.sources.index(source), ours.targets.index(target)]
            (own if source == target else cross).extend(error[saf >= 1e-6])
    assert max(own) < 0.02 and np.median(cross) < 0.015 and np.quantile(cross, 0.95) < 0.08


@pytest.fixture(scope="module")
def reported():
    """The geometry as reported: it takes seconds to build. Reciprocity, a property of the transport, holds in any."""
    return build_grid("adult-male", 0.25, as_reported=True)


def test_reciprocity(reported):
    """Both directions as scored, before they are averaged: within 10 % where statistics allow to tell."""
    grid = reported
    mass, place, labels = dict(zip(grid.names, grid.mass(), strict=True)), build_geometry(grid), len(grid.names) + 1
    for a, b in (("liver", "kidneys"), ("spleen", "stomach_wall"), ("pancreas", "liver")):
        found = []
        for source, target in ((a, b), (b, a)):
            where = np.flatnonzero(grid.label.ravel() == grid.names.index(source) + 1)
            f = (
                transport_photons(place, where, 0.2, 131_072, 7, labels).fraction[:, grid.names.index(target) + 1]
                / mass[target]
            )
            found.append((f.mean(), f.std(ddof=1) / GROUPS**0.5))
        (x, dx), (y, dy) = found
        assert x == pytest.approx(y, rel=0.10, abs=3 * (dx**2 + dy**2) ** 0.5)


@pytest.mark.slow
def test_the_thyroid_where_the_report_has_it(reported):
    grid = reported
    place, labels, mass = build_geometry(grid), len(grid.names) + 1, grid.mass()
    where = np.flatnonzero(grid.label.ravel() == grid.names.index("thyroid") + 1)
    for energy, own in zip(SELF_AT, THYROID, strict=True):
        found = transport_photons(place, where, energy, 262_144, 3, labels).fraction[:, 1:] / mass
        mean, error = found.mean(0), found.std(0, ddof=1) / GROUPS**0.5
        assert mean[grid.names.index("thyroid")] == pytest.approx(own, rel=allowed("thyroid", energy) + digits(own)), (
            energy
        )
        for target, wanted in FROM_THYROID.items():
            if energy in (0.1, 0.5):
                i = grid.names.index(target)
                assert mean[i] == pytest.approx(wanted[energy == 0.5], rel=0.15, abs=3 * error[i]), (target, energy)
