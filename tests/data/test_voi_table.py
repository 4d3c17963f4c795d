"""VOI tables: what is read, what is assumed and said, and what is refused."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from pbpk.data.events import read_events
from pbpk.data.voi import read_voi
from pbpk.data.voi_headers import is_voi_table, parse_header
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide

AT = load_nuclide("At-211").decay_constant
PLAIN = "subject,voi,time_h,activity_MBq,decay_corrected\n1,thyroid,1,5.0,false\n1,thyroid,24,0.5,false\n"


@pytest.fixture
def table(tmp_path):
    def read(text, **how):
        path = tmp_path / "voi.csv"
        path.write_text(text)
        return read_voi(path, **{"nuclide": "At-211"} | how)

    return read


@pytest.fixture
def refusal(table):
    """The message that a table gives, with the place in it."""

    def refusal(text, **how):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(BadInput) as caught:
                table(text, **how)
        return caught.value.render()

    return refusal


def test_a_plain_table(table):
    found = table(PLAIN)
    assert found.frame["activity_MBq"].tolist() == [5.0, 0.5]
    assert found.frame["time_h"].tolist() == [1.0, 24.0]
    assert list(found.frame.index) == [2, 3], "rows as the file counts them"
    assert found.notes == () and found.warnings == ()
    assert found.nuclide.name == "At-211"


@pytest.mark.parametrize(
    ("headers", "row", "expected"),
    [
        ("subject,voi,time[hours],activity[kBq/cc],volume_ml", "1,a,2,30,20", (2.0, 0.6)),
        ("ID,VOI,time[minutes],activity[Bq/mL],volume[cc]", "1,a,120,30000,20", (2.0, 0.6)),
        ("subject,voi,time[seconds],activity[kBq],volume_ml", "1,a,7200,600,", (2.0, 0.6)),
        ("patient,ROI,time_min,activity_GBq", "1,a,120,6e-4", (2.0, 0.6)),
        ("subject,region,time_d,pct_IA,administered_MBq", "1,a,0.5,0.3,200", (12.0, 0.6)),
        ("subject,voi,time_h,activity[%IA],administered[GBq]", "1,a,2,0.3,0.2", (2.0, 0.6)),
        ("subject_id,voi_name,time_h,concentration[MBq/L],volume_mL", "1,a,2,30,20", (2.0, 0.6)),
    ],
)
def test_units_in_headers(table, headers, row, expected):
    found = table(f"{headers}\n{row}\n", decay_corrected=False).frame
    assert found["time_h"].iloc[0] == pytest.approx(expected[0])
    assert found["activity_MBq"].iloc[0] == pytest.approx(expected[1], rel=1e-12)


def test_standard_deviations_follow_the_activity(table):
    rows = "1,a,2,30,3,20\n"
    same = table("subject,voi,time_h,activity[kBq/cc],sd,volume_ml\n" + rows, decay_corrected=False).frame
    own = table("subject,voi,time_h,activity[kBq/cc],sd[Bq/cc],volume_ml\n" + rows, decay_corrected=False).frame
    assert same["sd_MBq"].iloc[0] == pytest.approx(0.06)
    assert own["sd_MBq"].iloc[0] == pytest.approx(0.06e-3)


def test_decay_correction_is_undone(table):
    """By column or by argument, to time 0 or to another."""
    column = table(PLAIN.replace("false", "yes")).frame
    np.testing.assert_allclose(column["activity_MBq"], [5 * np.exp(-AT), 0.5 * np.exp(-24 * AT)], rtol=1e-13)
    bare = "subject,voi,time_h,activity_MBq,sd\n1,a,24,1,0.1\n"
    later = table(bare, decay_corrected=True, reference=24.0).frame
    assert later["activity_MBq"].iloc[0] == 1.0
    zero = table(bare, decay_corrected=True)
    assert zero.frame["sd_MBq"].iloc[0] == pytest.approx(0.1 * np.exp(-24 * AT))
    assert "values are taken as decay-corrected to 0 h" in zero.notes


def test_a_missing_flag_warns_with_the_factor_at_stake(table):
    bare = "subject,voi,time_h,activity_MBq\n1,a,1,5\n1,a,24,0.5\n"
    factor = math.exp(AT * 24)
    assert factor == pytest.approx(10.03, rel=1e-3)
    with pytest.warns(UserWarning, match=f"For At-211 a factor of {factor:.4g}, exp"):
        found = table(bare)
    assert found.frame["activity_MBq"].tolist() == [5.0, 0.5], "taken as not corrected"
    assert len(found.warnings) == 1 and "taken as not" in found.warnings[0]
    with pytest.warns(UserWarning, match=r"For I-131 a factor of 1\.09"):
        table(bare, nuclide="I-131")


def test_names_of_a_model_in_any_spelling(table):
    rows = "subject,voi,time_h,activity_MBq,decay_corrected\n1,Salivary glands,1,5,no\n1,Lesion 1,1,2,no\n"
    found = table(rows, observables=["salivary_glands", "tumour"], vois={"lesion-1": "tumour"}).frame
    assert found["observable"].tolist() == ["salivary_glands", "tumour"]
    assert found["voi"].tolist() == ["Salivary glands", "Lesion 1"]


def test_rows_without_a_value_are_left_out_and_columns_not_known_are_told(table):
    found = table(
        PLAIN.replace("activity_MBq", "activity_MBq,scanner").replace("24,0.5", "24,.,x").replace("5.0", "5.0,x")
    )
    assert len(found.frame) == 1
    assert any("1 rows without an activity" in n for n in found.notes)
    assert any("`scanner` is not used" in n for n in found.notes)


def test_repeats_are_kept_and_told(table):
    found = table(PLAIN.replace("24,0.5", "1,5.1"))
    assert len(found.frame) == 2 and any("row 3 repeats" in n for n in found.notes)


BARE = "subject,voi,time_h,activity_MBq\n"


@pytest.mark.parametrize(
    ("text", "how", "words"),
    [
        (
            "subject,voi,time_h,activity[mg/L]\n1,a,1,5\n",
            {},
            ["row 1", '"mg/L"', "MBq or MBq/L", "cannot become an activity"],
        ),
        ("subject,voi,time_h,activity[foo]\n1,a,1,5\n", {}, ["row 1", '"foo"', "cannot be read"]),
        ("subject,voi,time_h,activity\n1,a,1,5\n", {}, ["row 1", "does not say its unit", "activity_MBq"]),
        ("subject,voi,time[kBq],activity_MBq\n1,a,1,5\n", {}, ["row 1", '"kBq"', "time_h"]),
        ("subject,voi,time_h,activty_MBq\n1,a,1,5\n", {}, ["no column for the activity", "did you mean `activty_MBq`"]),
        ("subject;voi;time_h;activity_MBq\n1;a;1;5\n", {}, ["separated by commas"]),
        ("subject,time_h,activity_MBq\n1,1,5\n", {}, ["no column for the voi"]),
        (BARE.replace("MBq\n", "MBq,uptake_kBq\n") + "1,a,1,5,5\n", {}, ["both say the activity", "keep one"]),
        (
            "subject,voi,time_h,activity_MBq,volume_ml\n1,a,1,5,10\n1,a,2,5,-3\n",
            {},
            ["row 3 (ID 1)", "volume -3", "above 0"],
        ),
        (
            "subject,voi,time_h,activity[kBq/cc],volume_ml\n1,a,1,5,\n",
            {},
            ["row 2 (ID 1)", "the volume is missing", "volume_mL"],
        ),
        ("subject,voi,time_h,activity[kBq/cc]\n1,a,1,5\n", {}, ["row 2 (ID 1)", "is a concentration"]),
        ("subject,voi,time_h,pct_IA\n1,a,1,5\n", {}, ["row 2 (ID 1)", "needs the administered activity", "245 MBq"]),
        (BARE + "1,a,1,5\n1,a,-2,5\n", {}, ["row 3 (ID 1)", "time -2 h is negative"]),
        (BARE + "1,a,,5\n", {}, ["row 2 (ID 1)", "the time is missing"]),
        (BARE + "1,,1,5\n", {}, ["row 2 (ID 1)", "the VOI is missing"]),
        (BARE + ",a,1,5\n", {}, ["row 2", "the subject is missing"]),
        (BARE + "1,a,1,five\n", {}, ["row 2 (ID 1)", 'activity "five" is not a number']),
        (
            "subject,voi,time_h,activity_MBq,sd\n1,a,1,5,-1\n",
            {},
            ["row 2 (ID 1)", "sd -1 is negative", "standard deviation"],
        ),
        ("subject,voi,time_h,activity_MBq,sd[%IA]\n1,a,1,5,1\n", {}, ["row 1", "sd[%IA]", "that of the activity"]),
        (
            BARE + "1,thyroyd,1,5\n",
            {"observables": ["thyroid", "urine"]},
            ["row 2 (ID 1)", "VOI `thyroyd`", "did you mean `thyroid`"],
        ),
        (
            BARE + "1,a,1,5\n",
            {"observables": ["thyroid"], "vois": {"a": "thyr"}},
            ["`thyr`", "does not show", "thyroid"],
        ),
        (PLAIN.replace("0.5,false", "0.5,maybe"), {}, ["row 3 (ID 1)", '"maybe" is neither', "a factor of 10.03"]),
        (PLAIN, {"decay_corrected": True}, ["said twice", "leave one out"]),
        (BARE + "1,a,1,\n", {}, ["no row has an activity"]),
        (BARE + "1,a,1,5\n", {"administered": "-3 MBq"}, ["administered", "not above 0"]),
        (BARE + "1,a,1,5\n", {"administered": "3 mg"}, ["mg"]),
        (BARE + "1,a,1,5\n", {"administered": "lots"}, ["cannot be read"]),
        (BARE + "1,a,1,5\n", {"nuclide": "Xx-99"}, ["unknown nuclide `Xx-99`"]),
        (
            "subject,voi,time_h,activity_MBq,administered_MBq\n1,a,1,5,100\n1,a,2,5,120\n",
            {},
            ["row 3 (ID 1)", "not the same on all rows"],
        ),
    ],
)
def test_what_is_refused(refusal, text, how, words):
    told = refusal(text, **how)
    for word in words:
        assert word in told, told


def test_headers_one_by_one():
    assert parse_header("activity[kBq/cc]") == ("activity", "kBq/cc")
    assert parse_header("Time [hours]") == ("time", "hours")
    assert parse_header("%IA") == ("activity", "%IA")
    assert parse_header("volume_ml") == ("volume", "ml")
    assert parse_header("WT") is None and parse_header("time_point") is None
    assert is_voi_table(["subject", "voi", "x"]) and not is_voi_table(["ID", "TIME", "DV", "voi"])


def test_events_can_be_read_as_events(table, tmp_path):
    rows = "subject,voi,time_h,activity_MBq,decay_corrected\n7,b,24,1,no\n7,a,1,5,no\n3,a,2,4,no\n"
    events = table(rows, administered="245 MBq").events(into="blood")
    path = tmp_path / "data.csv"
    events.to_csv(path, index=False)
    read = read_events(path, compartments=["gut", "blood"], observables=["a", "b"]).frame
    assert read["ID"].tolist() == ["7", "7", "7", "3", "3"]
    assert read["TIME"].tolist() == [0, 1, 24, 0, 2]
    assert read["EVID"].tolist() == [1, 0, 0, 1, 0]
    assert read["AMT"].tolist() == [245, 0, 0, 245, 0]
    assert read["CMT"].tolist() == ["blood", "", "", "blood", ""]
    assert read["DV"].dropna().tolist() == [5, 1, 4]
    assert [d for d in read["DVID"] if d] == ["a", "b", "a"]


def test_events_need_the_dose(table):
    with pytest.raises(BadInput, match=r"row 2 \(ID 1\): the administered activity is not known"):
        table(PLAIN).events(into="blood")


def test_a_dose_may_come_between_measurements(table):
    events = table(PLAIN, administered=100.0).events(into="blood", at=2.0)
    assert events["TIME"].tolist() == [1.0, 2.0, 24.0]
    assert isinstance(events, pd.DataFrame)
