"""What fit.toml may hold, and what is said of the rest."""

from pathlib import Path

import pytest

from pbpk.errors import BadInput
from pbpk.observe.variances import VARIANCE_PARAMETERS, VARIANCES
from pbpk.study.schema import ErrorPart, read_study_spec

HERE = Path("fits/mine/fit.toml")
GOOD = {
    "model": "iv_one_compartment",
    "parameters": {"CL": {"initial": 2.0, "iiv": 0.1}, "V": {}},
    "error": {"cp": {"model": "additive", "add": 1.0}},
}


def refused(changes, *words):
    with pytest.raises(BadInput) as caught:
        read_study_spec(GOOD | changes, HERE)
    text = caught.value.render()
    assert str(HERE) in text
    for word in words:
        assert word in text, (word, text)


def test_defaults():
    spec = read_study_spec(GOOD, HERE)
    assert (spec.data.file, spec.estimation.method, spec.estimation.standard_errors) == ("data.csv", "focei", "R")
    assert spec.parameters["V"].iiv is None
    assert spec.parameters["V"].distribution == "lognormal"
    assert spec.omega.blocks == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modle": "x"}, ["`modle` is not a setting of a fit", "did you mean `model`"]),
        ({"data": {"fil": "x"}}, ["`data.fil`", "did you mean `file`"]),
        ({"parameters": {"CL": {"inital": 2.0}}}, ["`parameters.CL.inital`", "did you mean `initial`"]),
        ({"omega": {"block": []}}, ["`omega.block`", "did you mean `blocks`"]),
        ({"error": {"cp": {"model": "additive", "ad": 1.0}}}, ["`error.cp.ad`", "did you mean `add`"]),
        ({"estimation": {"methd": "fo"}}, ["`estimation.methd`", "did you mean `method`"]),
        (
            {"parameters": {"CL": {"covariates": [{"covariate": "WT", "form": "power", "reference": 1, "coef": 1}]}}},
            ["coef", "did you mean `coefficient`"],
        ),
    ],
)
def test_a_misspelt_key_is_named_with_the_right_one(changes, words):
    refused(changes, *words)


def test_the_parameters_of_error_models_are_declared_once():
    assert {name for names, _ in VARIANCES.values() for name in names} <= set(VARIANCE_PARAMETERS)
    assert set(VARIANCE_PARAMETERS) <= set(ErrorPart.model_fields)
    assert set(VARIANCE_PARAMETERS) <= set(ErrorPart(model="additive").numbers())


@pytest.mark.parametrize("key", [k for k in GOOD if k != "error"])  # a study of summaries has none
def test_what_must_be_there(key):
    with pytest.raises(BadInput, match=f"`{key}` is missing"):
        read_study_spec({k: v for k, v in GOOD.items() if k != key}, HERE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parameters": {"CL": {"iiv": 0.0}}}, ["parameters.CL.iiv", "greater than 0"]),
        ({"parameters": {"CL": {"initial": float("nan")}}}, ["parameters.CL.initial"]),
        ({"estimation": {"standard_errors": "Q"}}, ["estimation.standard_errors", "'Q'"]),
    ],
)
def test_a_value_that_cannot_be(changes, words):
    refused(changes, *words)
