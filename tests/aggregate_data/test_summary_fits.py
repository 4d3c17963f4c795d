"""Fits to aggregates: against closed forms, by themselves and with individual data, and what a study may not say."""

import json

import numpy as np
import pytest

import pbpk
from pbpk.aggregate_data.identifiability import describe_identifiability
from pbpk.aggregate_data.method import combine_with_aggregates, evaluate_rows
from pbpk.errors import BadInput, WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.study.load import load_study

ALONE = """
model = "iv_one_compartment"
[parameters.CL]
initial = 3.0
iiv = 0.1
[values]
V = 20
[summary.groups.a]
n = 12
dose = "100 mg iv"
[summary.quantities.auc]
kind = "integral"
observable = "cp"
[summary.quantities.c6]
kind = "value"
observable = "cp"
time = "6 h"
noise = 0.05
"""
RESPONSE = "[summary.responses.dlt]\nexposure = 'ac'\nE50.initial = 1\nslope.initial = 1\n"
OTHER = "[summary.groups.b]\nn = 3\ndose = '1 mg iv'\ncovariates = { OLD = 1 }\n"
HEAD = "group,quantity,statistic,value,unit,n,status,use,source"


@pytest.fixture(scope="module")
def aggregates(tmp_path_factory):
    """A study's folder from fit.toml and the rows of its summary.csv; `data` are lines of data.csv."""

    def write(text, *rows, data=()):
        folder = tmp_path_factory.mktemp("study")
        (folder / "fit.toml").write_text(text)
        (folder / "summary.csv").write_text("\n".join([HEAD, *rows]) + "\n")
        if data:
            (folder / "data.csv").write_text("\n".join(data) + "\n")
        return folder

    return write


def individuals():
    """ln AUC of 12 patients."""
    return np.log(100 / 3.4) + 0.35 * np.random.default_rng(8).normal(size=12)


def as_rows(logs, use=""):
    gm, gcv = np.exp(logs.mean()), np.sqrt(np.expm1(logs.var(ddof=1)))
    return (
        f"a,auc,geometric_mean,{gm:.12f},mg*h/L,,published,{use},x",
        f"a,auc,geometric_cv,{100 * gcv:.10f},%,,published,{use},x",
    )


@pytest.fixture(scope="module")
def sufficient(aggregates):
    return pbpk.fit(aggregates(ALONE, *as_rows(individuals()), "a,c6,mean,2,mg/L,5,published,no,x"))


def test_estimates_are_those_of_the_individual_data(sufficient):
    """ln AUC = ln(dose/CL) − η is normal, so mean and SD of the logarithms are all that the data say: the estimates are
    those of maximum likelihood on the 12 values, exp(mean) and the mean square about it; and so are the standard errors."""
    logs = individuals()
    assert sufficient.successful
    assert sufficient.estimates["CL"] == pytest.approx(100 / np.exp(logs.mean()), rel=1e-5)
    assert sufficient.estimates["OMEGA_CL"] == pytest.approx(logs.var(), rel=2e-3)
    assert sufficient.standard_errors["R"]["CL"] == pytest.approx(
        sufficient.estimates["CL"] * logs.std() / np.sqrt(12), rel=2e-3
    )
    assert sufficient.standard_errors["R"]["OMEGA_CL"] == pytest.approx(logs.var() * np.sqrt(2 / 12), rel=0.01)


def test_the_table_shows_every_row_in_its_own_unit(sufficient):
    table = sufficient.summary.set_index(["quantity", "statistic"])
    gm, cv, c6 = (table.loc[k] for k in (("auc", "geometric mean"), ("auc", "geometric cv"), ("c6", "mean")))
    assert gm["model"] == pytest.approx(gm["published"], rel=1e-4) and gm["sampling_sd"] < gm["published"]
    assert cv["model"] == pytest.approx(100 * np.sqrt(np.expm1(sufficient.estimates["OMEGA_CL"])), rel=1e-6)
    assert not c6["used"] and c6["residual"] == pytest.approx((2 - c6["model"]) / c6["sampling_sd"])
    content = json.loads(json.dumps(sufficient.to_json()))
    assert [r["used"] for r in content["summary"]] == [True, True, False] and content["method"] == "summary"


@pytest.mark.slow
def test_a_fit_is_the_same_twice_and_depends_on_the_seed_a_little(aggregates, sufficient):
    folder = aggregates(ALONE, *as_rows(individuals()))
    again = pbpk.fit(folder)
    assert again.estimates == sufficient.estimates and again.ofv == sufficient.ofv
    other = pbpk.fit(folder, settings={"estimation.seed": "7"})
    assert other.estimates["OMEGA_CL"] == pytest.approx(sufficient.estimates["OMEGA_CL"], rel=5e-3)


@pytest.mark.slow
def test_gradients_of_every_kind_of_row(aggregates):
    text = (
        ALONE + '[summary.responses.dlt]\nexposure = "auc"\nE50 = { initial = "40 mg*h/L" }\nslope = { initial = 3 }\n'
    )
    folder = aggregates(
        text,
        "a,auc,mean,30,mg*h/L,,published,,x",
        "a,auc,sd,9,mg*h/L,,published,,x",
        "a,c6,min,0.9,mg/L,,published,,x",
        "a,c6,max,4,mg/L,,published,,x",
        "a,auc ~ c6,correlation,0.8,1,,published,,x",
        "a,dlt,proportion,3/12,1,,published,,x",
    )
    problem = load_study(folder).problem.summary
    psi = load_study(folder).problem.initial_unconstrained + 0.1
    evaluation = evaluate_rows(problem, psi)
    for k in range(len(psi)):
        h = np.zeros(len(psi))
        h[k] = 1e-5
        slope = (
            np.asarray(evaluate_rows(problem, psi + h).minus2ll) - np.asarray(evaluate_rows(problem, psi - h).minus2ll)
        ) / 2e-5
        np.testing.assert_allclose(np.asarray(evaluation.gradient)[k], slope, rtol=1e-5, atol=1e-5)
    assert problem.rows == 6 and problem.quantified == 5


DATA = ("ID,TIME,AMT,DV", "1,0,100,.", "1,2,.,3.9", "1,8,.,1.6", "2,0,100,.", "2,2,.,3.4", "2,8,.,0.8")
BOTH = ALONE + '[data]\nobservable = "cp"\ndose_into = "iv"\n[error.cp]\nmodel = "proportional"\nprop = 0.1\n'


@pytest.mark.slow
def test_individual_data_and_aggregates_add_up(aggregates, evaluate):
    """−2 ln likelihood of both is the sum, in value and gradient; the responses' numbers come after the other θ."""
    text = BOTH.replace('dose_into = "iv"', 'dose_into = "central"')
    response = RESPONSE.replace("'ac'", "'auc'") + "slope.fixed = true\n"
    rows = (*as_rows(individuals()), "a,dlt,proportion,3/12,1,,published,,x")
    joint = load_study(aggregates(text + response, *rows, data=DATA)).problem
    plain = text.replace(text[text.index("[summary") : text.index("[data]")], "")
    alone = load_study(aggregates(plain, data=DATA)).problem
    psi = joint.initial_unconstrained
    method = combine_with_aggregates(get_method("focei"), joint)
    both = evaluate(method, joint)
    assert method.name == "focei+summary" and joint.observations == alone.observations + 3
    individual = evaluate(get_method("focei"), alone)
    aggregates_alone = evaluate_rows(joint.summary, psi)
    assert both.objective.sum() == pytest.approx(
        individual.objective.sum() + float(aggregates_alone.minus2ll.sum()), rel=1e-10
    )
    names = list(joint.structure.layout.names)
    assert names[:2] == ["CL", "dlt.E50"] and both.good.all() and both.gradient.shape[1] == 2 + 3
    np.testing.assert_allclose(both.gradient[[0, 2, 3], :2], individual.gradient, rtol=1e-8, atol=1e-10)
    assert not both.gradient[1, :2].any() and both.gradient[1, 2:].any()


def test_what_the_rows_cannot_tell_is_named(aggregates):
    folder = aggregates(ALONE, "a,auc,mean,30,mg*h/L,,published,,x")
    assert "cannot tell CL from OMEGA_CL" in describe_identifiability(load_study(folder).problem)[0]
    with_v = ALONE.replace("[values]\nV = 20\n", "[parameters.V]\ninitial = 20\n")
    blind = load_study(aggregates(with_v, *as_rows(individuals()))).problem
    assert describe_identifiability(blind) == ["no row says anything of V at the starting values: fix it"]


@pytest.mark.parametrize(
    ("change", "row", "says"),
    [
        (("", ""), "a,auc,mean,30,mg/L,,published,,x", '`auc` in "mg/L"'),
        (('kind = "integral"', 'kind = "integrated"'), None, "no kind of quantity `integrated`"),
        (('observable = "cp"\n[', 'observable = "cpp"\n['), None, "nothing called `cpp`"),
        (('kind = "integral"', 'kind = "residence"'), None, "so it is no share of a dose in mg"),
        (('time = "6 h"\n', ""), None, "needs a `time`"),
        (('dose = "100 mg iv"', 'dose = "100 mg/kg iv"'), None, "needs the covariate WT"),
        (('dose = "100 mg iv"', 'dose = "lots"'), None, "cannot be read"),
        (("[summary.groups.a]", "[summary]\npatients = 101\n[summary.groups.a]"), None, "is odd"),
        (('kind = "integral"', 'kind = "integral"\nuntil = "3 h"'), None, "a integral has no `until`"),
        (("noise = 0.05\n", ""), "a,c6,mean,2,mg/L,,published,,x", "has no `noise`"),
        (("[values]", RESPONSE + "[values]"), None, "no quantity `ac`"),
        (("[values]", OTHER + "[values]"), None, "says nothing of `OLD`"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_meant_is_refused(aggregates, change, row, says):
    rows = ("a,auc,mean,30,mg*h/L,,published,,x", *([row] if row else []))
    rows = rows[1:] if row and "auc" in row else rows
    with pytest.raises(BadInput) as refused:
        load_study(aggregates(ALONE.replace(*change) if change[0] else ALONE, *rows))
    assert says in str(refused.value)


def test_methods_that_cannot_take_aggregates_are_refused(aggregates):
    folder = aggregates(ALONE, *as_rows(individuals()))
    with pytest.raises(WrongUsage, match="needs individual data"):
        pbpk.fit(folder, method="focei")
    with pytest.raises(WrongUsage, match=r"no \[summary\]"):
        pbpk.fit("theophylline", method="summary")


@pytest.mark.slow
def test_the_command_leaves_the_table_in_the_run(aggregates, tmp_path, monkeypatch, capsys):
    from pbpk.commands.fit import fit_study

    monkeypatch.chdir(tmp_path)
    run, code = fit_study(str(aggregates(ALONE, *as_rows(individuals()))), out=tmp_path / "run")
    printed = capsys.readouterr().out
    assert code == 0 and "geometric mean" in printed and "Sampling SD" in printed
    for name in ("summary.csv", "summary_table.csv", "results.json", "fit.toml"):
        assert (run / name).is_file()
    again = pbpk.fit(run)
    assert again.ofv == json.loads((run / "results.json").read_text())["ofv"]
