"""From a folder to a problem: what is read, and what is refused with a place and a way out."""

import shutil

import numpy as np
import pytest

from pbpk.errors import BadInput, ScienceFailed, WrongUsage
from pbpk.estimation.methods import METHODS, get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import find_study, list_studies, load_study

ROWS = (
    "ID,TIME,AMT,DV,WT",
    "1,0,100,.,70",
    "1,1,.,4.5,70",
    "1,4,.,3.0,70",
    "2,0,100,.,80",
    "2,1,.,4.0,80",
    "2,4,.,2.0,80",
)
TEXT = """
model = "iv_one_compartment"
[data]
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
[parameters]
CL = { initial = 2.0, iiv = 0.1 }
V = { initial = 20.0, iiv = 0.1 }
[error.cp]
model = "additive"
add = 0.5
"""


def refused(make, text, *words, rows=ROWS):
    with pytest.raises(BadInput) as caught:
        make(text, *rows)
    assert caught.value.exit_code == 3
    said = caught.value.render()
    for word in words:
        assert word in said, (word, said)


def test_arrays_of_a_study(make):
    study = make(TEXT, *ROWS)
    problem = study.problem
    assert study.subjects == ["1", "2"]
    assert (problem.subjects, problem.observations) == (2, 4)
    np.testing.assert_array_equal(problem.y[:2], [[4.5, 4.0], [3.0, 2.0]])
    assert problem.structure.layout.names == ("CL", "V", "OMEGA_CL", "OMEGA_V", "add")
    np.testing.assert_allclose(problem.initial, [2.0, 20.0, 0.1, 0.1, 0.5])
    assert study.units == ("L/h", "L", "1", "1", "mg/L")


def test_a_residual_that_is_known_is_held(make):
    """Two free parameters are left for weighted least squares: the OFV is that of the weights given."""
    text = TEXT.replace(", iiv = 0.1", "") + "fixed = true\n"
    study = make(text, *ROWS)
    fit = run_fit(study, get_method("pooled"))
    assert fit.free == 2 and fit.estimates["add"] == 0.5
    assert set(fit.standard_errors["R"]) == {"CL", "V"}
    residual = fit.table["DV"] - fit.table["PRED"]
    assert fit.ofv == pytest.approx(4 * np.log(0.25) + (residual**2).sum() / 0.25, rel=1e-9)


def test_units_are_converted_once(make):
    """The same study in ng/mL, µg and min, with CL given in mL/min."""
    plain = make(TEXT, *ROWS).problem
    rows = [ROWS[0]]
    for row in ROWS[1:]:
        who, time, amount, value, weight = row.split(",")
        amount = amount if amount == "." else float(amount) * 1000
        value = value if value == "." else float(value) * 1000
        rows.append(f"{who},{float(time) * 60},{amount},{value},{weight}")
    text = TEXT.replace('"h"', '"min"').replace('"mg"', '"ug"').replace('"mg/L"', '"ng/mL"')
    text = text.replace("CL = { initial = 2.0", f'CL = {{ initial = "{2000 / 60!r} mL/min"')
    study = make(text, *rows)
    np.testing.assert_allclose(study.problem.y, plain.y, rtol=1e-14)
    np.testing.assert_allclose(study.problem.initial, plain.initial, rtol=1e-14)
    np.testing.assert_allclose(study.problem.timeline.time, plain.timeline.time, rtol=1e-14)
    np.testing.assert_allclose(study.problem.timeline.amount, plain.timeline.amount, rtol=1e-14)


def test_settings_override(write):
    folder = write(TEXT, *ROWS)
    study = load_study(folder, settings={"CL": "3", "error.cp.add": "0.7", "parameters.V.iiv": "0.3"})
    np.testing.assert_allclose(study.problem.initial, [3.0, 20.0, 0.1, 0.3, 0.7])


def test_bundled_studies_are_found():
    assert {"theophylline", "phenobarbital", "indomethacin"} <= set(list_studies())
    assert find_study("theophylline").name == "theophylline"


@pytest.mark.parametrize("name", list_studies())
def test_every_bundled_study_loads(name):
    study = load_study(name)
    assert study.problem.observations > 0
    assert study.spec.title and study.spec.source


def test_an_unknown_study():
    with pytest.raises(BadInput) as caught:
        find_study("theophyline")
    assert "did you mean `theophylline`" in caught.value.render()


def test_a_folder_without_a_study(tmp_path):
    with pytest.raises(BadInput, match=r"holds no fit\.toml"):
        find_study(tmp_path)


def test_an_unknown_method():
    assert [get_method(name).name for name in METHODS] == list(METHODS)
    with pytest.raises(WrongUsage) as caught:
        get_method("foci")
    assert "did you mean `focei`" in caught.value.render()


EFFECT = 'covariates = [{{ covariate = "{0}", form = "{1}", reference = 70.0, {2} }}]'


def with_effect(covariate="WT", form="power", rest="coefficient = 1.0"):
    return TEXT.replace(
        "V = { initial = 20.0, iiv = 0.1 }", f"V = {{ iiv = 0.1, {EFFECT.format(covariate, form, rest)} }}"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT.replace("CL =", "CLL ="), ["`parameters.CLL`", "no such parameter", "did you mean `CL`"]),
        (TEXT.replace("initial = 2.0", 'initial = "2 mg"'), ["CL", "mg", "L/h"]),
        (TEXT.replace("initial = 2.0", "initial = -2.0"), ["`parameters.CL`", "above zero"]),
        (TEXT.replace('"additive"', '"aditive"'), ["`error.cp`", "did you mean `additive`"]),
        (TEXT.replace("add = 0.5", "prop = 0.5"), ["`error.cp`", "additive needs add"]),
        (TEXT.replace('"additive"', '"combined2"'), ["combined2 needs add, prop"]),
        (TEXT.replace("error.cp", "error.cq"), ["`cq`", "did you mean `cp`"]),
        (
            TEXT.replace('[error.cp]\nmodel = "additive"\nadd = 0.5', "[error]"),
            ["no residual error is given", "[error.cp]"],
        ),
        (TEXT.replace('DV = "mg/L"', 'DV = "MBq/L"'), ["DV (cp)", "MBq/L", "mg/L", "data.units"]),
        (TEXT.replace('AMT = "mg"', 'AMT = "nmol"'), ["AMT", "nmol", "mg", "data.units"]),
        (TEXT.replace('TIME = "h"', 'TIME = "mg"'), ["TIME", "mg"]),
        (TEXT.replace('TIME = "h"', 'TIME = "hourz"'), ["hourz"]),
        (with_effect(covariate="WTT"), ["`V`", "no covariate `WTT`", "did you mean `WT`"]),
        (with_effect(form="pow"), ["`V`", "no covariate form `pow`", "did you mean `power`"]),
        (with_effect(rest='estimate = "B"'), ["the effect of WT needs", "`initial`"]),
        (with_effect(rest='coefficient = 1.0, estimate = "B", initial = 1.0'), ["the effect of WT needs"]),
        (with_effect(rest='estimate = "CL", initial = 0.5'), ["two estimated parameters are called `CL`"]),
        (TEXT + '[omega]\nblocks = [["CL", "Q"]]', ["`omega.blocks`: Q has no iiv"]),
        (TEXT + '[omega]\nblocks = [["CL", "V"], ["V"]]', ["V is in two blocks"]),
    ],
)
def test_refused(make, text, words):
    refused(make, text, *words)


def test_with_every_parameter_held_the_residual_error_is_left(make, minimise):
    """Its estimate is then the root mean square, whatever the start."""
    study = make(TEXT.replace("iiv = 0.1", "fixed = true"), *ROWS)
    layout = study.problem.structure.layout
    assert list(layout.fixed_mask) == [True, True, False]
    method = get_method("pooled")
    state = minimise(method, method.prepare(study.problem))
    f = 5 * np.exp(-0.1 * np.array([1, 4, 1, 4]))
    wanted = np.sqrt(np.mean((np.array([4.5, 3.0, 4.0, 2.0]) - f) ** 2))
    assert float(np.exp(state.psi[0])) == pytest.approx(wanted, rel=1e-4)


def test_a_block_must_stand_together(make):
    text = """
model = "oral_one_compartment"
[data]
dose_into = "depot"
[parameters]
KA = { iiv = 0.1 }
CL = { iiv = 0.1 }
V = { iiv = 0.1 }
[omega]
blocks = [["KA", "V"]]
[error.cp]
model = "additive"
add = 0.5
"""
    refused(make, text, "`omega.blocks`: KA, V must be neighbours", "one after another")


def test_no_observation(make):
    refused(make, TEXT, "holds no observation", rows=(ROWS[0], ROWS[1], ROWS[4]))


def test_an_observable_without_an_error_model(make):
    text = TEXT.replace("iv_one", "iv_two").replace("\nV =", "\nV1 =")
    rows = [ROWS[0] + ",DVID", *(f"{r},{'ct' if r.endswith('3.0,70') else 'cp'}" for r in ROWS[1:])]
    refused(make, text.replace("[data]", '[data]\ndose_into = "central"'), "`ct`", "add [error.ct]", rows=rows)


def test_a_start_without_a_likelihood_names_the_subject(make):
    """A sample at the time of a dose into the depot: the prediction is 0, and so is its proportional error."""
    text = """
model = "oral_one_compartment"
[data]
dose_into = "depot"
[parameters]
CL = { iiv = 0.1 }
[error.cp]
model = "proportional"
prop = 0.2
"""
    study = make(text, ROWS[0], "7,0,100,.,70", "7,0,.,0.5,70", "7,1,.,0.9,70", "8,0,100,.,70", "8,1,.,2.0,70")
    with pytest.raises(ScienceFailed) as caught:
        run_fit(study, get_method("fo"))
    said = caught.value.render()
    for word in ("ID 7", "zero residual variance", "observation 1", "1 of 2 subjects", "combined2"):
        assert word in said, (word, said)


def test_a_runs_folder_is_fitted_with_its_own_model(tmp_path):
    """Not with the model of that name as it is today: the run's record says where its copy lies."""
    source = find_study("theophylline")
    for name in ("fit.toml", "data.csv"):
        shutil.copy(source / name, tmp_path)
    model = tmp_path / "model" / "oral_one_compartment"
    shutil.copytree(load_study("theophylline").model.folder, model)
    shutil.copy(load_study("theophylline").model.folder.parent / "references.bib", model)
    (tmp_path / "run.json").write_text('{"settings": {"model": "model/oral_one_compartment"}}')
    assert load_study(tmp_path).model.folder == model.resolve()
