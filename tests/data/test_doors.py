"""Small tables that look right and are not: what each is taken for, or why it is refused."""

import warnings

import numpy as np
import pytest

from pbpk import units
from pbpk.data.voi import read_voi
from pbpk.dosimetry.tiac import read_tiac
from pbpk.errors import BadInput, Note
from pbpk.regimen.dose import parse_dose
from pbpk.tables import read_csv


@pytest.fixture
def table(tmp_path):
    def table(*lines):
        file = tmp_path / "table.csv"
        file.write_text("\n".join(lines) + "\n")
        return file

    return table


def test_a_region_that_stands_twice(table):
    """Left and right kidney under one name: the last row would win, a third of the dose."""
    with pytest.raises(BadInput) as caught:
        read_tiac(table("region,value,unit", "kidneys,2,h", "Kidneys ,1,h"), "Lu-177", "adult-male")
    assert "row 3" in caught.value.where and "row 2 already" in caught.value.what and "their sum" in caught.value.hint


def test_regions_in_any_spelling(table):
    tiac = read_tiac(
        table("region,value,unit", "Kidneys,2,h", " Liver ,1,h", "red marrow,0.1,h"), "Lu-177", "adult-male"
    )
    assert {k: float(v[0]) for k, v in tiac.hours["Lu-177"].items()} == {
        "kidneys": 2.0,
        "liver": 1.0,
        "red_marrow": 0.1,
    }


def voi(table, *rows, activity="activity_MBq"):
    head = f"subject,voi,time_h,{activity},administered_MBq,decay_corrected"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read = read_voi(table(head, *rows), nuclide="Lu-177")
    return read, [str(w.message) for w in said]


def test_more_activity_than_was_given(table):
    _, said = voi(table, "1,kidneys,4,250,7400,false", activity="pct_IA")
    [text] = [s for s in said if "row 2" in s]
    assert "1.85e+04 MBq" in text and "7272 MBq are left" in text  # 7400 · 2^(−4/159.5)
    assert voi(table, "1,kidneys,4,60,7400,false", "1,liver,4,39,7400,false", activity="pct_IA")[1] == []
    assert voi(table, "1,kidneys,4,60,7400,false", "1,liver,4,45,7400,false", activity="pct_IA")[1], "together, too"


def test_a_negative_activity(table):
    _, said = voi(table, "1,kidneys,4,5,100,false", "1,kidneys,24,-2,100,false")
    assert any("row 3: the activity is negative" in s for s in said)


@pytest.mark.parametrize(("unit", "meant"), [("mBq", "MBq"), ("Mg/L", "mg"), ("MCi", "mCi")])
def test_a_prefix_that_is_seldom_meant(unit, meant):
    units.read_quantity.cache_clear()
    with pytest.warns(Note, match=f'is "{meant}" meant'):
        units.unit_factor(unit)


def test_usual_prefixes_are_not_asked_about():
    units.read_quantity.cache_clear()
    for unit in ("MBq", "mg/L", "mL/min", "kBq/mL", "mGy/MBq", "mCi", "Mmol".lower(), "1/h"):
        units.unit_factor(unit)


def test_mcg_is_a_microgram():
    assert parse_dose("100 mcg iv").doses[0].unit == "mcg"
    assert units.unit_factor("mcg") == pytest.approx(1e-3, rel=1e-15) == units.unit_factor("ug")


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_named(table, separator, word):
    with pytest.raises(BadInput, match=word):
        read_csv(table(separator.join(["ID", "TIME", "DV"]), separator.join(["1", "0,5", "2,5"])))


def test_a_row_that_is_too_long_is_named(table):
    with pytest.raises(BadInput) as caught:
        read_csv(table("ID,TIME,DV", "1,0,2", "1,1,3,", "1,2,4,,"))
    assert "row 3" in caught.value.where


def test_hours_stay_hours(table):
    read, _ = voi(table, "1,kidneys,4,5,100,false")
    np.testing.assert_allclose(read.frame["activity_MBq"], [5.0])


def test_a_factor_beyond_all_numbers_is_said_and_not_computed(tmp_path):
    """exp(λ·1e5 h) of At-211 has no double: a time in another unit, which the message speaks of."""
    path = tmp_path / "voi.csv"
    path.write_text("subject,voi,time_h,activity_MBq\n1,kidneys,4,10\n1,kidneys,1e5,5\n")
    with pytest.warns(UserWarning, match="more than 1e300"):
        read_voi(path, nuclide="At-211")
