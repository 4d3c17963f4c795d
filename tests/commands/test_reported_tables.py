"""Tables that people stumbled over in other programs (data/cases): read, noted, or refused with what to do."""

from pathlib import Path

import pytest

CASES = Path(__file__).parents[1] / "data" / "cases"
READ, REFUSED = 0, 3

# What `pbpk check` says of each: its exit code, and words that must be there.
TABLES = {
    "T01_dup_ids_apart": (REFUSED, "ID 1 comes back here"),
    "T01b_dup_ids_adjacent_second_course": (REFUSED, "use EVID=3 or 4"),
    "T02_semicolon_decimal_comma": (REFUSED, "separated by semicolons"),
    "T02b_decimal_comma_quoted": (REFUSED, "write decimals with a point"),
    "T03_bom_crlf": (READ, "observations: 3", "no problems found"),
    "T04_quoted_headers": (READ, "covariates: WT"),
    "T05_trailing_empty": (READ, "a column without a name is left out"),
    "T05b_trailing_comma_rows_only": (REFUSED, "row 2", "more cells than the header"),
    "T06_leading_zero_ids": (READ, "subjects: 3"),
    "T07_huge_ids": (READ, "subjects: 2"),
    "T07b_ids_1_and_1.0": (REFUSED, "row 6"),
    "T08_lower": (READ, "covariates: wt"),
    "T10_mdv1_with_value": (READ, "observations: 2"),
    "T10b_mdv_101": (REFUSED, "MDV 101 is neither 0 nor 1"),
    "T12_hash_header": (REFUSED, "did you mean `#ID`"),
    "T12b_C_header": (READ, "subjects: 1", "comments, and left out"),
    "T13_dot_cmt": (READ, "no problems found"),
    "T14_dates_dmy": (REFUSED, "Day and month change places"),
    "T14b_iso_datetime": (REFUSED, "a column each: DATE"),
    "T14c_iso_datetime_space": (REFUSED, "a column each: DATE"),
    "T14d_clock_midnight": (REFUSED, "cannot pass midnight"),
    "T14e_ampm": (REFUSED, "14:30"),
    "T15_scientific": (READ, "observations: 3"),
    "T16_char_cov": (READ, 'holds "M", which is not a number'),
    "T17_missing_cov": (REFUSED, "covariate WT is missing on all rows"),
    "T18_minus99": (READ, "WT of ID 2 is -99", "a code for a missing value"),
    "T19_dv_on_dose": (READ, "observations: 3"),
    "T20_duplicate_obs": (READ, "repeats a subject, time and observable"),
    "T21_tab": (REFUSED, "separated by tabs"),
    "T21b_nonmem_table": (REFUSED, "no column ID"),
    "T22_blank_lines": (READ, "observations: 6"),
    "T23_thousands": (REFUSED, 'AMT "1,000" is not a number'),
    "T25_visit_v": (REFUSED, "column `v`", "the parameter `V`"),
    "T25b_period_f1": (READ, "column `F1` replaces the parameter `F1`"),
    "T26_disease_duration": (READ, "DUR makes 1 doses infusions that last 7"),
    "T29_latin1": (REFUSED, "is not UTF-8"),
    "T29b_utf16": (REFUSED, "is not UTF-8"),
    "T31_blq_text": (READ, "censored: 1 of 3", '"<0.5"'),
    "T31b_BLQ_word": (READ, "censored: 1 of 3", '"BLQ"'),
    "T31c_NULL": (REFUSED, 'DV "NULL"', "CENS=1"),
    "T32_time_blank": (REFUSED, "TIME is missing"),
    "T33_unsorted": (REFUSED, "TIME 0.5 comes after TIME 4"),
    "T34_evid101": (REFUSED, "EVID 101 is none of 0, 1, 2, 3, 4"),
    "T35_no_obs_subject": (READ, "subjects: 2", "observations: 3"),
    "T36_excel_sep": (REFUSED, "separated by semicolons"),
    "T37_header_only": (REFUSED, "a header but no rows"),
    "T38_dup_columns": (REFUSED, "column `WT` appears twice"),
    "T38b_dup_case": (READ, "covariates: WT, wt"),
    "T38c_dv_Dv": (REFUSED, "both mean DV"),
    "T40_addl_no_ii": (REFUSED, "ADDL 5 needs an interval"),
    "T41_ii_no_addl": (READ, "II without ADDL or SS repeats nothing"),
    "T42_cmt_number_off": (REFUSED, "1 depot, 2 central"),
    "T43_rate_with_units": (REFUSED, 'AMT "100 mg" is not a number'),
    "T44_negative_dv": (READ, "observations: 3"),
    "T45_nonbreaking_space": (READ, "observations: 3"),
    "T46_unicode_minus": (REFUSED, "is not a number"),
    "T47_evid2_dv": (READ, "observations: 3"),
    "T48_time_string_h": (REFUSED, 'TIME "4h" is not a number'),
    "T49_hundred_col": (READ, "observations: 1"),
    "T50_tafd_and_ntime": (REFUSED, "did you mean `TAFD`"),
}
VOI = {
    "V01_no_flag": (READ, "nothing says whether values are decay-corrected", "1.024e+07"),
    "V02_mixed_flags": (READ, "decay-corrected values are taken to be at 0 h"),
    "V02b_flag_words": (REFUSED, '"ADMIN" is neither true nor false', "10.03"),
    "V02c_flag_yes_no": (READ, "68.09"),
    "V03_negative_time": (REFUSED, "time -1 h is negative"),
    "V04_pct_over_100": (READ, "5039 MBq are left of what was administered"),
    "V05_duplicate_times": (READ, "repeats a subject, VOI and time"),
    "V06_datetime": (REFUSED, "does not say its unit"),
    "V06b_clock_days": (REFUSED, '"10:00" is not a number'),
    "V07_unit_case": (REFUSED, 'unit "mbq" cannot be read'),
    "V07b_mCi": (READ, "3700"),
    "V07c_milli_bq": (READ, 'is "MBq" meant'),
    "V08_unit_suffix_bqml": (REFUSED, "did you mean `activity_Bqml`"),
    "V09_zero_negative": (READ, "the activity is negative"),
    "V10_nuclide": (READ, "no problems found"),
    "V11_semicolon": (REFUSED, "separated by semicolons"),
    "V12_admin_units": (REFUSED, "needs the administered activity"),
    "V12b_admin_missing": (REFUSED, "needs the administered activity"),
}
TIACS = {
    "S01_tiac_h": (READ, "kidneys                                2"),
    "S02_tiac_seconds": (READ, "kidneys                                2"),
    "S03_tiac_mbqh_per_mbq": (READ, "kidneys                                2"),
    "S03b_tiac_mbqh": (REFUSED, "MBq·h for each MBq given"),
    "S03c_with_activity": (REFUSED, "MBq·h for each MBq given"),
    "S04_more_than_physical": (REFUSED, "add up to 300 h", "230.15 h"),
    "S05_negative": (REFUSED, "not a number from 0 on"),
    "S06_singular_name": (REFUSED, "did you mean `kidneys`"),
    "S06b_duplicate": (REFUSED, "`kidneys` stands again"),
    "S06c_case_spaces": (READ, "red_marrow                           0.1"),
    "S08_no_unit_column": (REFUSED, "no column `unit`"),
}


def judge(ran, code, words):
    said = " ".join((ran.out + ran.err).split())
    assert ran.code == code, said
    assert "Traceback" not in said
    for word in words:
        assert " ".join(word.split()) in said, said


def test_every_case_is_decided():
    named = {p.stem for folder in ("tables", "voi") for p in (CASES / folder).iterdir()}
    no_masses = {"S07_mass0", "S07b_mass_unitless", "S07c_mass_kg"}  # tables like S01; what they show is --mass
    assert named == TABLES.keys() | VOI.keys() | TIACS.keys() | no_masses


@pytest.mark.parametrize("name", TABLES)
def test_an_event_table(pbpk, name):
    code, *words = TABLES[name]
    judge(pbpk("check", CASES / "tables" / f"{name}.csv", "--model", "oral_one_compartment"), code, words)


@pytest.mark.parametrize("name", VOI)
def test_a_table_of_volumes_of_interest(pbpk, name):
    code, *words = VOI[name]
    judge(pbpk("check", CASES / "voi" / f"{name}.csv", "--nuclide", "At-211"), code, words)


@pytest.mark.parametrize("name", TIACS)
def test_a_table_of_time_integrated_activities(pbpk, name):
    code, *words = TIACS[name]
    judge(
        pbpk("dosimetry", CASES / "voi" / f"{name}.csv", "--nuclide", "Lu-177", "--phantom", "adult-male"), code, words
    )


@pytest.mark.parametrize(
    ("name", "mass", "code", "word"),
    [
        ("S07_mass0", "kidneys=0 g", REFUSED, "kidneys"),
        ("S07b_mass_unitless", "kidneys=300", READ, "300"),
        ("S07c_mass_kg", "kidneys=0.3 kg", READ, "300"),
    ],
)
def test_masses(pbpk, name, mass, code, word):
    """A mass of 0 is refused; one without a unit is in g."""
    ran = pbpk(
        "dosimetry", CASES / "voi" / f"{name}.csv", "--nuclide", "Lu-177", "--phantom", "adult-male", "--mass", mass
    )
    judge(ran, code, [word])
