"""S values of spheres against a published table for 177Lu and against full absorption; ranges against ASTAR and ESTAR.

The 177Lu values are those of PyTheranostics (spheres.json, soft tissue), Gy/(Bq·s), which rest on OLINDA's spheres.
"""

import numpy as np
import pytest

from pbpk.dosimetry.charged.ranges import STRAIGHTNESS, load_range_table
from pbpk.dosimetry.spheres import sphere_s

LU177 = {
    4.31e-3: 4.54e-9,
    0.0345: 6.29e-10,
    0.276: 8.26e-11,
    0.932: 2.49e-11,
    4.31: 5.46e-12,
    34.5: 6.93e-13,
    276.0: 8.81e-14,
    932.0: 2.65e-14,
}


@pytest.mark.parametrize("mass", LU177)
def test_177lu_within_2_percent(mass):
    assert sphere_s("Lu-177", mass)["total"] == pytest.approx(LU177[mass], rel=0.02)


@pytest.mark.parametrize(
    "nuclide, mass, wanted",
    [
        ("I-131", 20.0, 1.64e-12),
        ("I-131", 0.1, 2.81e-10),
        ("I-123", 20.0, 3.13e-13),
        ("Tc-99m", 20.0, 1.69e-13),
        ("I-125", 1.0, 3.74e-12),
        ("At-211", 0.01, 1.066e-7),
        ("At-211", 20.0, 5.43e-11),
    ],
)
def test_an_independent_computation_within_2_percent(nuclide, mass, wanted):
    """Of 90 lines of NumPy on ICRP 107, XCOM and ASTAR, made before this code and by other formulas."""
    assert sphere_s(nuclide, mass)["total"] == pytest.approx(wanted, rel=0.02)


def test_211at_in_1_g_tends_to_full_absorption():
    """1.0869 mGy/(MBq·s): 6.784 MeV in 1 g. The sphere of 1 g itself lets 0.4 % out."""
    assert sphere_s("At-211", 1e6)["alpha"] * 1e6 * 1e9 == pytest.approx(1.0869, rel=2e-3)
    assert sphere_s("At-211", 1.0)["alpha"] * 1e9 == pytest.approx(1.0835, rel=2e-3)


@pytest.mark.parametrize("energy, microns", [(5.867, 47.98), (7.45, 69.92), (8.376, 84.5)])
def test_alpha_ranges_in_water(energy, microns):
    assert float(load_range_table("alpha").reach(energy)) * 1e4 == pytest.approx(microns, rel=2e-3)


@pytest.mark.parametrize("energy, wanted", [(0.01, 2.515e-4), (0.1, 1.431e-2), (1.0, 0.4367)])
def test_electron_ranges_in_water(energy, wanted):
    """NIST SRD 124, CSDA ranges in liquid water, g/cm²."""
    assert float(load_range_table("electron").reach(energy)) / STRAIGHTNESS == pytest.approx(wanted, rel=5e-3)


def test_stopping_power_is_the_slope_of_the_range():
    """ASTAR: 79.0 keV/µm at 5.867 MeV, and 227 at the peak near 0.7 MeV."""
    table = load_range_table("alpha")

    def power(e):
        return 0.02 / float(table.reach(e + 0.01) - table.reach(e - 0.01)) / 10

    assert power(5.867) == pytest.approx(79.0, rel=0.02)
    assert max(power(e) for e in np.linspace(0.5, 1.0, 11)) == pytest.approx(227, rel=0.05)
