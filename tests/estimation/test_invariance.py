"""What must not change an answer: the order of subjects, a second run, an interruption, the solver, a covariance of zero."""

import io

import numpy as np
import pandas as pd
import pytest

from pbpk.estimation.methods import get_method
from pbpk.estimation.run import Callbacks, run_fit
from pbpk.estimation.state import EstimationState
from pbpk.study.load import find_study, load_study

FOCEI = get_method("focei")


@pytest.fixture(scope="module")
def study():
    return load_study("theophylline")


@pytest.fixture(scope="module")
def fit(study):
    return run_fit(study, FOCEI)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The study with its files passed through functions of their text."""

    def copy(settings=lambda text: text, data=lambda text: text):
        folder, source = tmp_path_factory.mktemp("theophylline"), find_study("theophylline")
        (folder / "fit.toml").write_text(settings((source / "fit.toml").read_text()))
        (folder / "data.csv").write_text(data((source / "data.csv").read_text()))
        return folder

    return copy


def shuffled(text):
    frame = pd.read_csv(io.StringIO(text), dtype=str)
    groups = [g for _, g in frame.groupby("ID", sort=False)]
    return pd.concat([groups[i] for i in np.random.default_rng(2).permutation(12)]).to_csv(index=False)


def test_order_of_subjects(study, copy, evaluate):
    other = load_study(copy(data=shuffled))
    assert study.subjects != other.subjects
    here = evaluate(FOCEI, study.problem)
    there = evaluate(FOCEI, other.problem)
    assert there.objective.sum() == pytest.approx(here.objective.sum(), abs=1e-9)
    at = [study.subjects.index(who) for who in other.subjects]
    np.testing.assert_allclose(there.objective, here.objective[at], atol=1e-10)
    np.testing.assert_allclose(there.eta, here.eta[:, at], atol=1e-10)
    np.testing.assert_allclose(there.gradient.sum(axis=1), here.gradient.sum(axis=1), atol=1e-8)


def test_two_fits_are_the_same_to_the_bit(study, fit):
    again = run_fit(study, FOCEI)
    assert again.ofv == fit.ofv
    assert again.estimates == fit.estimates
    assert again.standard_errors == fit.standard_errors
    pd.testing.assert_frame_equal(again.table, fit.table, check_exact=True)


def test_an_interrupted_fit_ends_the_same_to_the_bit(study, fit):
    """A copy of the fifth state, as a checkpoint would give it back."""
    kept = []

    def stop(state, infos):
        if state.iteration == 5:
            arrays = {k: np.array(v) for k, v in vars(state).items() if isinstance(v, np.ndarray)}
            kept.append((EstimationState(**(vars(state) | arrays)), list(infos)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(study, FOCEI, callbacks=Callbacks(on_iteration=stop))
    again = run_fit(study, FOCEI, resume=kept[0])
    assert again.ofv == fit.ofv
    assert again.estimates == fit.estimates
    assert again.standard_errors == fit.standard_errors
    assert again.iterations == fit.iterations


def test_solvers_agree_on_predictions_and_their_derivatives(study, evaluate):
    """FO's value and exact gradient hold f, its first and its second derivatives."""
    method = get_method("fo")
    exact = evaluate(method, study.problem)
    general = evaluate(method, load_study("theophylline", solver="kvaerno5").problem)
    assert general.good.all()
    assert general.objective.sum() == pytest.approx(exact.objective.sum(), abs=1e-6)
    np.testing.assert_allclose(general.gradient, exact.gradient, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def block(copy):
    return load_study(copy(lambda text: text + '\n[omega]\nblocks = [["KA", "CL", "V"]]\n'))


def test_a_block_without_covariances_is_the_diagonal(study, block, evaluate):
    here, there = evaluate(FOCEI, study.problem), evaluate(FOCEI, block.problem)
    assert block.problem.structure.layout.names[3:9] == (
        *("OMEGA_KA", "OMEGA_KA_CL", "OMEGA_CL", "OMEGA_KA_V", "OMEGA_CL_V", "OMEGA_V"),
    )
    np.testing.assert_allclose(there.objective, here.objective, rtol=1e-12)


def test_a_full_block_fits_better(fit, block, minimise):
    """nlme's −2LL for it is 347.93, by another approximation and at its own estimates."""
    state = minimise(FOCEI, block.problem)
    minus2ll = state.ofv + 132 * np.log(2 * np.pi)
    assert state.status == "converged"
    assert state.ofv < fit.ofv - 5
    assert minus2ll == pytest.approx(347.9324, abs=1.0)
    assert np.abs(state.gradient.sum(axis=1)).max() < 0.02


def test_exponential_and_normal_effects_agree_when_small(study, copy, evaluate):
    """θ exp(η) = θ + θη + …: with ω of 10⁻⁴ the objective cannot tell them apart, once Ω is scaled by θ²."""
    small = ("iiv = 0.5", "iiv = 1e-8"), ("iiv = 0.1", "iiv = 1e-8")
    normal = load_study(copy(lambda text: _replaced(text, *small, normal=True))).problem
    lognormal = load_study(copy(lambda text: _replaced(text, *small))).problem
    a, b = (evaluate(get_method("fo"), p).objective for p in (normal, lognormal))
    np.testing.assert_allclose(a, b, rtol=1e-9)


def _replaced(text, *pairs, normal=False):
    for old, new in pairs:
        text = text.replace(old, new)
    if normal:
        for theta in ("1.5", "2.5", "30.0"):
            given = f"initial = {theta}\niiv = 1e-8"
            assert given in text
            text = text.replace(given, f'initial = {theta}\niiv = {float(theta) ** 2 * 1e-8}\ndistribution = "normal"')
    return text
