"""Real files, read whole."""

import numpy as np
import pytest

from pbpk.data.events import read_events
from pbpk.data.expand import expand_addl
from pbpk.errors import BadInput


def observed(frame):
    return int((frame["MDV"] == 0).sum())


def test_theophylline(shared):
    table = read_events(shared("theophylline.csv"), compartments=("depot", "central"), observables=("cp",))
    frame = table.frame
    assert (frame["ID"].nunique(), observed(frame), int((frame["EVID"] == 1).sum())) == (12, 132, 12)
    assert frame.loc[frame["EVID"] == 1, "CMT"].unique().tolist() == ["depot"]
    assert frame.loc[frame["MDV"] == 0, "DVID"].unique().tolist() == ["cp"]
    assert table.covariates == ("WT",)
    assert table.notes == ()
    assert frame["AMT"].iloc[0] == pytest.approx(319.992)


def test_phenobarbital_has_no_evid(shared):
    table = read_events(shared("pheno_real.csv"), compartments=("central",), units={"AMT": "mg", "DV": "ug/mL"})
    frame = table.frame
    assert (frame["ID"].nunique(), observed(frame), int((frame["EVID"] == 1).sum())) == (59, 155, 589)
    assert frame["DV"].notna().sum() == 155
    assert table.covariates == ("WGT", "APGR", "FA1", "FA2")
    assert len(table.notes) == 1
    assert "there is no EVID column" in table.notes[0]


def test_warfarin(shared):
    table = read_events(
        shared("warfarin_pk.csv"), compartments=("depot", "central"), default_compartment="depot", parameters=("CL",)
    )
    assert (table.frame["ID"].nunique(), observed(table.frame)) == (32, 251)
    assert table.covariates == ("WT", "AGE", "SEX", "SPARSE")
    [note] = table.notes  # four samples were assayed twice
    assert "row 90 repeats" in note and "4 such rows" in note


def test_bauer_402(shared):
    table = read_events(shared("bauer_402.csv"), compartments=("central", "per"), default_compartment="central")
    assert (table.frame["ID"].nunique(), observed(table.frame)) == (30, 360)
    assert (table.frame.loc[table.frame["EVID"] == 1, "AMT"] == 250).all()


def test_dosing_cases_with_overrides(shared):
    table = read_events(
        shared("nmtest_part.csv"),
        compartments=("depot", "central"),
        observables=("central",),
        columns={"DV": "cp"},
        parameters=("LAGT", "BIOAV"),
    )
    frame = table.frame
    assert frame["ID"].nunique() == 26
    assert table.overrides == ("LAGT", "BIOAV")
    assert table.covariates == ("rat2", "dur2", "mode")
    assert sorted(frame["EVID"].unique()) == [0, 1, 3, 4]
    assert sorted(frame["RATE"].unique())[0] == -2
    assert frame.index[-1] == len(frame) + 1
    wide = expand_addl(table).frame
    cut = wide[(wide["ID"] == "20") & wide["EVID"].isin([1, 4])]
    assert cut["TIME"].tolist() == [0, 12, 24, 50, 62, 74, 86]
    assert wide["ADDL"].sum() == 0
    np.testing.assert_array_equal(wide.loc[wide["EVID"] == 0, "DV"], frame.loc[frame["EVID"] == 0, "DV"])


def test_mavoglurant_restarts_its_clock_without_a_reset(shared):
    with pytest.raises(BadInput) as caught:
        read_events(shared("mavoglurant.csv"), compartments=("depot", "central"))
    assert caught.value.where.endswith("mavoglurant.csv row 588 (ID 829)")
    assert caught.value.what == "TIME 0.0 comes after TIME 24.2"
    assert "77 more rows have this problem" in caught.value.hint
