"""Every half-life against the radioactivedecay package, whose data are those of ICRP 107 as well."""

import warnings

import pytest

from pbpk import units
from pbpk.model.parameters import read_number
from pbpk.nuclides import load_nuclide, nuclides

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, of libraries it stands on
    radioactivedecay = pytest.importorskip("radioactivedecay", reason="radioactivedecay is not installed")

UNITS = {"m": "min", "y": "yr"}  # its year has 365.2422 days and ours 365.25, so the printed numbers are compared


@pytest.mark.parametrize("name", sorted(nuclides()))
def test_half_life(name):
    number, unit = read_number(radioactivedecay.Nuclide(name).half_life("readable"))
    assert load_nuclide(name).half_life == pytest.approx(units.to_internal(number, UNITS.get(unit, unit)), rel=1e-12)
