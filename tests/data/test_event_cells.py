"""What a cell, a header and a line end may look like."""

import numpy as np
import pytest

from pbpk.data.cells import parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1.5D2", 150.0),
        ("1.5d-2", 0.015),
        ("2-1", 0.2),
        ("2+1", 20.0),
        ("+", 0.0),
        ("-", 0.0),
        ("1e999", np.inf),
        ("-inf", -np.inf),
    ],
)
def test_numbers_as_fortran_reads_them(text, value):
    assert parse_number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", ".", "abc", "1,5", "1e", "0x10", "1_000", "nan", "- 1", "12:30", "٣"])
def test_what_is_not_a_number(text):
    assert parse_number(text) is None


def test_special_forms_reach_the_frame(read):
    frame = read("ID,TIME,AMT,DV\n1,-,1.5D2,.\n1,2-1,.,+\n").frame
    assert list(frame["TIME"]) == [0.0, pytest.approx(0.2)]
    assert frame["AMT"].iloc[0] == pytest.approx(150.0)
    assert frame["DV"].iloc[1] == 0.0


def test_bom_and_windows_line_ends(read):
    frame = read("\ufeffID,TIME,AMT,DV\r\n1,0,5,.\r\n\r\n1,1,.,2\r\n").frame
    assert list(frame.index) == [2, 4]
    assert list(frame["DV"].dropna()) == [2.0]


def test_headers_in_any_case_and_alias(read):
    table = read("id,Time,amt,tinf,Dv,ytype\n1,0,10,2,.,.\n1,3,,,4,2\n", observables=("plasma", "tumour"))
    assert table.frame["DUR"].iloc[0] == 2.0
    assert table.frame["DVID"].tolist() == ["", "tumour"]
    assert table.covariates == ()


@pytest.mark.parametrize("empty", [".", "", "NA", "na", "NaN", "nan"])
def test_spellings_of_missing(read, empty):
    frame = read(f"ID,TIME,AMT,DV,WT\n1,0,5,{empty},70\n1,1,{empty},3,{empty}\n").frame
    assert np.isnan(frame["DV"].iloc[0])
    assert frame["AMT"].iloc[1] == 0.0
    assert frame["WT"].iloc[1] == 70.0


def test_own_spelling_of_missing(read):
    assert read("ID,TIME,AMT,DV\n1,0,5,-99\n1,1,0,3\n", missing=("-99",)).frame["MDV"].tolist() == [1, 0]


def test_renamed_columns(read):
    table = read(
        "Subject,hours,conc,dv,dose\n1,0,.,9,5\n1,1,2,9,.\n",
        columns={"ID": "subject", "TIME": "hours", "DV": "conc", "AMT": "dose"},
    )
    assert table.frame["DV"].tolist()[1] == 2.0
    assert table.covariates == ()
    assert "column `dv` is not used: DV is read from `conc`" in table.notes


def test_alias_in_renaming(read):
    frame = read("ID,TIME,AMT,DV,len\n1,0,10,.,2\n", columns={"TINF": "len"}).frame
    assert frame["DUR"].tolist() == [2.0]


def test_ids_are_text(read):
    frame = read("ID,TIME,AMT,DV\n1.0,0,5,.\nA-7,0,5,.\n007,0,5,.\n").frame
    assert frame["ID"].tolist() == ["1", "A-7", "007"]


def test_ignored_columns_are_gone(read):
    table = read("ID,TIME,AMT,DV,SS,WT\n1,0,5,.,99,70\n", ignore=("ss", "WT"))
    assert table.frame["SS"].tolist() == [0]
    assert table.covariates == ()


def test_frame_columns_and_types(read):
    table = read("ID,TIME,AMT,DV,WT,ka\n1,0,5,.,70,1\n", parameters=("KA",), columns={"KA": "ka"})
    names = ["ID", "TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "DV", "MDV", "DVID"]
    assert list(table.frame.columns) == [*names, "CENS", "LIMIT", "WT", "KA"]
    kinds = {name: dtype.kind for name, dtype in table.frame.dtypes.items()}
    assert all(kinds[n] == "f" for n in ("TIME", "AMT", "RATE", "DUR", "II", "DV", "WT", "KA"))
    assert all(kinds[n] == "i" for n in ("EVID", "ADDL", "SS", "MDV"))
    assert all(isinstance(table.frame[n].iloc[0], str) for n in ("ID", "CMT", "DVID"))
    assert table.frame.index.name == "row"
    assert table.source.endswith("trial.csv")


def test_missing_column_names_those_there_are(refused):
    error = refused("Subject,TIME,AMT,DV\n1,0,5,.\n")
    assert error.what == "no column ID"
    assert error.why == "the file has `Subject`, `TIME`, `AMT`, `DV`"
    assert error.hint.startswith('did you mean `Subject`? then say so: columns = { ID = "Subject" } in fit.toml')


def test_missing_time_gives_the_near_match(refused):
    assert "`TIMES`" in refused("ID,TIMES,AMT,DV\n1,0,5,.\n").hint


def test_missing_dv_unless_not_needed(read, refused):
    assert refused("ID,TIME,AMT\n1,0,5\n").what == "no column DV"
    frame = read("ID,TIME,AMT,MDV\n1,0,5,1\n1,1,0,0\n", need_dv=False).frame
    assert frame["MDV"].tolist() == [1, 1]
    assert frame["DV"].isna().all()


def test_semicolons_are_recognised(refused):
    assert refused("ID;TIME;DV\n1;0;5\n").hint == "the cells must be separated by commas"


def test_two_columns_for_one_name(refused):
    error = refused("ID,TIME,time,DV\n1,0,0,5\n", row=1)
    assert error.what == "columns `TIME` and `time` both mean TIME"
    assert "--column" in error.hint


@pytest.mark.parametrize(
    ("how", "what", "hint"),
    [
        ({"columns": {"DV": "conz"}}, "no column `conz` to use as DV", "did you mean `conc`?"),
        ({"columns": {"DVV": "conc"}}, "`DVV` is not a reserved column", "`DV`"),
        ({"ignore": ["cong"]}, "no column `cong` to ignore", "`conc`"),
    ],
)
def test_wrong_column_options(refused, how, what, hint):
    error = refused("ID,TIME,conc\n1,0,5\n", **how)
    assert what in error.what
    assert hint in error.hint


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ("abc,.,1,0", 'TIME "abc" is not a number'),
        ("0,x,1,0", 'AMT "x" is not a number'),
        ("0,inf,.,1", 'AMT "inf" is not a finite number'),
        ("1e999,.,1,0", 'TIME "1e999" is not a finite number'),
        ("0,.,NULL,0", 'DV "NULL" is not a number'),
        ("0,.,-,0", 'DV "-" is not a number'),
        ("0,.,1,0.5", "EVID 0.5 is not a whole number"),
        (".,.,1,0", "TIME is missing"),
    ],
)
def test_cells_that_are_not_numbers(refused, cells, what):
    error = refused(f"ID,TIME,AMT,DV,EVID\n7,0,.,1,0\n7,{cells}\n", row=3, subject="7")
    assert error.what == what


def test_decimal_comma_is_recognised(refused):
    error = refused('ID,TIME,AMT,DV\n7,0,.,"1,5"\n', row=2, subject="7")
    assert error.hint == "write decimals with a point"


def test_text_in_dv_is_fine_where_it_is_not_read(read):
    frame = read("ID,TIME,AMT,DV,MDV\n1,0,5,dose,1\n1,1,.,BLQ,1\n1,2,.,3,0\n").frame
    assert frame["DV"].tolist()[2] == 3.0
    assert frame["MDV"].tolist() == [1, 1, 0]


def test_missing_id(refused):
    assert refused("ID,TIME,AMT,DV\n1,0,5,.\n.,1,.,2\n", row=3).what == "ID is missing"
