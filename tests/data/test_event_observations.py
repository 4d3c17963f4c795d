"""DV, MDV, DVID, covariates and overrides."""

import numpy as np
import pytest

HEAD = "ID,TIME,AMT,DV,EVID,MDV,DVID,CMT\n"
TWO = ("plasma", "tumour")


def test_mdv_from_evid_and_dv(read):
    table = read("ID,TIME,AMT,DV,EVID\n1,0,5,9,1\n1,1,.,2,0\n1,2,.,.,0\n1,3,.,7,2\n")
    assert table.frame["MDV"].tolist() == [1, 0, 1, 1]
    assert table.frame["DV"].notna().tolist() == [False, True, False, False]
    assert "DV is missing on 1 observation rows: no observation there (MDV 1)" in table.notes


def test_given_mdv_hides_dv(read):
    frame = read(HEAD + "1,0,.,4,0,1,.,.\n1,1,.,5,0,0,.,.\n1,2,.,6,0,.,.,.\n").frame
    assert frame["MDV"].tolist() == [1, 0, 0]
    np.testing.assert_array_equal(frame["DV"], [np.nan, 5, 6])


def test_mdv_0_on_a_dose_is_corrected_and_said(read):
    table = read(HEAD + "1,0,5,0,1,0,.,1\n")
    assert table.frame["MDV"].tolist() == [1]
    assert any("MDV is 0 on 1 rows that are not observations" in note for note in table.notes)


@pytest.mark.parametrize(
    ("cells", "what", "hint"),
    [
        (".,.,0,0,.,.", "MDV is 0 but DV is missing", "MDV=1"),
        (".,1,0,2,.,.", "MDV 2 is neither 0 nor 1", ""),
        (".,1,0,0,kidney,.", "observable `kidney` (DVID) is not in the model", "known: `plasma`, `tumour`"),
        (".,1,0,0,plasm,.", "observable `plasm` (DVID) is not in the model", "did you mean `plasma`?"),
        (".,1,0,0,3,.", "observable `3` (DVID) is not in the model", "1 plasma, 2 tumour"),
        (".,1,0,0,0,.", "observable `0` (DVID) is not in the model", "1 plasma, 2 tumour"),
        (".,1,0,0,.,.", "nothing says which observable this DV is", "`plasma`, `tumour`"),
    ],
)
def test_refused_rows(refused, cells, what, hint):
    error = refused(HEAD + f"7,0,5,.,1,1,0,.\n7,1,{cells}\n", row=3, subject="7", observables=TWO)
    assert error.what == what
    assert hint in error.hint


def test_observables_by_number_and_name(read):
    rows = "1,0,5,.,1,1,0,.\n1,1,.,1,0,0,2,.\n1,2,.,1,0,0,PLASMA,central\n1,3,.,.,0,1,0,.\n"
    frame = read(HEAD + rows, observables=TWO).frame
    assert frame["DVID"].tolist() == ["", "tumour", "plasma", ""]
    assert frame["CMT"].tolist() == ["depot", "", "central", ""]


def test_default_observable_wins_over_the_compartment(read):
    rows = "ID,TIME,DV,CMT\n1,0,1,central\n1,1,1,.\n"
    frame = read(rows, observables=("central", "effect"), default_observable="effect").frame
    assert frame["DVID"].tolist() == ["effect", "effect"]
    assert frame["CMT"].tolist() == ["central", ""]


def test_observable_named_like_the_compartment(read):
    frame = read("ID,TIME,DV,CMT\n1,0,1,2\n1,1,1,1\n", observables=("depot", "central")).frame
    assert frame["DVID"].tolist() == ["central", "depot"]


def test_only_observable(read):
    assert read("ID,TIME,DV\n1,0,1\n", observables=("cp",)).frame["DVID"].tolist() == ["cp"]


def test_no_observables_leave_the_cells(read):
    assert read(HEAD + "1,0,5,.,1,1,1,.\n1,1,.,1,0,0,2,.\n").frame["DVID"].tolist() == ["", "2"]


def test_unknown_default_observable(read):
    from pbpk.errors import BadInput

    with pytest.raises(BadInput, match="default observable `plasm` is not in the model"):
        read("ID,TIME,DV\n1,0,1\n", observables=TWO, default_observable="plasm")


def test_covariates_fill_inside_a_subject(read):
    table = read("ID,TIME,DV,WT\n1,0,1,.\n1,1,1,70\n1,2,1,.\n1,3,1,71\n2,0,1,50\n2,1,1,.\n")
    assert table.covariates == ("WT",)
    assert table.frame["WT"].tolist() == [70, 70, 70, 71, 50, 50]
    assert "WT: missing values filled inside a subject (2 carried forward, 1 carried back)" in table.notes


def test_text_columns_are_left_out_and_named(read):
    table = read("ID,TIME,DV,SEX,SITE,AGE\n1,0,1,1,.,40\n1,1,1,F,.,40\n")
    assert table.covariates == ("AGE",)
    assert 'column `SEX` is left out: row 3 holds "F", which is not a number' in table.notes
    assert "column `SITE` is left out: it is empty" in table.notes


def test_column_without_a_name_is_left_out(read):
    table = read(",ID,TIME,DV\n1,1,0,1\n2,1,1,1\n")
    assert table.covariates == ()
    assert "a column without a name is left out" in table.notes


def test_covariate_that_a_subject_lacks(refused):
    rows = "ID,TIME,DV,WT\n1,0,1,70\n7,0,1,.\n7,1,1,.\n8,0,1,.\n"
    error = refused(rows, row=3, subject="7")
    assert error.what == "covariate WT is missing on all rows of this subject"
    assert error.hint == 'fill it in, or drop the column: ignore=["WT"]; 1 more subject has this problem'


def test_endless_covariate(refused):
    error = refused("ID,TIME,DV,WT\n1,0,1,70\n7,0,1,inf\n", row=3, subject="7")
    assert error.what == 'WT "inf" is not a finite number'


def test_overrides_take_the_model_spelling(read):
    text, known = "ID,TIME,DV,cl,Km,KM,WT\n1,0,1,2,3,4,70\n", ("CL", "KM", "Km", "V")
    table = read(text, parameters=known, columns={"CL": "cl"})
    assert next(n for n in table.notes if "replaces" in n) == "column `CL` replaces the parameter `CL` of the model"
    lower = read(
        text.lower().replace("km,km", "km,wt2"), parameters=("CL",)
    )  # a file in small letters means nothing by them
    assert lower.overrides == ("CL",)
    assert table.overrides == ("CL", "Km", "KM")
    assert table.covariates == ("WT",)
    assert table.frame[["CL", "Km", "KM"]].iloc[0].tolist() == [2, 3, 4]


def test_overrides_stay_empty_where_a_subject_gives_none(read):
    table = read("ID,TIME,DV,CL\n1,0,1,.\n1,1,1,5\n1,2,1,.\n2,0,1,.\n2,1,1,.\n", parameters=("CL",))
    np.testing.assert_array_equal(table.frame["CL"], [5, 5, 5, np.nan, np.nan])
    assert "CL: missing values filled inside a subject (1 carried forward, 1 carried back)" in table.notes


def test_override_that_is_not_a_number(refused):
    error = refused("ID,TIME,DV,CL\n1,0,1,5\n7,0,1,low\n", row=3, subject="7", parameters=("CL",))
    assert error.what == 'parameter column CL "low" is not a number'


def test_two_columns_for_one_parameter(refused):
    error = refused("ID,TIME,DV,CL,cl\n1,0,1,5,5\n", row=1, parameters=("CL",))
    assert error.what == "two columns stand for the parameter `CL`"
