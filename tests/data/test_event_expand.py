"""ADDL means the rows it stands for."""

import math

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbpk.data.events import EventTable
from pbpk.data.expand import expand_addl

HEAD = "ID,TIME,EVID,AMT,ADDL,II,SS,RATE,CMT,DV,WT\n"


def shown(table: EventTable) -> list[tuple]:
    return list(table.frame[["TIME", "EVID", "AMT"]].itertuples(index=False, name=None))


def test_rows_in_time_order_before_records_of_the_same_time(read):
    table = expand_addl(read(HEAD + "1,0,1,10,2,8,.,5,2,.,70\n1,8,0,.,.,.,.,.,.,1,70\n1,20,0,.,.,.,.,.,.,1,70\n"))
    assert shown(table) == [(0, 1, 10), (8, 1, 10), (8, 0, 0), (16, 1, 10), (20, 0, 0)]
    frame = table.frame
    assert frame["ADDL"].sum() == 0
    assert frame["II"].sum() == 0
    assert frame["RATE"].tolist() == [5, 5, 0, 5, 0]
    assert frame["CMT"].tolist() == ["central", "central", "", "central", ""]
    assert frame["MDV"].tolist() == [1, 1, 0, 1, 0]
    assert frame.index.tolist() == [2, 2, 3, 2, 4]


def test_doses_after_the_last_record_are_kept(read):
    table = expand_addl(read(HEAD + "1,0,1,10,2,8,.,.,.,.,70\n2,0,1,10,.,.,.,.,.,.,70\n"))
    assert shown(table) == [(0, 1, 10), (8, 1, 10), (16, 1, 10), (0, 1, 10)]
    assert table.frame["ID"].tolist() == ["1", "1", "1", "2"]


def test_steady_state_and_reset_belong_to_the_first_dose_alone(read):
    frame = expand_addl(read(HEAD + "1,0,4,10,2,8,1,.,.,.,70\n")).frame
    assert frame["EVID"].tolist() == [4, 1, 1]
    assert frame["SS"].tolist() == [1, 0, 0]
    assert frame["II"].tolist() == [8, 0, 0]


@pytest.mark.parametrize("reset", ["3,.", "4,7"])
def test_a_reset_cancels_pending_doses(read, reset):
    table = expand_addl(read(HEAD + f"1,0,1,10,5,8,.,.,.,.,70\n1,16,{reset},.,.,.,.,.,.,70\n1,30,0,.,.,.,.,.,.,1,70\n"))
    assert [row[:2] for row in shown(table)] == [(0, 1), (8, 1), (16, int(reset[0])), (30, 0)]


def test_a_reset_that_starts_the_clock_anew_cancels_too(read):
    table = expand_addl(read(HEAD + "1,0,1,10,5,8,.,.,.,.,70\n1,16,0,.,.,.,.,.,.,1,70\n1,0,4,20,1,8,.,.,.,.,70\n"))
    assert shown(table) == [(0, 1, 10), (8, 1, 10), (16, 1, 10), (16, 0, 0), (0, 4, 20), (8, 1, 20)]


def test_covariates_are_those_in_force(read):
    """The next record's by NONMEM's rule (its own at its time), the last one's by the other; beyond the end the last."""
    table = read(HEAD + "1,0,1,10,3,8,.,.,.,.,70\n1,4,2,.,.,.,.,.,.,.,71\n1,16,0,.,.,.,.,.,.,1,72\n")
    assert expand_addl(table).frame["WT"].tolist() == [70, 71, 72, 72, 72, 72]
    assert expand_addl(table, "locf").frame["WT"].tolist() == [70, 71, 71, 71, 72, 72]


def test_a_steady_state_that_replaces_cancels_pending_doses(read):
    rows = "1,0,1,10,5,8,.,.,.,.,70\n1,16,1,7,.,12,{ss},.,.,.,70\n1,30,0,.,.,.,.,.,.,1,70\n"
    replaced, added = (expand_addl(read(HEAD + rows.format(ss=ss))) for ss in (1, 2))
    assert [row[0] for row in shown(replaced)] == [0, 8, 16, 30]
    assert [row[0] for row in shown(added)] == [0, 8, 16, 16, 24, 30, 32, 40]


def test_rounding_does_not_part_a_dose_from_its_record(read):
    table = expand_addl(read(HEAD + "1,0.1,1,10,2,0.1,.,.,.,.,70\n1,0.3,0,.,.,.,.,.,.,1,70\n"))
    assert shown(table)[2:] == [(0.3, 1, 10), (0.3, 0, 0)]


def test_rounding_does_not_bring_a_cancelled_dose_back(read):
    table = expand_addl(read(HEAD + "1,0,1,10,9,0.1,.,.,.,.,70\n1,0.3,3,.,.,.,.,.,.,.,70\n"))
    assert [row[:2] for row in shown(table)] == [(0, 1), (0.1, 1), (0.2, 1), (0.3, 3)]


def test_nothing_to_expand(read):
    table = read(HEAD + "1,0,1,10,.,.,.,.,.,.,70\n1,1,0,.,.,.,.,.,.,1,70\n")
    pd.testing.assert_frame_equal(expand_addl(table).frame, table.frame)


def amount_left(events: list[tuple], k: float = 0.2) -> list[float]:
    """One compartment, walked event by event, with ADDL kept as a list of pending doses. An oracle of its own."""
    now, left, pending, out = 0.0, 0.0, [], []
    for time, evid, amount, more, interval in events:
        for due, dose in sorted(p for p in pending if p[0] <= time):
            left, now = left * math.exp(-k * (due - now)) + dose, due
        pending = [p for p in pending if p[0] > time]
        left, now = left * math.exp(-k * (time - now)), time
        if evid in (3, 4):
            left, pending = 0.0, []
        if evid in (1, 4):
            left += amount
            pending += [(time + n * interval, amount) for n in range(1, more + 1)]
        if evid == 0:
            out.append(left)
    return out


record = st.tuples(
    st.integers(0, 12), st.sampled_from([0, 0, 1, 1, 3, 4]), st.integers(1, 9), st.integers(0, 4), st.integers(1, 9)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(record, min_size=1, max_size=12))
def test_addl_means_its_rows(read, records):
    time, lines, events = 0, [], []
    for wait, evid, amount, more, interval in records:
        time += wait
        dosed = evid in (1, 4)
        events.append((time, evid, amount, more, interval) if dosed else (time, evid, 0, 0, 0))
        dose = f"{amount},{more},{interval}" if dosed else ".,.,."
        lines.append(f"1,{time},{evid},{dose},.,.,.,{'1' if evid == 0 else '.'},70\n")
    table = read(HEAD + "".join(lines))
    frame = expand_addl(table).frame
    assert len(frame) >= len(table.frame)
    assert frame["ADDL"].sum() == 0
    rows = list(frame[["TIME", "EVID", "AMT", "ADDL", "II"]].itertuples(index=False, name=None))
    assert amount_left(rows) == pytest.approx(amount_left(events))
