"""Studies whose data cannot tell what is asked: each ends in words that name what, never in a bare NaN or a traceback."""

import numpy as np
import pytest

TEXT = """
model = "{model}"
[data]
units = {{ TIME = "h", AMT = "mg", DV = "mg/L" }}
observable = "cp"
dose_into = "{into}"
[parameters]
{parameters}
[error.cp]
{error}
[estimation]
method = "{method}"
"""
TIMES = (0.5, 1.0, 2.0, 4.0, 8.0)
ADDITIVE = 'model = "additive"\nadd = 0.3'


@pytest.fixture
def fit(tmp_path, pbpk):
    """`fit(method, parameters, error, subjects)` runs a study of boluses of 100 mg; a subject is (samples, covariates)."""

    def run(method, parameters, error=ADDITIVE, subjects=None, model="iv_one_compartment", into="central"):
        subjects = subjects or [(TIMES, {}) for _ in range(6)]
        rng = np.random.default_rng(3)
        names = list(subjects[0][1])
        lines = [",".join(["ID", "TIME", "AMT", "DV", *names])]
        for i, (times, given) in enumerate(subjects, start=1):
            tail = "".join(f",{given[n]}" for n in names)
            v, k = 20 * np.exp(0.2 * rng.standard_normal()), 0.1 * np.exp(0.2 * rng.standard_normal())
            lines.append(f"{i},0,100,.{tail}")
            lines += [
                f"{i},{t},.,{max(100 / v * np.exp(-k * t) + 0.1 * rng.standard_normal(), 0.01):.5f}{tail}"
                for t in times
            ]
        folder = tmp_path / "fits" / "bad"
        folder.mkdir(parents=True)
        text = TEXT.format(model=model, into=into, parameters=parameters, error=error, method=method)
        (folder / "fit.toml").write_text(text)
        (folder / "data.csv").write_text("\n".join(lines) + "\n")
        ran = pbpk("fit", "bad", "--json")
        assert "Traceback" not in ran.err and "fault of pbpk" not in ran.err, ran.err
        assert ran.out.count("NaN") == 0
        return ran

    return run


PLAIN = "CL = { initial = 2.0 }\nV = { initial = 20.0 }"
VARYING = "CL = { initial = 2.0, iiv = 0.1 }\nV = { initial = 20.0, iiv = 0.1 }"


def test_what_is_determined_has_no_concern(fit):
    ran = fit("pooled", PLAIN)
    assert ran.code == 0
    assert ran.json["verdict"] == "Converged; no problems detected."
    assert "concern" not in ran.err


def test_a_parameter_that_changes_nothing(fit):
    """Absorption, where every dose goes into the plasma."""
    ran = fit("pooled", "KA = { initial = 1.0 }\n" + PLAIN, model="oral_one_compartment")
    assert ran.code == 1 and ran.json["minimization_successful"] is False
    assert "KA is not determined by the data: nothing that was observed depends on it" in ran.json["verdict"]


def test_a_parameter_that_changes_nothing_with_random_effects(fit):
    ran = fit("focei", "KA = { initial = 1.0 }\n" + VARYING, model="oral_one_compartment")
    assert ran.code == 1
    assert "KA is not determined by the data" in ran.json["termination_cause"]


def test_a_parameter_that_runs_away(fit):
    """A depot that the data have no trace of: absorption is as fast as can be, and ever less of it is seen."""
    ran = fit("pooled", "KA = { initial = 3.0 }\n" + PLAIN, model="oral_one_compartment", into="depot")
    assert ran.code == 1 and ran.json["minimization_successful"] is False
    assert "KA is not determined by the data: at " in ran.json["verdict"]
    assert "(from 3) it hardly changes any prediction" in ran.json["verdict"]


@pytest.mark.parametrize("method", ["pooled", pytest.param("agq", marks=pytest.mark.slow)])
def test_all_subjects_censored(fit, method):
    limited = 'model = "additive"\nadd = 0.3\nlloq = 50.0\nblq = "M3"'
    ran = fit(method, PLAIN if method == "pooled" else VARYING, error=limited)
    assert "all 30 observations of all 6 subjects are censored" in ran.err
    assert ran.code in (0, 1)
    assert (
        "all 30 observations of all 6 subjects are censored" in ran.json["verdict"]
        or not ran.json["minimization_successful"]
    )
    assert any("censored" in w for w in ran.json["warnings"])


def test_one_observation_a_subject(fit):
    ran = fit("focei", VARYING, subjects=[((TIMES[i % 5],), {}) for i in range(10)])
    assert "no subject has more than one observation" in ran.err
    assert any("cannot be told from residual error" in w for w in ran.json["warnings"])


EFFECT = '{{ covariate = "{c}", form = "power", reference = {r}, estimate = "CL_{c}", initial = 0.5 }}'


def with_effects(*effects):
    listed = ", ".join(EFFECT.format(c=c, r=r) for c, r in effects)
    return f"CL = {{ initial = 2.0, covariates = [{listed}] }}\nV = {{ initial = 20.0 }}"


def test_a_covariate_that_does_not_vary(fit):
    ran = fit("pooled", with_effects(("WT", 70)), subjects=[(TIMES, {"WT": 80}) for _ in range(6)])
    assert "the covariate WT is 80 in every record: its effect CL_WT on CL is not determined" in ran.err
    assert any("CL_WT" in w for w in ran.json["warnings"])
    assert ran.json["verdict"] != "Converged; no problems detected."


def test_a_covariate_that_is_always_at_its_reference(fit):
    ran = fit("pooled", with_effects(("WT", 70)), subjects=[(TIMES, {"WT": 70}) for _ in range(6)])
    assert ran.code == 1
    assert "CL_WT is not determined by the data" in ran.json["verdict"]


def test_two_covariates_that_change_together(fit):
    given = [(TIMES, {"WT": 50 + 10 * i, "BSA": 2 * (50 + 10 * i)}) for i in range(6)]
    ran = fit("pooled", with_effects(("WT", 70), ("BSA", 140)), subjects=given)
    assert "the effects CL_WT and CL_BSA on CL cannot be told apart" in ran.err
    assert any("cannot be told apart" in w for w in ran.json["warnings"])


def test_two_covariates_that_do_not_are_no_concern(fit):
    given = [(TIMES, {"WT": 50 + 10 * i, "BSA": 100 + 17 * ((3 * i) % 5)}) for i in range(6)]
    ran = fit("pooled", with_effects(("WT", 70), ("BSA", 140)), subjects=given)
    assert "told apart" not in ran.err and ran.code == 0


def test_a_million_fold_run_is_named():
    """What a search into nowhere leaves: a state far from its start, at which the parameter does nothing."""
    from dataclasses import replace

    from pbpk.estimation.methods import get_method
    from pbpk.estimation.preflight import find_undetermined
    from pbpk.study.load import load_study

    study = load_study("theophylline")
    method = get_method("pooled")
    problem = method.prepare(study.problem)
    state = method.init(problem)
    assert find_undetermined(study, problem, state) == []
    psi = state.psi.copy()
    psi[0] += 60
    (said,) = find_undetermined(study, problem, replace(state, psi=psi))
    assert said.startswith("KA is not determined by the data: it ran from 1.5 to 1.71e+26")
