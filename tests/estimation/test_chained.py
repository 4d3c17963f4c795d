"""One method's result as another's start: what is taken over by name, in which unit, and what is left alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

import pbpk
from pbpk.errors import BadInput, WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.estimation.start import StartingValues, apply_starting_values, read_starting_values, take_starting_values
from pbpk.study.load import load_study


@pytest.fixture(scope="module")
def study():
    return load_study("theophylline")


@pytest.fixture(scope="module")
def focei(study):
    return run_fit(study, get_method("focei"))


def start(values, units=None, eta=None):
    return StartingValues("a test", values, units or {}, eta or {})


def test_names_that_match_are_taken_over(study):
    begun, _ = apply_starting_values(study, start({"CL": 4.0, "OMEGA_V": 0.3, "add": 0.2, "Q": 7.0}))
    np.testing.assert_allclose(begun.problem.initial, [1.5, 4.0, 30.0, 0.5, 0.1, 0.3, 0.2])
    assert begun.problem.initial_unconstrained[1] == pytest.approx(np.log(4.0))


def test_units_are_converted(study):
    begun, _ = apply_starting_values(study, start({"CL": 50.0, "V": 30_000.0}, {"CL": "mL/min", "V": "mL"}))
    assert begun.problem.initial[1] == pytest.approx(3.0)
    assert begun.problem.initial[2] == pytest.approx(30.0)
    with pytest.raises(BadInput, match="unit"):
        apply_starting_values(study, start({"CL": 50.0}, {"CL": "h"}))


def test_what_is_held_stays(study):
    held = load_study("theophylline", settings={"parameters.CL.fixed": "true"})
    begun, _ = apply_starting_values(held, start({"CL": 4.0, "V": 20.0}))
    np.testing.assert_allclose(begun.problem.initial[:3], [1.5, 2.5, 20.0])


def test_a_variance_at_zero_has_a_logarithm_again(study):
    begun, _ = apply_starting_values(study, start({"OMEGA_KA": 0.0, "add": 0.0}))
    assert begun.problem.initial[3] == pytest.approx(0.5e-3)
    assert begun.problem.initial[6] == 1.0
    assert np.isfinite(begun.problem.initial_unconstrained).all()


def test_a_block_stays_positive_definite():
    own = load_study("theophylline")
    layout = own.problem.structure.layout
    block = replace(layout.blocks[0], etas=("KA", "CL"))
    layout = replace(layout, blocks=(block, layout.blocks[2]))
    names = ("KA", "CL", "V", "OMEGA_KA", "OMEGA_KA_CL", "OMEGA_CL", "OMEGA_V", "add")
    assert layout.names == names
    initial = np.array([1.5, 2.5, 30, 0.5, 0.05, 0.1, 0.1, 1.0])
    problem = replace(own.problem, structure=replace(own.problem.structure, layout=layout), initial=initial)
    blocked = replace(own, problem=problem, scale=np.ones(8), units=("1",) * 8, labels=("",) * 8)
    begun, _ = apply_starting_values(
        blocked, start({"OMEGA_KA": 0.01, "OMEGA_CL": 0.01})
    )  # 0.05 is too much beside these
    new = begun.problem.initial
    assert new[[3, 5]] == pytest.approx([0.01, 0.01], rel=1e-12)
    assert 0 < new[4] < 0.01


def test_nothing_in_common_is_refused(study):
    with pytest.raises(WrongUsage, match="estimates nothing that theophylline does"):
        apply_starting_values(study, start({"Q": 1.0}))


def test_etas_go_by_id_and_name(study):
    _, eta = apply_starting_values(study, start({"CL": 3.0}, eta={"2": {"CL": 0.4, "Q": 9.0}, "77": {"CL": 1.0}}))
    assert eta.shape == (3, 12)
    assert eta[1, study.subjects.index("2")] == 0.4
    assert np.abs(eta).sum() == 0.4


def test_map_holds_what_focei_found(study, focei):
    fit = run_fit(study, get_method("map"), start=take_starting_values(focei))
    assert fit.estimates == pytest.approx(focei.estimates, rel=1e-12)
    etas = [f"ETA_{n}" for n in ("KA", "CL", "V")]
    np.testing.assert_allclose(fit.individual[etas], focei.individual[etas], atol=1e-5)


@pytest.mark.parametrize("first", ["pooled", "two_stage"])
def test_focei_from_another_methods_result(study, focei, first):
    fit = run_fit(study, get_method("focei"), start=take_starting_values(run_fit(study, get_method(first))))
    assert fit.successful
    assert fit.ofv == pytest.approx(focei.ofv, abs=1e-4)


@pytest.mark.slow
def test_focei_from_saem(study, focei):
    fit = run_fit(study, get_method("focei"), start=take_starting_values(run_fit(study, get_method("saem"))))
    assert fit.ofv == pytest.approx(focei.ofv, abs=1e-4)
    assert len(fit.iterations) <= len(focei.iterations)


def test_the_first_evaluation_keeps_the_better_mode(study, focei):
    """From its own estimates and η a fit has nothing left to do."""
    fit = run_fit(study, get_method("focei"), start=take_starting_values(focei))
    assert fit.ofv == pytest.approx(focei.ofv, abs=1e-6)
    assert len(fit.iterations) <= 3


def test_from_a_runs_folder(study, focei, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(focei.to_json(), default=str))
    focei.individual.to_csv(tmp_path / "patab.csv", index=False)
    found = read_starting_values(tmp_path)
    assert found.values == pytest.approx(focei.estimates)
    assert found.eta["3"]["CL"] == pytest.approx(take_starting_values(focei).eta["3"]["CL"])
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "start.json").write_text(json.dumps(found.to_json()))
    assert read_starting_values(tmp_path / "again") == found
    fit = pbpk.fit("theophylline", method="map", start=tmp_path)
    assert fit.estimates == pytest.approx(focei.estimates, rel=1e-12)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no results\.json"):
        read_starting_values(tmp_path)
