"""Event tables that look right: limits, comments, columns of another meaning, codes for missing values."""

import numpy as np
import pytest

HEAD = "ID,TIME,AMT,DV"


def test_limits_in_dv(read):
    table = read(f"{HEAD}\n1,0,100,.\n1,1,.,<0.3\n1,2,.,>20\n1,3,.,BLQ\n1,4,.,5\n")
    frame = table.frame[table.frame["MDV"] == 0]
    assert frame["CENS"].tolist() == [1, -1, 1, 0]
    np.testing.assert_array_equal(frame["DV"], [0.3, 20.0, np.nan, 5.0])
    assert any('"<0.3" (row 3; 2 rows) is read as a limit' in n for n in table.notes)
    assert any('"BLQ" (row 5; 1 rows) is read as below the limit' in n for n in table.notes)


@pytest.mark.parametrize("cell", ["-", "ND", "NULL", "<abc"])
def test_what_is_not_certain_is_asked_about(refused, cell):
    error = refused(f"{HEAD}\n1,0,100,.\n1,1,.,{cell}\n", row=3, subject="1")
    assert "is not a number" in error.what and "CENS=1" in error.hint and "MDV" not in error.hint


def test_a_flag_of_another_name(read, refused):
    table = read(f"{HEAD},BLQ\n1,0,100,.,0\n1,1,.,0.3,1\n1,2,.,4,0\n")
    assert table.frame["CENS"].tolist() == [0, 1, 0] and "BLQ" not in table.covariates
    assert any("`BLQ` is read as CENS" in n for n in table.notes)
    own = read(f"{HEAD},CENS,BLQ\n1,0,100,.,0,1\n1,1,.,0.3,1,1\n")
    assert own.covariates == ("BLQ",), "the file's own CENS comes first"
    error = refused(f"{HEAD},CENS\n1,0,100,.,0\n1,1,.,<0.3,-1\n", row=3, subject="1")
    assert "say different things" in error.what


def test_dv_on_dose_rows(read):
    text = f"{HEAD}\n1,0,100,0.1\n1,1,.,2\n1,12,100,3\n1,13,.,5\n"
    table = read(text)
    assert (table.frame["MDV"] == 0).sum() == 2
    assert any("DV is given on 2 rows that give a dose (row 2 is the first)" in n for n in table.notes)
    split = read(text, split_dose_rows=True)
    seen = split.frame[split.frame["MDV"] == 0]
    assert seen["DV"].tolist() == [0.1, 2.0, 3.0, 5.0] and seen["TIME"].tolist() == [0, 1, 12, 13]
    assert split.frame["EVID"].tolist() == [0, 1, 0, 0, 1, 0], "each before its dose"
    assert split.frame["AMT"].sum() == 200


def test_two_values_at_one_time(read):
    table = read(f"{HEAD}\n1,0,100,.\n1,1,.,2\n1,1,.,2.2\n")
    assert any("row 4 repeats a subject, time and observable" in n for n in table.notes)


def test_columns_of_another_meaning(read, refused):
    lasting = read(f"{HEAD},DUR\n1,0,100,.,7\n1,1,.,2,7\n")
    assert any("DUR makes 1 doses infusions that last 7" in n for n in lasting.notes)
    single = read(f"{HEAD},II\n1,0,100,.,12\n1,1,.,2,.\n")
    assert any("II without ADDL or SS repeats nothing: 1 doses" in n for n in single.notes)
    error = refused(f"{HEAD},v\n1,0,100,.,1\n1,1,.,2,1\n", row=1, parameters=("V", "CL"))
    assert "spelt like the parameter `V`" in error.what and 'ignore = ["v"]' in error.hint


def test_comments_and_conditions(read, refused):
    text = "C,ID,TIME,AMT,DV,SD,ARM\n,1,0,100,.,1,A\nC,1,1,.,99,1,A\n,1,2,.,2,0,A\n,1,3,.,2,1,B\n,1,4,.,2,1,A\n"
    table = read(text, ignore=["SD == 0", "ARM == B and TIME > 2"])
    assert table.frame["TIME"].tolist() == [0, 4] and table.frame.index.tolist() == [2, 6]
    assert "1 rows marked C in the first column are comments, and left out" in table.notes
    assert "1 rows with SD == 0 are left out (ignore_rows)" in table.notes
    assert "no column `XX`" in refused(text, ignore=["XX == 0"]).what
    assert "text is only equal or not" in refused(text, ignore=["ARM > B"]).what


@pytest.mark.parametrize(
    ("code", "asked"), [("-99", True), ("9999", True), ("-999", True), ("71", False), ("0", False)]
)
def test_codes_for_missing(read, code, asked):
    table = read(f"{HEAD},WT\n1,0,100,.,70\n1,1,.,2,70\n2,0,100,.,{code}\n2,1,.,2,{code}\n")
    notes = [n for n in table.notes if "code for a missing value" in n]
    assert len(notes) == asked and all("WT of ID 2" in n and "row 4" in n for n in notes)
