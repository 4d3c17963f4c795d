"""Covariate search: what it refuses, that its numbers are those of fits made one by one, and that it finds the truth."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import binom

from pbpk.covariate_search.final_model import format_toml
from pbpk.covariate_search.fitted_models import SearchCallbacks
from pbpk.covariate_search.forest import classify_relevance
from pbpk.covariate_search.options import make_search_options, read_search_options
from pbpk.covariate_search.refit import evaluate_on_host
from pbpk.covariate_search.relations import Relation, read_relations
from pbpk.covariate_search.run import prepare_search, search_covariates
from pbpk.covariate_search.score_test import compute_score_test
from pbpk.errors import BadInput, WrongUsage
from pbpk.estimation.criteria import chi2_tail
from pbpk.estimation.methods import get_method
from pbpk.likelihood.replicates import replace_observations
from pbpk.study.load import load_study, replace_spec
from pbpk.tables import read_toml
from pbpk.uncertainty.resampling import simulate_observations

TEXT = """
model = "iv_one_compartment"
[parameters]
CL = {{ initial = 2.0, iiv = 0.06{effect} }}
V = {{ initial = 20.0, iiv = 0.06 }}
[error.cp]
model = "proportional"
prop = 0.15
"""
TRUE = ', covariates = [{ covariate = "WT", form = "power", reference = 70, estimate = "CL_WT", initial = 0.75 }]'
SUBJECTS, TIMES = 48, (1.0, 6.0, 18.0)
FOCEI = get_method("focei")
RELATIONS = ("CL: WT power, SEX equals, AGE linear", "V: AGE exponential")


def records():
    """48 subjects of known covariates: WT acts on CL, the others on nothing; LEAN is nearly WT, TWIN is SEX again."""
    rng = np.random.default_rng(3)
    lines = ["ID,TIME,AMT,DV,WT,SEX,AGE,RACE,LEAN,TWIN,SAME"]
    for i in range(1, SUBJECTS + 1):
        wt, sex, age, race = rng.uniform(45, 110), i % 2, rng.integers(20, 80), rng.choice([1, 1, 1, 2, 3])
        covariates = f"{wt:.2f},{sex},{age},{race},{0.8 * wt + rng.normal():.2f},{1 - sex},5"
        lines += [f"{i},0,100,.,{covariates}", *(f"{i},{t},.,1.0,{covariates}" for t in TIMES)]
    return lines


@pytest.fixture(scope="module")
def plain(make):
    return make(TEXT.format(effect=""), *records())


@pytest.fixture(scope="module")
def truth(make):
    return make(TEXT.format(effect=TRUE), *records())


@pytest.fixture(scope="module")
def enlarged(plain):
    return prepare_search(plain, make_search_options(relations=RELATIONS))


@pytest.fixture(scope="module")
def drawn(truth):
    """What is observed in a replicate of the true study."""

    def draw(number):
        return np.asarray(simulate_observations(truth.problem, truth.problem.initial_unconstrained, 11, number)[0].y)

    return draw


def holding(enlarged, y):
    """The enlarged study with these observations."""
    problem = replace_observations(enlarged.study.problem, y, np.full(y.shape, -np.inf), np.full(y.shape, np.inf))
    problem = replace(problem, observed=jax.tree.map(np.asarray, problem.observed))
    return replace(enlarged, study=replace(enlarged.study, problem=problem))


@pytest.fixture(scope="module")
def one(enlarged, drawn):
    return holding(enlarged, drawn(1))


def run(enlarged, watch=None, **how):
    return search_covariates(enlarged.base, make_search_options(relations=RELATIONS, **how), watch, enlarged)


@pytest.fixture(scope="module")
def result(one):
    return run(one)


def test_relations_are_read():
    assert read_relations(["CL: WT power, SEX equals", "V:WT linear 70"]) == (
        Relation("CL", "WT", "power"),
        Relation("CL", "SEX", "equals"),
        Relation("V", "WT", "linear", 70.0),
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "no relation is given"),
        (["CL WT power"], "cannot be read"),
        (["CL: WT"], "cannot be read"),
        (["CL: WT powr"], "no covariate form `powr`"),
        (["CL: WT power seventy"], "is no number"),
        (["CL: WT power", "CL: WT power"], "asked for twice"),
    ],
)
def test_relations_that_cannot_be_read(texts, message):
    with pytest.raises(BadInput, match=message):
        read_relations(texts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CL: WEIGHT power", "no covariate `WEIGHT`"),
        ("CL: SAME linear", "constant: 5 in every subject"),
        ("KA: WT power", "estimates no `KA`"),
        ("CL: SEX power", "a power needs a covariate above zero"),
        ("CL: WT equals", "too many to be categories"),
        ("CL: RACE equals 4", "no record has the reference category 4"),
    ],
)
def test_relations_that_the_data_cannot_have(plain, text, message):
    with pytest.raises(BadInput, match=message):
        prepare_search(plain, make_search_options(relations=(text,)))


def test_a_relation_that_the_study_has_already(truth):
    with pytest.raises(BadInput, match=r"WT is on CL already \(power, estimated as CL_WT\)"):
        prepare_search(truth, make_search_options(relations=("CL: WT linear",)))


def test_a_full_model_refuses_what_it_cannot_tell_apart(plain):
    with pytest.raises(BadInput, match=r"WT and LEAN are collinear \(r = 1.00\)"):
        prepare_search(plain, make_search_options(relations=("CL: WT power, LEAN power",), method="full"))
    with pytest.raises(BadInput, match="one form of WT on CL"):
        prepare_search(plain, make_search_options(relations=("CL: WT power, WT linear",), method="full"))
    apart = prepare_search(plain, make_search_options(relations=("CL: WT power", "V: LEAN power"), method="full"))
    assert any("WT and LEAN are collinear" in n for n in apart.notes)


def test_collinear_categories_are_named(plain):
    notes = prepare_search(plain, make_search_options(relations=("CL: SEX equals, TWIN equals",))).notes
    assert any(
        "SEX and TWIN are collinear (r = -1.00)" in n or "SEX and TWIN are collinear (r = 1.00)" in n for n in notes
    )


def test_plans(tmp_path):
    with pytest.raises(WrongUsage, match="no probability"):
        make_search_options(relations=("CL: WT power",), forward=5.0).check_and_read_relations()
    with pytest.raises(WrongUsage, match="is not a setting of a search"):
        make_search_options(relation=("CL: WT power",))
    with pytest.raises(BadInput, match=r"`references\.WT`"):
        make_search_options(relations=("CL: SEX equals",), references={"WT": 70}).check_and_read_relations()
    file = tmp_path / "plan.toml"
    file.write_text('[search]\nrelations = ["CL: WT power"]\nforward = 0.01\nreferences = { WT = 70 }\n')
    assert read_search_options(file) == {"relations": ("CL: WT power",), "forward": 0.01, "references": {"WT": 70.0}}
    file.write_text('[search]\nrelations = ["CL: WT power"]\nforwards = 0.01\n')
    with pytest.raises(BadInput, match=r"search\.forwards"):
        read_search_options(file)


def test_references_and_coefficients_come_from_the_data(plain):
    prepared = prepare_search(
        plain, make_search_options(relations=("CL: WT power, RACE equals", "V: WT hockey"), references={"WT": 70})
    )
    first = plain.events.frame.groupby("ID")[["WT", "RACE"]].first()
    assert [c.reference for c in prepared.candidates] == [70.0, 1.0, 70.0]
    assert first["RACE"].mode()[0] == 1
    assert [c.coefficients for c in prepared.candidates] == [
        ("CL_WT",),
        ("CL_RACE_2", "CL_RACE_3"),
        ("V_WT_below", "V_WT_above"),
    ]
    assert [c.df for c in prepared.candidates] == [1, 2, 2]
    other = prepare_search(plain, make_search_options(relations=("CL: WT power",)))
    assert other.candidates[0].reference == np.median(first["WT"])


def test_only_an_estimation_with_a_likelihood(plain):
    with pytest.raises(WrongUsage, match="map cannot be used in a search"):
        prepare_search(plain, make_search_options(relations=RELATIONS, estimation="map"))


def test_the_enlarged_problem_is_the_single_one(one, truth, drawn):
    """At the same parameters the same objective and gradient as in a study that has the one effect alone."""
    y = drawn(1)
    alone = replace_observations(truth.problem, y, np.full(y.shape, -np.inf), np.full(y.shape, np.inf))
    names, all_names = truth.problem.structure.layout.names, one.study.problem.structure.layout.names
    psi = one.study.problem.initial_unconstrained.copy()
    psi[all_names.index("CL_WT")] = 0.4
    eta = np.zeros((2, SUBJECTS))
    enlarged_evaluation = evaluate_on_host(FOCEI, one.study.problem, psi, eta)
    median = np.median(truth.events.frame.groupby("ID")["WT"].first())
    at = psi[[all_names.index(n) for n in names]]
    at[names.index("CL")] += 0.4 * np.log(70 / median)  # the other study's reference
    single = evaluate_on_host(FOCEI, alone, at, eta)
    np.testing.assert_allclose(enlarged_evaluation.objective, single.objective, rtol=1e-9)
    kept = [n for n in names if n != "CL_WT"]
    for n in kept:
        np.testing.assert_allclose(
            enlarged_evaluation.gradient[all_names.index(n)], single.gradient[names.index(n)], rtol=1e-6, atol=1e-8
        )


def test_the_search_finds_the_effect(result):
    assert result.relations == ["CL-WT power"]
    first = result.table[result.table["step"] == 1]
    assert set(first["relation"]) == {"CL-WT power", "CL-SEX equals", "CL-AGE linear", "V-AGE exponential"}
    best = first[first["chosen"]].iloc[0]
    assert best["relation"] == "CL-WT power" and best["p"] < 1e-4
    assert best["p"] == pytest.approx(chi2_tail(-best["delta_ofv"], 1), rel=1e-12)
    row = result.parameters.set_index("name").loc["CL_WT"]
    assert abs(row["estimate"] - 0.75) < 3 * row["se"]


def test_every_step_is_kept(result):
    by_step = result.table.groupby("step")["direction"].first().tolist()
    assert by_step == ["forward", "forward", "backward"]
    last = result.trials[-1]
    assert (last.direction, last.relation, last.chosen) == ("backward", "CL-WT power", False)
    assert last.delta_ofv == -next(t for t in result.trials if t.chosen).delta_ofv
    assert result.table["converged"].all()


def test_the_score_test_ranks_the_effect_first(result):
    first = [t for t in result.trials if t.step == 1]
    assert min(first, key=lambda t: t.score_p).relation == "CL-WT power"
    # n subjects bound a statistic of cross-products, so that a strong effect has less than its likelihood ratio
    assert all(0 <= t.score < SUBJECTS for t in first)


def test_the_score_statistic_is_that_of_a_regression():
    """Two known gradients: S'(Σ ss')⁻¹S, the nuisance rows summing to 0 at the optimum."""
    rng = np.random.default_rng(1)
    g = rng.normal(size=(3, 20))
    g[:2] -= g[:2].mean(axis=1, keepdims=True)
    s = -g / 2
    x = s.T
    fitted = x @ np.linalg.lstsq(x, np.ones(20), rcond=None)[0]
    got = compute_score_test(g, np.array([True, True, False]), [2])
    assert got.statistic == pytest.approx(float(fitted @ fitted), rel=1e-10)  # n·R² of 1 on the scores
    assert got.p == pytest.approx(chi2_tail(got.statistic, 1))


def test_a_screen_is_labelled(one):
    screened = run(one, screen=0.001)
    assert screened.relations == ["CL-WT power"]
    left_out = [t for t in screened.trials if t.status == "screened"]
    assert left_out and all(t.score_p >= 0.001 and "score test" in t.cause and np.isnan(t.p) for t in left_out)
    assert "left out by the score test, which is approximate" in screened.verdict


def test_resuming_gives_the_same_digits(one, result):
    kept, calls = {}, []

    class Stop(Exception):
        pass

    def keep(key, model):
        kept[key] = model
        calls.append(key)
        if len(calls) == 3:
            raise Stop

    with pytest.raises(Stop):
        run(one, SearchCallbacks(on_fit=keep))
    again = []
    resumed = run(one, SearchCallbacks(on_fit=lambda key, model: again.append(key), earlier_fits=kept))
    assert not set(again) & set(kept) and again
    np.testing.assert_array_equal(resumed.table["ofv"], result.table["ofv"])
    np.testing.assert_array_equal(resumed.parameters["estimate"], result.parameters["estimate"])
    np.testing.assert_array_equal(resumed.parameters["se"], result.parameters["se"])


def test_a_fit_that_fails_is_named_and_not_chosen(one, monkeypatch):
    from pbpk.covariate_search import fitted_models as models

    real = models.refit_submodel

    def failing(method, problem, free, psi, *rest):
        out = real(method, problem, free, psi, *rest)
        wt = one.locate_coefficients((one.candidates[0],))[0]
        return replace(out, cause="no further decrease found") if free[wt] else out

    monkeypatch.setattr(models, "refit_submodel", failing)
    result = run(one)
    assert "CL-WT power" not in result.relations
    assert "Failed, and so not chosen: CL-WT power (forward step 1: no further decrease found)" in result.verdict
    row = result.table[(result.table["relation"] == "CL-WT power") & (result.table["step"] == 1)].iloc[0]
    assert not row["converged"] and np.isnan(row["p"])


def test_the_full_model_and_its_forest(one, result):
    full = run(one, method="full")
    assert len(full.relations) == 4 and full.final_ofv < result.final_ofv
    tests = full.tests.set_index("relation")
    assert tests.loc["CL-WT power", "p"] < 1e-4 and tests.loc["CL-WT power", "wald_p"] < 1e-4
    np.testing.assert_allclose(tests["wald"], tests["delta_ofv"], rtol=0.4, atol=0.3)  # the same, asymptotically
    parameters = full.parameters.set_index("name")
    rows = full.forest[full.forest["relation"] == "CL-WT power"]
    weights = one.columns["WT"].by_subject
    b, se = parameters.loc["CL_WT", "estimate"], parameters.loc["CL_WT", "se"]
    for at, row in zip((5, 95), rows.to_dict("records"), strict=True):
        x = np.percentile(weights, at) / np.median(weights)
        assert row["factor"] == pytest.approx(x**b, rel=1e-10)
        ends = sorted(x ** (b + side * 1.959964 * se) for side in (-1, 1))
        np.testing.assert_allclose([row["low"], row["high"]], ends, rtol=1e-6)
    sex = full.forest[full.forest["relation"] == "CL-SEX equals"].iloc[0]
    other = next(c for c in one.candidates if c.name == "CL-SEX equals").coefficients[0]
    assert sex["factor"] == pytest.approx(1 + parameters.loc[other, "estimate"])


def test_relevance_in_words():
    assert [
        classify_relevance(*i, (0.8, 1.25)) for i in ((0.9, 1.1), (1.3, 1.9), (0.5, 0.7), (0.7, 1.1), (np.nan, np.nan))
    ] == [
        "not relevant",
        "relevant",
        "relevant",
        "uncertain",
        "unknown",
    ]


def test_a_study_written_as_toml_reads_back(tmp_path):
    data = {
        "model": "m",
        "a": {"CL": {"initial": 1e-7, "x.y": [{"b": True, "c": 'a "quoted" µ'}]}, "n": {}},
        "void": [{"k": 1}],
    }
    (tmp_path / "x.toml").write_text(format_toml(data))
    assert read_toml(tmp_path / "x.toml") == data


@pytest.mark.slow
def test_delta_ofv_is_that_of_two_fits(minimise):
    """Phenobarbital's effect of APGR on V: its step against two fits made apart, one of them NONMEM's published run."""
    study = load_study("phenobarbital")
    spec = study.spec
    part = spec.parameters["V"]
    without = part.model_copy(update={"covariates": [e for e in part.covariates if e.covariate != "APGR"]})
    base = replace_spec(study, spec.model_copy(update={"parameters": {**spec.parameters, "V": without}}))
    result = search_covariates(base, make_search_options(relations=("V: APGR below 5", "CL: APGR below 5")))
    larger, smaller = minimise(FOCEI, study.problem), minimise(FOCEI, base.problem)
    trial = next(t for t in result.trials if t.relation == "V-APGR below 5")
    assert trial.delta_ofv == pytest.approx(larger.ofv - smaller.ofv, abs=1e-5)
    assert trial.ofv == pytest.approx(586.276056, abs=1e-4)
    assert trial.estimates["V_APGR"] == pytest.approx(0.15892, rel=5e-3)


@pytest.mark.slow
def test_null_covariates_are_taken_in_at_about_the_nominal_rate(enlarged, drawn):
    """30 replicates: the effect is always found; a null relation, tested with it in the model, passes 5 % one time in 20."""
    passed = tested = 0
    for number in range(1, 31):
        result = run(holding(enlarged, drawn(number)), forward=0.05, backward=0.05)
        assert "CL-WT power" in result.relations
        second = [t for t in result.trials if t.direction == "forward" and t.step == 2]
        assert all(t.converged for t in second)
        passed, tested = passed + sum(t.p < 0.05 for t in second), tested + len(second)
    assert tested == 90
    assert passed <= binom.ppf(0.999, tested, 0.05), f"{passed} of {tested}"
    assert passed >= 1, "a test that never rejects is as wrong"
