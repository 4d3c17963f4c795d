"""The information of a design against a closed form differentiated by sympy, and what it must do when the design changes."""

import numpy as np
import pytest

import pbpk
from pbpk.errors import BadInput, ScienceFailed, WrongUsage
from pbpk.optimal_design.spec import DesignSpec


@pytest.mark.parametrize("form", ["reduced", "full"])
def test_first_order_information_is_the_closed_form(oral, closed, form):
    result = pbpk.design(oral, form=form, subjects=32)
    np.testing.assert_allclose(result.information, 32 * closed.information([1, 4, 8], form=form), rtol=1e-7, atol=1e-8)
    assert result.value == pytest.approx(np.linalg.slogdet(result.information)[1], abs=1e-10)


def test_keywords_go_before_a_specification(oral):
    by_keywords = pbpk.design(oral, subjects=32)
    by_both = pbpk.design(oral, DesignSpec(subjects=5), subjects=32)
    assert by_both.to_json() | {"seconds": 0} == by_keywords.to_json() | {"seconds": 0}
    with pytest.raises(TypeError, match="patients"):
        pbpk.design(oral, patients=32)


def test_standard_errors_are_of_the_numbers_shown(oral, closed):
    """The residual SD is shown, its variance is what the information is of."""
    result = pbpk.design(oral, subjects=32).parameters.set_index("name")
    se = np.sqrt(np.diag(np.linalg.inv(32 * closed.information([1, 4, 8]))))
    np.testing.assert_allclose(result["se"][["CL", "V", "KA"]], se[:3], rtol=1e-6)
    assert result["se"]["prop"] == pytest.approx(se[6] / 0.2, rel=1e-6)
    np.testing.assert_allclose(result["rse"], 100 * result["se"] / result["value"])


def test_subjects_with_other_doses_and_times_add_up(planned, closed):
    lines = ("ID,TIME,AMT", "a,0,70", "a,1,", "a,4,", "b,0,70", "b,1,", "b,4,", "c,0,35", "c,2,", "c,6,", "c,30,")
    result = pbpk.design(planned(*lines))
    alone = 2 * closed.information([1, 4]) + closed.information([2, 6, 30], dose=35.0)
    np.testing.assert_allclose(result.information, alone, rtol=1e-6, atol=1e-6)
    assert result.subjects == 3
    assert result.schedules[0].times is None, "their times differ"


def test_observed_data_are_a_design_too(planned):
    """A table with DV counts the rows that have one."""
    lines = ("ID,TIME,AMT,DV", "1,0,70,", "1,1,,5", "1,4,,6", "1,8,,5", "1,9,,")
    observed = pbpk.design(planned(*lines), subjects=5)
    np.testing.assert_allclose(observed.value, pbpk.design(planned(), subjects=5).value, rtol=1e-12)


def test_around_simulated_eta_a_linear_model_has_the_same_information(planned):
    """cp is linear in a normal F1: then it does not matter where the model is linearised, and FO is exact (full form)."""
    text = """
model = "oral_one_compartment"
data = {{ file = "data.csv", observable = "cp", dose_into = "depot" }}
values = {{ CL = 0.15, V = 8.0, KA = 1.0 }}
[parameters]
F1 = {{ initial = 0.8, iiv = 0.04, distribution = "normal" }}
[error.cp]
model = "additive"
add = 0.5
"""
    folder = planned(text=text)
    fo, foce = (pbpk.design(folder, approximation=a, form="full", etas=8) for a in ("fo", "foce"))
    np.testing.assert_allclose(foce.information, fo.information, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_simulation_agrees_with_first_order_where_that_is_exact(planned):
    text = """
model = "oral_one_compartment"
data = {{ file = "data.csv", observable = "cp", dose_into = "depot" }}
values = {{ CL = 0.15, V = 8.0, KA = 1.0 }}
[parameters]
F1 = {{ initial = 0.8, iiv = 0.04, distribution = "normal" }}
[error.cp]
model = "additive"
add = 0.5
"""
    result = pbpk.design(planned(text=text), form="full", exact=True, replicates=4000, subjects=20)
    exact, first = result.exact, result.to_json()["standard_errors"]
    assert exact["lost"] == 0 and exact["mean_score_z"] < 4
    for name, se in exact["standard_errors"].items():
        error = exact["monte_carlo_errors"][name]
        assert 0 < error < 0.05 * se
        assert se == pytest.approx(first[name], abs=4 * error)


def test_a_covariate_effect_has_a_power(planned):
    folder = planned(
        *("ID,TIME,AMT,SEX", "1,0,70,0", "1,1,,0", "1,8,,0", "1,60,,0", "2,0,70,1", "2,1,,1", "2,8,,1", "2,60,,1"),
        text=STUDY_WITH_SEX,
    )
    result = pbpk.design(folder, subjects=40, power={"SEX_CL": 0.9}, rse={"CL": 0.05})
    row = result.parameters.set_index("name").loc["SEX_CL"]
    assert 0.05 < row["power"] < 1
    needed = {n["wanted"]: n["subjects"] for n in result.needed}
    enough = pbpk.design(folder, subjects=needed["power"]).parameters.set_index("name")
    assert 0.9 <= enough["power"]["SEX_CL"] < 0.92
    precise = pbpk.design(folder, subjects=needed["rse"]).parameters.set_index("name")
    assert 4.8 < precise["rse"]["CL"] <= 5.0
    fewer = pbpk.design(folder, subjects=needed["rse"] - 1).parameters.set_index("name")
    assert fewer["rse"]["CL"] > 5.0


STUDY_WITH_SEX = """
model = "oral_one_compartment"
data = {{ file = "data.csv", observable = "cp", dose_into = "depot" }}
[parameters]
V = {{ initial = 8.0, iiv = 0.02 }}
KA = {{ initial = 1.0, fixed = true }}
[parameters.CL]
initial = 0.15
iiv = 0.07
covariates = [{{ covariate = "SEX", form = "exponential", reference = 0, estimate = "SEX_CL", initial = 0.3 }}]
[error.cp]
model = "proportional"
prop = 0.1
"""


def test_what_cannot_be_told_is_named(planned):
    """Dose and samples long after absorption: KA is not seen, nor its variance. One sample: nothing is."""
    late = planned("ID,TIME,AMT", "1,0,70", "1,40,", "1,80,", "1,120,")
    with pytest.raises(ScienceFailed, match="KA"):
        pbpk.design(late)
    with pytest.raises(ScienceFailed, match=r"cannot tell|hardly see|say nothing"):
        pbpk.design(planned("ID,TIME,AMT", "1,0,70", "1,4,"))


def test_bad_questions_are_refused(planned, oral):
    pooled = STUDY_WITH_SEX.replace(", iiv = 0.02", "").replace("iiv = 0.07\n", "")
    data = ("ID,TIME,AMT,SEX", "1,0,70,0", "1,1,,0", "1,8,,0")
    with pytest.raises(BadInput, match="no random effects"):
        pbpk.design(planned(*data, text=pooled))
    with pytest.raises(BadInput, match="did you mean `OMEGA_CL`"):
        pbpk.design(oral, criterion="Ds", interest=["OMEGA_CLL"])
    with pytest.raises(WrongUsage, match="needs the parameters of interest"):
        pbpk.design(oral, criterion="Ds")
    with pytest.raises(WrongUsage, match="ED needs a prior"):
        pbpk.design(oral, criterion="ED")
    with pytest.raises(WrongUsage, match="where may the samples be"):
        pbpk.design(oral, samples=3)
    with pytest.raises(BadInput, match="the window 5 to 2 h is none"):
        pbpk.design(oral, samples=3, windows=[(5, 2)])
    with pytest.raises(BadInput, match="has no error model"):
        pbpk.design(oral, samples=3, windows=[(1, 5)], observables=["depot"])
    with pytest.raises(BadInput, match="do not fit"):
        pbpk.design(oral, samples=5, times=[1, 2, 3])
    counts = STUDY_WITH_SEX.replace('"proportional"\nprop = 0.1', '"poisson"').replace("[error.cp]", "[error.cp]")
    with pytest.raises(BadInput):
        pbpk.design(planned(*data, text=counts))


def test_a_sample_outside_its_window_is_refused(planned):
    lines = ("ID,TIME,AMT,TMIN,TMAX", "1,0,70,0,200", "1,1,,2,200", "1,4,,2,200", "1,8,,2,200")
    with pytest.raises(BadInput, match=r"row 3.*outside its window"):
        pbpk.design(planned(*lines), optimise=True)
