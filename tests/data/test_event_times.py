"""TIME, DATE and the order of rows."""

import pytest

HEAD = "ID,TIME,AMT,DV\n"


def test_clock_times_count_from_the_first_record(read):
    table = read(HEAD + "1,08:30,5,.\n1,9:00,.,1\n1,10:30:36,.,1\n2,23:00,5,.\n2,23:30,.,1\n")
    assert table.frame["TIME"].tolist() == pytest.approx([0, 0.5, 2.01, 0, 0.5])
    assert "TIME read as clock times: hours are counted from each subject's first record" in table.notes


def test_plain_times_stay_as_they_are(read):
    table = read(HEAD + "1,8,5,.\n1,9,.,1\n")
    assert table.frame["TIME"].tolist() == [8.0, 9.0]
    assert not any("clock" in note for note in table.notes)


def test_iso_dates(read):
    table = read(
        "ID,DATE,TIME,AMT,DV\n1,2024-02-28,22:00,5,.\n1,2024-03-01,01:00,.,1\n2,2024-01-01,6,5,.\n2,2024-01-02,7,.,1\n"
    )
    assert table.frame["TIME"].tolist() == pytest.approx([0, 27, 0, 25])
    assert table.covariates == ()


def test_day_numbers_and_time_units(read):
    frame = read("ID,DATE,TIME,AMT,DV\n1,1,0,5,.\n1,3,30,.,1\n", units={"TIME": "min"}).frame
    assert frame["TIME"].tolist() == pytest.approx([0, 48.5])


@pytest.mark.parametrize("date", ["03/01/2024", "1.3.2024", "2024-13-01", "20240301", "24-3-1"])
def test_other_dates_are_refused(refused, date):
    error = refused(f"ID,DATE,TIME,AMT,DV\n7,{date},08:00,5,.\n", row=2, subject="7")
    assert error.what == f'DATE "{date}" cannot be read'
    assert "2024-03-01" in error.hint


def test_dates_in_two_forms(refused):
    error = refused("ID,DATE,TIME,DV\n7,1,0,5\n7,2024-03-01,0,5\n", row=3, subject="7")
    assert "otherwise than in the rows above" in error.what


def test_date_missing(refused):
    assert refused("ID,DATE,TIME,DV\n7,1,0,5\n7,.,1,5\n", row=3, subject="7").what == "DATE is missing"


@pytest.mark.parametrize("time", ["8:60", "8:00 PM", "8:00:61", ":30"])
def test_bad_clock_time(refused, time):
    error = refused(HEAD + f"7,8:00,5,.\n7,{time},.,1\n", row=3, subject="7")
    assert error.what == f'TIME "{time}" is not a clock time'
    assert "14:30" in error.hint


def test_time_that_goes_back_shows_both_rows(refused):
    rows = "7,0.0,5,.,1\n7,24.0,.,0.83,0\n7,4.0,.,2.10,0\n7,3.0,.,1,0\n7,9,.,1,0\n8,1,.,1,0\n8,0,.,1,0\n"
    error = refused("ID,TIME,AMT,DV,EVID\n" + rows, row=4, subject="7")
    assert error.what == "TIME 4.0 comes after TIME 24.0"
    assert error.why.splitlines() == [
        "3 | 7   24.0   .   0.83   0",
        "4 | 7    4.0   .   2.10   0     <- here",
        "Times must not go back inside one subject. If a new course starts here, use EVID=3 or 4.",
    ]
    assert error.hint == "2 more rows have this problem"


def test_clock_past_midnight_without_date(refused):
    error = refused(HEAD + "7,23:00,5,.\n7,01:00,.,1\n", row=3, subject="7")
    assert error.what == "TIME 01:00 comes after TIME 23:00"
    assert "Without a DATE column a clock time cannot pass midnight." in error.why


def test_date_that_goes_back(refused):
    error = refused("ID,DATE,TIME,DV\n7,2,8:00,1\n7,1,9:00,1\n", row=3, subject="7")
    assert error.what == "DATE TIME 1 9:00 comes after DATE TIME 2 8:00"


@pytest.mark.parametrize("reset", ["0,3", "5,4"])
def test_a_reset_may_start_the_clock_anew(read, reset):
    frame = read(f"ID,TIME,DV,AMT,EVID\n1,0,.,5,1\n1,24,1,0,0\n1,0,.,{reset}\n1,2,1,0,0\n").frame
    assert frame["TIME"].tolist() == [0, 24, 0, 2]


def test_returning_subject(refused):
    rows = "1,0,5,.\n1,1,.,2\n2,0,5,.\n1,2,.,1\n1,3,.,1\n"
    error = refused(HEAD + rows, row=5, subject="1")
    assert error.what == "ID 1 comes back here; its rows ended at row 3"
    assert "sort the rows by ID and TIME" in error.hint


def test_units(read):
    table = read(
        "ID,TIME,AMT,RATE,II,ADDL,DV,WT\n1,0,1,0.5,720,1,.,70000\n1,90,.,.,.,.,4,70000\n",
        units={"time": "min", "AMT": "g", "DV": "ug/mL", "WT": "mg"},
    )
    first, second = table.frame.iloc[0], table.frame.iloc[1]
    assert second["TIME"] == pytest.approx(1.5)
    assert first["AMT"] == pytest.approx(1000.0)
    assert first["RATE"] == pytest.approx(0.5 * 1000 * 60)
    assert first["II"] == pytest.approx(12.0)
    assert second["DV"] == pytest.approx(4.0)
    assert first["WT"] == pytest.approx(70000.0)


def test_own_units_of_rate_interval_and_duration(read):
    frame = read(
        "ID,TIME,AMT,RATE,DUR,II,ADDL,DV\n1,0,1,0.5,.,1,1,.\n1,9,1,.,30,.,.,.\n",
        units={"TIME": "h", "AMT": "GBq", "RATE": "MBq/min", "II": "day", "DUR": "min"},
    ).frame
    assert frame["RATE"].tolist() == pytest.approx([30.0, 0.0])
    assert frame["II"].iloc[0] == pytest.approx(24.0)
    assert frame["DUR"].iloc[1] == pytest.approx(0.5)
    assert frame["AMT"].iloc[0] == pytest.approx(1000.0)


@pytest.mark.parametrize(("rate", "unit"), [(-1, "g"), (-2, "kg")])
def test_codes_for_modelled_rates_have_no_unit(read, rate, unit):
    frame = read(f"ID,TIME,AMT,RATE,DV\n1,0,1,{rate},.\n", units={"AMT": unit, "TIME": "min"}).frame
    assert frame["RATE"].tolist() == [rate]


def test_override_unit(read):
    frame = read("ID,TIME,AMT,DV,cl\n1,0,1,.,5\n", parameters=("CL",), units={"CL": "mL/h"}).frame
    assert frame["CL"].tolist() == pytest.approx([0.005])


@pytest.mark.parametrize(
    ("units", "what"),
    [
        ({"TIME": "mg"}, 'TIME has the unit "mg"'),
        ({"AMT": "mgg"}, 'unit "mgg" cannot be read'),
        ({"AMT": "MBq", "RATE": "mg/h"}, 'RATE has the unit "mg/h"'),
        ({"WTT": "kg"}, "`WTT`, which is not a column that has a unit"),
        ({"EVID": "h"}, "`EVID`, which is not a column that has a unit"),
    ],
)
def test_wrong_units(read, units, what):
    from pbpk.errors import BadInput

    with pytest.raises(BadInput) as caught:
        read("ID,TIME,AMT,DV,WT\n1,0,1,.,70\n", units=units)
    assert what in caught.value.what
    assert "trial.csv" in caught.value.where
