"""summary.csv: what is read, and what is refused, with its row."""

import numpy as np
import pytest

from pbpk.aggregate_data.rows import convert_cv_to_sd, read_rows
from pbpk.errors import BadInput
from pbpk.study.summary_schema import SummaryPart

PART = SummaryPart.model_validate(
    {
        "groups": {"a": {"n": 10, "dose": "1 mg"}, "b": {"dose": "1 mg"}},
        "quantities": {"auc": {"kind": "integral"}, "peak": {"kind": "value"}},
        "responses": {"dlt": {"exposure": "auc", "E50": {"initial": 1}, "slope": {"initial": 1}}},
    }
)
HEAD = "group,quantity,statistic,value,unit,n,error,status,use,source"


@pytest.fixture
def read(tmp_path):
    def read(*lines, head=HEAD):
        (tmp_path / "summary.csv").write_text("\n".join([head, *lines]) + "\n")
        return read_rows(tmp_path / "summary.csv", PART)

    return read


def test_rows_are_read(read):
    rows = read(
        "a,auc,mean,12.50,mg*h/L,,0.2,published,,x2020",
        "a,auc,cv,30,%,,,published,,x2020",
        "a,auc,range,9.1 to 14,mg*h/L,,,published,no,x2020",
        "b,peak,median,3,mg/L,7,,inferred,,x2020",
        "b,peak,quantile:0.25,2,mg/L,7,,published,,x2020",
        "b,auc ~ peak,correlation,0.6,1,7,,published,,x2020",
        "a,dlt,proportion,3/10,1,,,assumed,,x2020",
        "b,dlt,proportion,33,%,6,,published,,x2020",
    )
    assert [r.statistic for r in rows[:4]] == ["mean", "cv", "min", "max"]
    assert (rows[0].n, rows[0].error, rows[0].step) == (10, 0.2, 0.01) and not rows[2].used
    assert (rows[4].rank, rows[5].rank, rows[3].rank) == (4.0, 2.5, 10.0)
    assert (rows[6].quantity, rows[6].other) == ("auc", "peak") and rows[7].value == pytest.approx(0.3)
    sd = convert_cv_to_sd(rows)[1]
    assert (sd.statistic, sd.unit) == ("sd", "mg*h/L") and sd.value == pytest.approx(3.75)
    assert sd.step == pytest.approx(0.125) and np.isclose(rows[1].value, 30)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("c,auc,mean,1,mg*h/L,5,,published,,x", "no group `c`"),
        ("a,acu,mean,1,mg*h/L,5,,published,,x", "did you mean `auc`"),
        ("a,auc,average,1,mg*h/L,5,,published,,x", "no statistic `average`"),
        ("b,auc,mean,1,mg*h/L,,,published,,x", "n is missing"),
        ("b,auc,mean,1,mg*h/L,2.5,,published,,x", "n = 2.5 is no number of patients"),
        ("a,auc,sd,1,mg*h/L,,,published,,x", "a sd without the mean of `auc`"),
        ("a,auc,geometric_cv,0.3,1,,,published,,x", "without the geometric_mean"),
        ("a,auc,sd,-1,mg*h/L,,,published,,x", "must be above 0"),
        ("b,auc,max,1,mg*h/L,1,,published,,x", "a max of 1 patient"),
        ("b,auc ~ peak,correlation,0.5,1,3,,published,,x", "a correlation of 3 patients"),
        ("a,auc ~ peak,correlation,1.5,1,,,published,,x", "a correlation of 1.5"),
        ("a,auc,correlation,0.5,1,,,published,,x", "a correlation is of two quantities"),
        ("a,dlt,proportion,1.2,1,,,published,,x", "1.2 is not between 0 and 1"),
        ("a,dlt,proportion,0.25,1,,,published,,x", "no number of 10 patients makes"),
        ("a,dlt,proportion,3/9,1,,,published,,x", "is not of the 10 patients"),
        ("a,dlt,mean,0.2,1,,,published,,x", "a response has only a proportion"),
        ("a,auc,proportion,0.2,1,,,published,,x", "a proportion is of a response"),
        ("a,auc,quantile:1.5,2,mg*h/L,,,published,,x", "a quantile of `1.5`"),
        ("a,auc,range,2,mg*h/L,,,published,,x", "cannot be read"),
        ("a,auc,median,2,mg*h/L,,0.1,published,,x", "an `error` goes with means and SDs"),
        ("a,auc,mean,2,mg*h/L,,-1,published,,x", "error = -1 is negative"),
        ("a,auc,mean,two,mg*h/L,,,published,,x", "`two` is not a number"),
        ("a,auc,mean,2,mg*h/L,,,guessed,,x", "status `guessed`"),
        ("a,auc,mean,2,mg*h/L,,,published,maybe,x", "neither yes nor no"),
        ("a,auc,mean,2,mg*h/L,,,published,,", "has no source"),
    ],
)
def test_what_no_patients_can_give_is_refused(read, line, says):
    with pytest.raises(BadInput) as refused:
        read(line)
    assert says in str(refused.value) and "row 2" in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["a,auc,mean,1,h,,,published,,x", "a,auc,mean,2,h,,,published,,x"], "says again what row 2 says"),
        (["a,auc,mean,1,h,,,published,,x", "a,auc,median,2,h,,,published,,x"], "both moments and a median"),
        (["a,auc,min,3,h,,,published,,x", "a,auc,median,2,h,,,published,,x"], "out of order"),
        (["a,auc,min,1,h,5,,published,,x", "a,auc,max,2,h,6,,published,,x"], "n = 5, and 6 in row 3"),
    ],
)
def test_rows_that_do_not_go_together_are_refused(read, lines, says):
    with pytest.raises(BadInput, match=says.replace("(", r"\(")):
        read(*lines)


def test_columns_are_known(read):
    with pytest.raises(BadInput, match="no column `sigma`"):
        read("a,auc,mean,1,h,,,published,,x,2", head=HEAD + ",sigma")
    with pytest.raises(BadInput, match="column `unit` is missing"):
        read("a,auc,mean,1,published,x", head="group,quantity,statistic,value,status,source")
