"""Decay data against those of ICRP 107, in the radioactivedecay package: its half-lives as they are, ENSDF's nearly."""

import warnings

import pytest

from pbpk import units
from pbpk.model.parameters import read_number
from pbpk.nuclides import load_nuclide, read_nuclides
from pbpk.nuclides.chains import chain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, of libraries it stands on
    radioactivedecay = pytest.importorskip("radioactivedecay", reason="radioactivedecay is not installed")

RADIOACTIVE = sorted(n for n, x in read_nuclides().items() if not x.stable)
UNITS = {
    "m": "min",
    "y": "yr",
    "μs": "us",
}  # its year has 365.2422 days and ours 365.25: the printed numbers are compared
APART = {"Bi-207": 0.042, "Po-213": 0.12, "Fr-221": 0.021}  # measured anew since 2008


@pytest.mark.parametrize("name", RADIOACTIVE)
def test_half_life(name):
    text = radioactivedecay.Nuclide(name).half_life("readable")
    number, unit = read_number(text)
    number, unit = (number * 1e6, "yr") if unit == "My" else (number, UNITS.get(unit, unit))
    theirs = units.to_internal(number, unit)
    assert load_nuclide(name).half_life == pytest.approx(theirs, rel=1e-12)
    assert load_nuclide(name, "ensdf").half_life == pytest.approx(theirs, rel=APART.get(name, 0.01))


@pytest.mark.parametrize("name", RADIOACTIVE)
def test_branches(name):
    """Those it has below 1e-4 are left out here; and of the decays of I-131 it has 1.18 % to the isomer, ENSDF 1.09 %."""
    nuclide = radioactivedecay.Nuclide(name)
    theirs = {n: b for n, b in zip(nuclide.progeny(), nuclide.branching_fractions(), strict=True) if b >= 1e-4}
    ours = {d.to: d.branch for d in load_nuclide(name).decays}
    assert ours.keys() == theirs.keys()
    for to, branch in ours.items():
        assert branch == pytest.approx(theirs[to], rel=0.08 if to == "Xe-131m" else 0.03, abs=2e-4)


@pytest.mark.parametrize("parent", ["At-211", "Ac-225", "Ra-223", "Pb-212", "I-131", "At-210"])
def test_its_chains_have_the_same_members(parent):
    inventory = radioactivedecay.Inventory({parent: 1.0}).decay(1.0)
    assert set(chain(parent).names) == set(inventory.nuclides)
