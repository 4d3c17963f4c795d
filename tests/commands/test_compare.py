"""`pbpk compare`: criteria worked out by hand, tests where models are nested and words where they are not, and refusals."""

import csv
import json
import math

import pytest
from scipy.stats import chi2

import pbpk

from .written_runs import ESTIMATES, FIT, OBSERVATIONS, SUBJECTS, change, observations, write_run

LN2PI = math.log(2 * math.pi)
WITH_Q = change(FIT, {"[error.cp]": "[parameters.Q]\ninitial = 4.0\n[error.cp]"})
BOTH_VARY = change(FIT, {"initial = 20.0": "initial = 20.0\niiv = 0.1"})
COMBINED = change(FIT, {'"proportional"': '"combined2"', "prop = 0.2": "prop = 0.2\nadd = 0.1"})
EFFECT = 'covariates = [{ covariate = "WT", form = "power", reference = 70, estimate = "CL_WT", initial = 0.5 }]'
WITH_WT = change(FIT, {"iiv = 0.1": f"iiv = 0.1\n{EFFECT}"})


@pytest.fixture
def two(tmp_path, pbpk):
    """`two(first, second)` writes runs `a` and `b` with those keywords and compares them: the command, its code aside."""

    def two(first, second, *words):
        write_run(tmp_path / "a", **first)
        write_run(tmp_path / "b", **second)
        return pbpk("compare", "a", "b", "--json", *words)

    return two


def the_test(ran):
    (found,) = ran.json["likelihood_ratio_tests"]
    return found


# -- numbers -------------------------------------------------------------------------------------------------------------


def test_criteria_by_hand(two):
    """Run b estimates Q too: 5 parameters where a has 4, and an OFV lower by 5."""
    ran = two({}, {"ofv": 95.0, "fit": WITH_Q, "estimates": ESTIMATES | {"Q": 4.4}})
    assert ran.code == 0 and ran.json["comparable"] is True and ran.json["warnings"] == []
    a, b = ran.json["runs"]
    assert (a["label"], a["run"], b["parameters"]) == ("a", "a", 5)
    assert (a["ofv"], a["delta_ofv"], b["delta_ofv"]) == (100.0, 0.0, -5.0)
    assert b["minus2ll"] == pytest.approx(95 + 20 * LN2PI, rel=1e-14)
    assert a["aic"] == pytest.approx(100 + 20 * LN2PI + 8, rel=1e-14)
    assert b["aic"] == pytest.approx(95 + 20 * LN2PI + 10, rel=1e-14)
    assert (a["delta_aic"], b["delta_aic"]) == (pytest.approx(3.0), pytest.approx(0.0))
    assert a["bic"] == pytest.approx(100 + 20 * LN2PI + 4 * math.log(20), rel=1e-14)
    assert b["bic"] == pytest.approx(95 + 20 * LN2PI + 5 * math.log(20), rel=1e-14)
    assert a["bicc"] == pytest.approx(100 + 20 * LN2PI + 2 * math.log(4) + 2 * math.log(20), rel=1e-14)  # CL, its ω²
    assert a["akaike_weight"] == pytest.approx(math.exp(-1.5) / (1 + math.exp(-1.5)), rel=1e-12)
    assert a["akaike_weight"] + b["akaike_weight"] == pytest.approx(1, rel=1e-14)
    assert (a["condition_number"], a["epsilon_shrinkage"], a["eta_shrinkage"]) == (2.5, 0.11, {"CL": 0.05})


def test_the_likelihood_ratio_test_is_scipys(two):
    found = the_test(two({}, {"ofv": 95.0, "fit": WITH_Q, "estimates": ESTIMATES | {"Q": 4.4}}))
    assert (found["nested"], found["smaller"], found["larger"], found["freed"]) == (True, "a", "b", ["Q"])
    assert (found["statistic"], found["degrees"], found["edges"]) == (5.0, 1, [])
    assert found["p_value"] == pytest.approx(chi2.sf(5, 1), rel=1e-12)
    assert found["p_value_on_edge"] is None


def test_a_larger_first_run_is_tested_as_well(two):
    found = the_test(two({"ofv": 95.0, "fit": WITH_Q, "estimates": ESTIMATES | {"Q": 4.4}}, {}))
    assert (found["smaller"], found["larger"], found["statistic"]) == ("b", "a", 5.0)


def test_a_variance_at_zero_is_on_an_edge(two):
    """Self & Liang: half χ² with no degree of freedom, half with one."""
    found = the_test(two({}, {"ofv": 98.0, "fit": BOTH_VARY, "estimates": ESTIMATES | {"OMEGA_V": 0.04}}))
    assert (found["freed"], found["edges"]) == (["OMEGA_V"], ["OMEGA_V"])
    assert found["p_value"] == pytest.approx(chi2.sf(2, 1), rel=1e-12)
    assert found["p_value_on_edge"] == pytest.approx(chi2.sf(2, 1) / 2, rel=1e-12)


def test_a_variance_and_its_covariance(two):
    """Stram & Lee: half χ² with one degree of freedom, half with two."""
    block = change(BOTH_VARY, {"[error.cp]": '[omega]\nblocks = [["CL", "V"]]\n[error.cp]'})
    estimates = ESTIMATES | {"OMEGA_V_CL": 0.01, "OMEGA_V": 0.04}
    found = the_test(two({}, {"ofv": 93.0, "fit": block, "estimates": estimates}))
    assert (found["degrees"], found["edges"]) == (2, ["OMEGA_V"])
    assert found["p_value_on_edge"] == pytest.approx((chi2.sf(7, 1) + chi2.sf(7, 2)) / 2, rel=1e-12)


def test_two_edges_have_no_such_mixture(two):
    fit = change(BOTH_VARY, {'"proportional"': '"combined1"', "prop = 0.2": "prop = 0.2\nadd = 0.1"})
    ran = two({}, {"ofv": 90.0, "fit": fit, "estimates": ESTIMATES | {"OMEGA_V": 0.04, "add": 0.1}})
    found = the_test(ran)
    assert found["edges"] == ["OMEGA_V", "add of cp"] and found["p_value_on_edge"] is None
    assert found["p_value"] == pytest.approx(chi2.sf(10, 2), rel=1e-12)


@pytest.mark.parametrize(
    ("fit", "estimates", "varying"),
    [
        (FIT, ESTIMATES, 2),
        (WITH_WT, {**ESTIMATES, "CL_WT": 0.7}, 3),  # an effect on what varies counts with it
        (change(FIT, {"iiv = 0.1\n": "", "initial = 20.0": f"initial = 20.0\n{EFFECT}"}), {"CL": 2.0, "CL_WT": 1.0}, 0),
        (BOTH_VARY, {**ESTIMATES, "OMEGA_V": 0.1}, 4),
    ],
)
def test_what_bicc_counts_by_subjects(two, fit, estimates, varying):
    a = two({"fit": fit, "estimates": estimates}, {}).json["runs"][0]
    rest = len(estimates) - varying
    wanted = 100 + 20 * LN2PI + varying * math.log(SUBJECTS) + rest * math.log(OBSERVATIONS)
    assert a["bicc"] == pytest.approx(wanted, rel=1e-14)


# -- nested or not -------------------------------------------------------------------------------------------------------

Q = {"Q": 4.4}
NESTED = {
    "a constant of the model": ({}, {"fit": WITH_Q, "estimates": ESTIMATES | Q}, ["Q"]),
    "held by its spec": (
        {"fit": change(WITH_Q, {"initial = 4.0": "fixed = true"}), "estimates": ESTIMATES | {"Q": 5.0}, "held": ("Q",)},
        {"fit": WITH_Q, "estimates": ESTIMATES | Q},
        ["Q"],
    ),
    "held at another value": ({"settings": {"Q": "90 mL/min"}}, {"fit": WITH_Q, "estimates": ESTIMATES | Q}, ["Q"]),
    "the same constant in two units": (
        {"settings": {"Q": "60 mL/min"}},
        {"settings": {"Q": "3.6"}, "fit": BOTH_VARY, "estimates": ESTIMATES | {"OMEGA_V": 0.1}},
        ["OMEGA_V"],
    ),
    "an effect of a covariate": (
        {},
        {"fit": WITH_WT, "estimates": ESTIMATES | {"CL_WT": 0.7}},
        ["effect of WT on CL (power, reference 70)"],
    ),
    "a part of the error": ({}, {"fit": COMBINED, "estimates": ESTIMATES | {"add": 0.2}}, ["add of cp"]),
}


@pytest.mark.parametrize(("small", "large", "freed"), NESTED.values(), ids=NESTED)
def test_nested(two, small, large, freed):
    found = the_test(two(small, large | {"ofv": 96.0}))
    assert (found["nested"], found["freed"], found["reason"]) == (True, freed, "")
    assert found["p_value"] == pytest.approx(chi2.sf(4, len(freed)), rel=1e-12)


LARGE = {"fit": WITH_Q, "estimates": ESTIMATES | Q, "ofv": 95.0}
APART = {
    "another variant": (
        {"options": {"retention": "nis"}},
        LARGE | {"options": {"retention": "bound"}},
        "option retention",
    ),
    "another model": ({"model": "iv_one_compartment"}, LARGE, "different models"),
    "other equations": ({"structure": "others"}, LARGE, "files of their model"),
    "other data files": ({"data": "others"}, LARGE, "data files"),
    "another reading of the data": ({"settings": {"data.dose_into": "gut"}}, LARGE, "[data] differs"),
    "another constant": (
        {"settings": {"Q": "7"}},
        LARGE | {"fit": BOTH_VARY, "estimates": ESTIMATES | {"OMEGA_V": 0.1}},
        "Q is 7 in a and 5 in b",
    ),
    "others estimated": (
        {"estimates": {"CL": 2.1, "V": 21.0, "prop": 0.1}},
        {"fit": WITH_Q, "estimates": {"CL": 2.0, "V": 20.0, "Q": 4.0, "prop": 0.1}, "held": ("V",)},
        "V is estimated in a and 20 in b",
    ),
    "the same parameters": ({}, {}, "they estimate the same parameters"),
    "another distribution": (
        {"fit": change(FIT, {"iiv = 0.1": 'iiv = 0.1\ndistribution = "normal"'})},
        LARGE,
        "distribution of CL is normal in a and lognormal in b",
    ),
    "SDs that add and variances that add": (
        {"fit": change(COMBINED, {"combined2": "combined1"}), "estimates": ESTIMATES | {"add": 0.2}},
        LARGE
        | {
            "fit": change(COMBINED, {"[error.cp]": "[parameters.Q]\ninitial = 4.0\n[error.cp]"}),
            "estimates": ESTIMATES | Q | {"add": 0.2},
        },
        "how SDs add up in cp is combined1 in a and combined2 in b",
    ),
}


@pytest.mark.parametrize(("first", "second", "why"), APART.values(), ids=APART)
def test_not_nested_is_said_in_words_and_has_no_p_value(two, pbpk, first, second, why):
    ran = two(first, second)
    found = the_test(ran)
    assert ran.code == 0 and ran.json["comparable"] is True
    assert found["nested"] is False and why in found["reason"], found
    assert found["p_value"] is None and found["statistic"] is None
    assert all(r["akaike_weight"] is not None for r in ran.json["runs"]), "AIC needs no nesting"
    text = " ".join(pbpk("compare", "a", "b").out.split())
    assert "are not nested" in text and "AIC and BIC apply" in text and "p =" not in text


def test_a_larger_model_that_fits_worse_stands_at_a_local_minimum(two):
    found = the_test(two({}, LARGE | {"ofv": 101.0}))
    assert found["nested"] is True and found["p_value"] is None
    assert "local minimum" in found["reason"] and "1.000" in found["reason"]


# -- what must not be compared -------------------------------------------------------------------------------------------

NULL = ("delta_ofv", "aic", "delta_aic", "akaike_weight", "bic", "bicc")


def left_out(run):
    return run["comparable"] is False and all(run[k] is None for k in NULL)


def test_objective_functions_of_two_methods(two):
    ran = two({}, {"method": "fo", "ofv": 50.0})
    assert ran.code == 1 and ran.json["comparable"] is False
    assert left_out(ran.json["runs"][1]) and not left_out(ran.json["runs"][0])
    assert ran.json["runs"][1]["ofv"] == 50.0, "its own number is still there"
    assert ran.json["likelihood_ratio_tests"] == []
    (said,) = ran.json["warnings"]
    assert said.startswith("NOT COMPARABLE: b was fitted by FO and a by FOCEI") and "own approximation" in said
    assert said in ran.err, "loudly: on stderr too"


def test_a_map_fit_has_no_likelihood(two):
    ran = two({"method": "map"}, {"method": "map"})
    assert ran.code == 1 and all(left_out(r) for r in ran.json["runs"])
    assert "so there is no greatest likelihood" in ran.json["warnings"][0]


def test_other_observations(two, pbpk):
    """Three of them left out: the OFV falls, the model is no better."""
    ran = two({}, {"ofv": 80.0, "table": observations(without=3)})
    assert ran.code == 1 and left_out(ran.json["runs"][1])
    (said,) = ran.json["warnings"]
    assert "3 of 20 only in a (ID 1 at 0.5 h" in said and "only in b" not in said
    text = pbpk("compare", "a", "b")
    assert text.code == 1 and text.out.startswith("NOT COMPARABLE: b was fitted to other observations than a")
    assert "2.100 (10.0 %)" in text.out, "the estimates stand side by side all the same"


def test_an_observation_that_was_changed(two):
    other = observations()
    other.loc[7, "DV"] *= 1.1
    (said,) = two({}, {"table": other}).json["warnings"]
    assert "1 of 20 only in a (ID 2 at 2 h, DV 4.094)" in said and "1 of 20 only in b (ID 2 at 2 h, DV 4.503)" in said


def test_the_same_observations_in_other_units_and_another_order_are_the_same(two):
    fit = change(FIT, {'TIME = "h"': 'TIME = "min"', 'DV = "mg/L"': 'DV = "ng/mL"'})
    ran = two({}, {"fit": fit, "table": observations(scale=1000, clock=60).iloc[::-1]})
    assert ran.code == 0 and ran.json["comparable"] is True


def test_another_data_file_with_the_same_observations_is_a_caution(two):
    ran = two({}, LARGE | {"data": "the records, and a covariate"})
    assert ran.code == 0 and ran.json["comparable"] is True
    assert ran.json["warnings"] == [
        "Caution: the data files of a and b differ, though every observation is the same: their doses or covariates may not be."
    ]


def test_what_a_run_warned_of_is_said_again(two):
    ran = two({}, LARGE | {"warnings": ["the R matrix is not positive definite"]})
    assert ran.json["warnings"] == ["Caution: b: the R matrix is not positive definite."]


def test_a_run_that_is_not_minimised_has_no_weight_and_no_test(two):
    ran = two({}, LARGE | {"minimization_successful": False, "termination_cause": "iteration limit"})
    assert ran.code == 1 and ran.json["comparable"] is True
    a, b = ran.json["runs"]
    assert (a["akaike_weight"], b["akaike_weight"]) == (1.0, None) and b["aic"] is not None
    assert the_test(ran)["p_value"] is None and "not minimised" in the_test(ran)["reason"]
    assert "b is not minimised (iteration limit)" in ran.json["warnings"][0]


def test_among_three_the_two_that_can_be_compared_are(pbpk, tmp_path):
    for name, how in {"a": {}, "b": {"method": "fo"}, "c": LARGE}.items():
        write_run(tmp_path / name, **how)
    ran = pbpk("compare", "a", "b", "c", "--json")
    weights = [r["akaike_weight"] for r in ran.json["runs"]]
    assert ran.code == 1 and weights[1] is None and weights[0] + weights[2] == pytest.approx(1)
    assert [(t["first"], t["other"]) for t in ran.json["likelihood_ratio_tests"]] == [("a", "c")]


# -- what is printed and written -----------------------------------------------------------------------------------------


def test_text(two, pbpk):
    two({}, LARGE)
    ran = pbpk("compare", "a", "b")
    assert ran.code == 0 and ran.err == ""
    for part in ("ΔOFV against a", "−5.000", "BIC (n = observations)", "η-shrinkage of CL", "5.000 %", "Q", "–"):
        assert part in ran.out
    text = " ".join(ran.out.split())
    assert "a is nested in b, which also estimates Q: ΔOFV 5.000 on 1 degree of freedom, p = 0.0253 (χ²)." in text
    assert "Lowest AIC: b" in text


def test_parameters_side_by_side(two, tmp_path):
    ran = two({}, LARGE | {"held": ("V",)}, "--out", "table.csv")
    found = ran.json["parameters"]
    assert found["CL"]["a"] == {
        "unit": "L/h",
        "estimate": 2.1,
        "se": pytest.approx(0.21),
        "rse": 10.0,
        "shrinkage": None,
        "fixed": False,
    }
    assert "a" not in found["Q"] and found["Q"]["b"]["estimate"] == 4.4
    assert found["V"]["b"]["fixed"] is True and found["V"]["b"]["se"] is None
    assert found["OMEGA_CL"]["a"]["shrinkage"] == 5.0
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["name"] for r in rows] == ["CL", "V", "Q", "OMEGA_CL", "prop"]
    assert rows[0]["a.estimate"] == "2.1" and rows[2]["a.estimate"] == "" and rows[2]["b.rse"] == "10.0"


def test_library(two, tmp_path, monkeypatch):
    ran = two({}, LARGE)
    found = pbpk.compare([tmp_path / "a", tmp_path / "b"])
    assert list(found.table["name"]) == ["CL", "V", "Q", "OMEGA_CL", "prop"]
    assert found.statistics.loc["b", "delta_ofv"] == -5.0
    monkeypatch.chdir(tmp_path)
    there = pbpk.compare(["a", "b"]).to_dict()
    ours = {k: v for k, v in ran.json.items() if k != "schema_version"}
    assert json.loads(json.dumps(there).replace("NaN", "null")) == ours


def test_runs_by_their_short_names(pbpk, tmp_path):
    runs = tmp_path / "fits" / "mine" / "runs"
    write_run(runs / "001")
    write_run(runs / "002", **LARGE)
    write_run(tmp_path / "fits" / "other" / "runs" / "002", ofv=97.0, study="other")
    short = pbpk("compare", "mine/001", "mine", "--json").json["runs"]
    assert [(r["label"], r["run"]) for r in short] == [("001", "fits/mine/runs/001"), ("002", "fits/mine/runs/002")]
    long = pbpk("compare", "mine/002", "other/002", "--json").json["runs"]
    assert [r["label"] for r in long] == ["mine/002", "other/002"]


# -- refusals ------------------------------------------------------------------------------------------------------------


def test_refused(refused, tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "fits/mine/runs/001")
    (tmp_path / "fits/mine/runs/002.partial").mkdir()
    (tmp_path / "fits/mine/runs/002.partial/run.json").write_text("{}")
    (tmp_path / "table.csv").write_text("mine")
    refused(2, "nothing to be compared with", "two or more")("compare", "a")
    refused(2, "a is given twice")("compare", "a", "./a")
    refused(3, "no run `b`")("compare", "a", "b")
    refused(3, "no run `mine/003`", "mine/001")("compare", "a", "mine/003")
    refused(3, "is not finished", "pbpk fit fits/mine/runs/002.partial --resume")("compare", "a", "mine/002")
    refused(3, "table.csv", "exists already")("compare", "a", "mine", "--out", "table.csv")
    refused(3, "nowhere/table.csv", "cannot be written")("compare", "a", "mine", "--out", "nowhere/table.csv")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("results.json", "{", "is not valid JSON"),
        ("results.json", "{}", "has no `schema_version`"),
        ("sdtab.csv", "ID,TIME\n1,0\n", "has no column `DVID`"),
        ("run.json", "[]", "is not a JSON object"),
        ("fit.toml", "model = ", "is not valid TOML"),
        ("parameters.csv", "name,estimate\n", "holds no parameters"),
    ],
)
def test_a_spoilt_run(refused, tmp_path, name, text, told):
    write_run(tmp_path / "a")
    (write_run(tmp_path / "b") / name).write_text(text)
    refused(3, name, told)("compare", "a", "b")


def test_an_objective_in_another_unit_is_set_in_that_of_the_first(two):
    """20 values in ng/mL: each density is 1000 times smaller, so that run's own OFV is 40 ln 1000 higher for the same fit."""
    fit = change(FIT, {'TIME = "h"': 'TIME = "min"', 'DV = "mg/L"': 'DV = "ng/mL"'})
    table = observations(scale=1000, clock=60)
    shift = 40 * math.log(1000)
    ran = two(
        {"ofv_units": {"cp": "mg/L"}},
        {"fit": fit, "table": table, "ofv": 97.0 + shift, "ofv_units": {"cp": "ng/mL"}},
    )
    a, b = ran.json["runs"]
    assert ran.json["comparable"] is True and b["delta_ofv"] == pytest.approx(-3.0, abs=1e-9)
    assert b["delta_aic"] - a["delta_aic"] == pytest.approx(-3.0, abs=1e-9)
    assert "in the unit of a" in ran.json["warnings"][0]


def test_runs_that_censor_differently_are_not_compared(two):
    """The same DVs: in one run two of them are limits."""
    limited = observations().assign(CENS=0)
    limited.loc[limited.index[:2], "CENS"] = 1
    ran = two({}, {"table": limited})
    assert ran.code == 1 and ran.json["comparable"] is False
    assert "2 of 20 censored" in ran.json["warnings"][0]
