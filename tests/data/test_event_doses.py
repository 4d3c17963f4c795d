"""EVID, AMT, RATE, DUR, ADDL, II, SS and CMT."""

import pytest

HEAD = "ID,TIME,EVID,AMT,RATE,DUR,ADDL,II,SS,CMT,DV\n"


@pytest.mark.parametrize(
    ("cells", "what", "hint"),
    [
        ("5,10,.,.,.,.,.,.,.", "EVID 5 is none of 0, 1, 2, 3, 4", ""),
        ("-1,10,.,.,.,.,.,.,.", "EVID -1 is none of 0, 1, 2, 3, 4", ""),
        ("1,-10,.,.,.,.,.,.,.", "AMT -10 is negative", ""),
        ("1,0,.,.,.,.,.,.,.", "EVID 1 needs a dose, but AMT is 0", "EVID=0, 2 or 3"),
        ("4,.,.,.,.,.,.,.,.", "EVID 4 needs a dose, but AMT is missing", ""),
        ("1,0,5,.,.,.,.,.,.", "EVID 1 needs a dose, but AMT is 0", "AMT=0, RATE>0, SS=1"),
        ("0,10,.,.,.,.,.,.,1", "an observation (EVID 0) has AMT 10", "EVID=1"),
        ("2,10,.,.,.,.,.,.,.", "EVID 2 gives no dose, but AMT is 10", ""),
        ("3,10,.,.,.,.,.,.,.", "EVID 3 gives no dose, but AMT is 10", "EVID=4"),
        ("1,10,-3,.,.,.,.,.,.", "RATE -3 is negative and neither -1 nor -2", ""),
        ("1,10,5,2,.,.,.,.,.", "both RATE 5 and a duration 2 are given", "keep one"),
        ("1,10,-2,2,.,.,.,.,.", "both RATE -2 and a duration 2 are given", ""),
        ("1,10,.,-2,.,.,.,.,.", "the duration -2 is negative", ""),
        ("1,10,.,.,3,.,.,.,.", "ADDL 3 needs an interval, but II is missing", ""),
        ("1,10,.,.,3,0,.,.,.", "ADDL 3 needs an interval, but II is 0", ""),
        ("1,10,.,.,-3,5,.,.,.", "ADDL -3 is negative", ""),
        ("1,10,.,.,1.5,5,.,.,.", "ADDL 1.5 is not a whole number", ""),
        ("1,10,.,.,1,-5,.,.,.", "II -5 is negative", ""),
        ("1,10,.,.,.,5,3,.,.", "SS 3 is none of 0, 1, 2", "ignore it"),
        ("1,10,.,.,.,.,1,.,.", "SS 1 needs an interval, but II is missing", "AMT=0 and RATE>0"),
        ("1,0,5,.,2,8,1,.,.", "an endless infusion (AMT 0) takes no ADDL and no II", ""),
        ("1,10,.,.,.,.,.,-1,.", "CMT -1 asks to turn a compartment off, which is not supported", "EVID=3"),
        ("1,10,.,.,.,.,.,centrl,.", "compartment `centrl` (CMT) is not in the model", "did you mean `central`?"),
        ("0,.,.,.,.,.,.,3,1", "compartment `3` (CMT) is not in the model", "1 depot, 2 central"),
        ("1,10,.,.,.,.,.,1.5,.", "compartment `1.5` (CMT) is not in the model", ""),
    ],
)
def test_refused_rows(refused, cells, what, hint):
    error = refused(HEAD + f"7,0,0,.,.,.,.,.,.,.,1\n7,1,{cells}\n", row=3, subject="7")
    assert error.what == what
    assert hint in error.hint


def test_more_rows_are_counted(refused):
    error = refused(
        HEAD + "7,0,1,-1,.,.,.,.,.,.,.\n7,1,1,-1,.,.,.,.,.,.,.\n8,1,1,-1,.,.,.,.,.,.,.\n", row=2, subject="7"
    )
    assert error.hint == "2 more rows have this problem"


@pytest.mark.parametrize(
    "cells",
    [
        "1,10,5,.,.,.,.,1,.",
        "1,10,.,2,.,.,.,1,.",
        "1,10,-1,.,.,.,.,1,.",
        "1,10,-2,.,.,.,.,1,.",
        "1,10,.,.,3,8,.,1,.",
        "1,10,.,.,.,8,1,1,.",
        "1,10,.,.,3,8,2,1,.",
        "4,10,.,.,.,.,.,1,.",
        "1,0,5,.,.,.,1,1,.",
        "1,0,-1,.,.,.,1,1,.",
    ],
)
def test_allowed_doses(read, cells):
    row = read(HEAD + f"7,1,{cells}\n").frame.iloc[0]
    given = [float(c) if c not in (".", "") else 0.0 for c in cells.split(",")[:7]]
    assert row[["EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS"]].tolist() == given
    assert row["CMT"] == "depot"
    assert row["MDV"] == 1


def test_evid_from_amt(read):
    table = read("ID,TIME,AMT,DV\n1,0,5,.\n1,1,0,2\n1,2,.,2\n")
    assert table.frame["EVID"].tolist() == [1, 0, 0]
    assert any("there is no EVID column" in note for note in table.notes)


def test_evid_missing_on_some_rows(read):
    table = read("ID,TIME,AMT,DV,EVID\n1,0,5,.,.\n1,1,0,2,0\n")
    assert table.frame["EVID"].tolist() == [1, 0]
    assert any("EVID is missing on 1 rows" in note for note in table.notes)


def test_endless_infusion_without_evid(read):
    assert read("ID,TIME,AMT,RATE,SS,DV\n1,0,0,5,1,.\n").frame["EVID"].tolist() == [1]


def test_schedule_on_rows_without_a_dose_is_cleared(read):
    table = read(HEAD + "1,0,1,10,.,.,2,8,.,1,.\n1,1,0,.,5,.,2,8,99,.,1\n1,2,2,.,.,.,2,.,.,.,.\n")
    assert table.frame[["RATE", "ADDL", "II", "SS"]].iloc[1:].to_numpy().sum() == 0
    assert "not used on rows that give no dose: RATE (1), ADDL (2), II (1), SS (1)" in table.notes


def test_compartments_by_number_name_and_default(read):
    rows = "1,0,1,5,.,.,.,.,.,1,.\n1,1,1,5,.,.,.,.,.,CENTRAL,.\n1,2,1,5,.,.,.,.,.,.,.\n1,3,1,5,.,.,.,.,.,0,.\n"
    frame = read(HEAD + rows + "1,4,0,.,.,.,.,.,.,2.0,1\n1,5,0,.,.,.,.,.,.,.,1\n1,6,3,.,.,.,.,.,.,2,.\n").frame
    assert frame["CMT"].tolist() == ["depot", "central", "depot", "depot", "central", "", ""]


def test_only_compartment_needs_no_default(read):
    frame = read("ID,TIME,AMT,DV\n1,0,5,.\n", compartments=("plasma",), default_compartment=None).frame
    assert frame["CMT"].tolist() == ["plasma"]


def test_dose_to_nowhere(refused):
    error = refused("ID,TIME,AMT,DV\n7,0,.,1\n7,1,5,.\n", row=3, subject="7", default_compartment=None)
    assert error.what == "nothing says which compartment this dose goes to"
    assert "`depot`, `central`" in error.hint


def test_unknown_default_compartment(read):
    from pbpk.errors import BadInput

    with pytest.raises(BadInput, match="default compartment `dpot` is not in the model") as caught:
        read("ID,TIME,AMT,DV\n7,1,5,.\n", default_compartment="dpot")
    assert caught.value.hint == "did you mean `depot`?"


def test_subjects_without_a_dose_are_named(read):
    table = read("ID,TIME,AMT,DV\n1,0,5,.\n2,0,.,1\n3,0,.,1\n")
    assert "no dose for 2 of 3 subjects (ID 2, 3)" in table.notes
