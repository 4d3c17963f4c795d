"""What a study says of columns and limits: refused where a fit would go on from a misunderstanding."""

import numpy as np
import pytest

from pbpk.errors import BadInput

STUDY = """
model = "iv_one_compartment"
[data]
dose_into = "central"
{data}
[parameters]
CL = {{ initial = 4.0, iiv = 0.1 {effect} }}
V = {{ initial = 25.0 }}
[error.cp]
model = "combined2"
prop = 0.2
add = 0.05
{limit}
"""


def study(make, *lines, data="", limit="", effect="", **how):
    return make(STUDY.format(data=data, limit=limit, effect=effect), *lines, **how)


def test_a_column_that_replaces_what_is_estimated(make):
    lines = ["ID,TIME,AMT,DV,V", "1,0,100,.,1", "1,1,.,3,2"]
    with pytest.raises(BadInput, match="would replace the parameter `V`, which the study estimates"):
        study(make, *lines)
    assert study(make, *lines, data='ignore = ["V"]').events.overrides == ()
    assert study(make, *lines, data='columns = { V = "V" }').events.overrides == ("V",)


def test_a_limit_that_nothing_gives(make):
    """CENS = 1 with DV 0, or BLQ: below what? A limit for all makes it one."""
    for cell in ("0,1", "BLQ,."):
        lines = ["ID,TIME,AMT,DV,CENS", "1,0,100,.,.", "1,1,.,3,0", f"1,9,.,{cell}"]
        with pytest.raises(BadInput, match="below a limit of quantification that nothing gives") as caught:
            study(make, *lines)
        assert "row 4 (ID 1)" in caught.value.where and "[error.cp] lloq" in caught.value.hint
        frame = study(make, *lines, limit="lloq = 0.3").events.frame
        assert frame["DV"].iloc[2] == 0.3 and frame["CENS"].tolist() == [0, 0, 1]


def test_rows_left_out_and_split(make):
    lines = ["ID,TIME,AMT,DV,SD", "1,0,100,.,1", "1,1,.,3,1", "1,2,.,9,0", "1,3,50,2,1"]
    frame = study(make, *lines, data='ignore_rows = "SD == 0"\nsplit_dose_rows = true').events.frame
    assert frame.loc[frame["MDV"] == 0, "DV"].tolist() == [3.0, 2.0]
    with pytest.raises(BadInput, match="is no condition on a row"):
        study(make, *lines, data='ignore_rows = "SD"')


def test_text_in_a_covariate(make):
    effect = (
        ', covariates = [{ covariate = "SEX", form = "equals", reference = 1, estimate = "CL_SEX", initial = 0.1 }]'
    )
    with pytest.raises(BadInput) as caught:
        study(make, "ID,TIME,AMT,DV,SEX", "1,0,100,.,M", "1,1,.,3,M", effect=effect)
    assert 'row 2 holds "M", which is not a number' in caught.value.hint and 'reference = "F"' in caught.value.hint


@pytest.mark.parametrize("weight", ["0", "-99"])
def test_a_covariate_that_a_power_cannot_take(make, weight):
    effect = ', covariates = [{ covariate = "WT", form = "power", reference = 70, coefficient = 0.75 }]'
    with pytest.raises(BadInput) as caught:
        study(
            make,
            "ID,TIME,AMT,DV,WT",
            "1,0,100,.,70",
            "1,1,.,3,70",
            f"2,0,100,.,{weight}",
            f"2,1,.,3,{weight}",
            effect=effect,
        )
    assert "row 4 (ID 2)" in caught.value.where and "WT" in caught.value.what


CATEGORY = ', covariates = [{ covariate = "SEX", form = "equals", reference = "F", estimate = "CL_F", initial = 0.1 }]'
WORDS = ["ID,TIME,AMT,DV,SEX", "1,0,100,.,F", "1,1,.,3,", "2,0,100,.,M", "2,1,.,4,M", "3,0,100,.,F", "3,1,.,3.2,F"]
CODED = [row.replace(",F", ",1").replace(",M", ",2") for row in WORDS]


def test_a_category_in_words(make, evaluate):
    """The same objective as with the categories written as numbers; unknown ones are named."""
    from pbpk.estimation.methods import get_method

    words, numbers = (
        study(make, *rows, effect=effect).problem
        for rows, effect in ((WORDS, CATEGORY), (CODED, CATEGORY.replace('"F"', "1")))
    )
    a, b = (float(evaluate(get_method("focei"), p).objective.sum()) for p in (words, numbers))
    assert a == b
    theta = words.unpack(words.initial_unconstrained)[0]
    clearance = np.asarray(words.individual_parameters(theta, np.zeros((1, 3))))[0]
    np.testing.assert_allclose(clearance, [4.4, 4.0, 4.4], rtol=1e-12)
    with pytest.raises(BadInput, match="no record has the SEX `W`"):
        study(make, *WORDS, effect=CATEGORY.replace('"F"', '"W"'))
    with pytest.raises(BadInput, match="power takes no category"):
        study(make, *WORDS, effect=CATEGORY.replace("equals", "power"))


def test_an_effects_initial_value_is_set_by_its_name(make):
    problem = study(make, *WORDS, effect=CATEGORY, settings={"CL_F": "0.4"}).problem
    assert problem.initial[problem.structure.layout.names.index("CL_F")] == 0.4
