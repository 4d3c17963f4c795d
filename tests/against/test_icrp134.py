"""Retention of intravenous Tc-99m pertechnetate, against the tables of the OIR data viewer (ICRP 134).

The viewer prints two digits and counts the blood of an organ with it, as it does for the liver of ICRP 137. A thyroid
holds 0.06 % of the blood, which shows in one of the three figures: 5.83e-3 without, 5.86e-3 with, 5.9e-3 printed (at 6 h).
"""

import numpy as np
import pytest

import pbpk

HOURS = [1.0, 6.0, 24.0]
PRINTED = {"whole_body": ["8.8e-01", "4.6e-01", "4.7e-02"], "thyroid": ["1.8e-02", "5.9e-03", "3.3e-04"]}
BLOOD_IN_THYROID = 0.0006


@pytest.fixture(scope="module")
def retention():
    return pbpk.simulate(pbpk.load_model("pertechnetate"), pbpk.dose("1 MBq", into="iv"), HOURS)


def test_the_nuclide_is_technetium_without_being_asked_for():
    assert pbpk.load_model("pertechnetate").nuclide == "Tc-99m"


def test_whole_body_to_the_printed_digits(retention):
    assert [f"{x:.1e}" for x in np.asarray(retention["whole_body"])[:, 0]] == PRINTED["whole_body"]


def test_thyroid_with_its_blood_to_the_printed_digits(retention):
    ours = np.asarray(retention["thyroid"] + BLOOD_IN_THYROID * retention["blood"])[:, 0]
    assert [f"{x:.1e}" for x in ours] == PRINTED["thyroid"]
    np.testing.assert_allclose(np.asarray(retention["thyroid"])[:, 0], ours, rtol=0.015)


def test_nothing_is_lost(retention):
    np.testing.assert_allclose(np.asarray(retention["balance"]), 1.0, atol=1e-10)


def test_nine_tenths_of_an_oral_dose_are_absorbed():
    """fA = 0.9: without decay, what the small intestine passes on is a tenth of what leaves it."""
    rows = pbpk.load_model("pertechnetate").parameters
    absorbed, passed = rows["tract.small_intestine_to_blood"].value, rows["tract.small_intestine_to_right_colon"].value
    assert absorbed / (absorbed + passed) == pytest.approx(0.9, rel=1e-12)
