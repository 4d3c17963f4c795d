"""A fit's covariance as uncertain kinetics: drawn as it says, correlations and all, and doses at the estimates."""

import math

import numpy as np
import pytest

from pbpk.dosimetry.uncertain.doses import dose_uncertainty
from pbpk.errors import BadInput
from pbpk.estimation.methods import get_method
from pbpk.estimation.state import EstimationState
from pbpk.run_folders.fitted_kinetics import fitted_kinetics
from pbpk.study.load import load_study
from pbpk.uncertainty.finished_fit import build_finished_fit

IN, OUT = "astatide.blood_to_thyroid", "astatide.thyroid_to_blood"
SD = 0.05
QUIET = {"mass_sd": 0.0, "s_sd": {"alpha": 0.0, "electron": 0.0, "photon": 0.0}}


def fit_with(correlation):
    """A study taken as converged where it starts, with SEs of 5 % and one correlation."""
    study = load_study("astatide_reference")
    psi = np.asarray(study.problem.initial_unconstrained)
    none = np.zeros(0)
    state = EstimationState(
        psi, 0.0, none, none, np.zeros((0, study.problem.subjects)), np.eye(len(psi)), status="converged"
    )
    fit = build_finished_fit(study, get_method("pooled"), state)
    relative = np.eye(len(psi)) * SD**2
    i, j = fit.names.index(IN), fit.names.index(OUT)
    relative[i, j] = relative[j, i] = correlation * SD**2
    natural = fit.map_to_natural(psi)[0]
    return build_finished_fit(study, get_method("pooled"), state, covariance=relative * np.outer(natural, natural))


@pytest.fixture(scope="module")
def alone():
    return fitted_kinetics(fit_with(0.0))


def test_draws_have_the_covariance(alone):
    _, kinetics = alone
    z = np.random.default_rng(1).standard_normal((len(kinetics.origins), 50_000))
    drawn = kinetics.values(z, False)
    assert np.log(np.asarray(drawn[IN])).std() == pytest.approx(SD, rel=0.02)
    assert float(np.median(np.asarray(drawn[IN]))) == pytest.approx(2.27, rel=2e-3)
    _, together = fitted_kinetics(fit_with(0.9))
    both = together.values(z, False)
    assert np.corrcoef(np.log(np.asarray(both[IN])), np.log(np.asarray(both[OUT])))[0, 1] == pytest.approx(
        0.9, abs=0.01
    )


def test_what_is_held_stays(alone):
    model, kinetics = alone
    z = np.ones((len(kinetics.origins), 3))
    assert np.asarray(kinetics.values(z, False)["astatide.other_1_to_blood"]) == pytest.approx([151.0] * 3)
    assert model.parameters[IN].value == pytest.approx(2.27)


@pytest.mark.slow
def test_correlations_reach_the_dose(alone):
    """The thyroid's dose goes with uptake and against release, so that SEs that go together bring less of it."""
    model, kinetics = alone
    first = dose_uncertainty(model, kinetics=kinetics, **QUIET).spreads["absorbed_dose"]["thyroid"]
    _, together = fitted_kinetics(fit_with(0.9))
    second = dose_uncertainty(model, kinetics=together, **QUIET).spreads["absorbed_dose"]["thyroid"]
    # slopes of ln D on ln k from two models a little apart
    slope = {}
    for name in (IN, OUT):
        value = model.parameters[name].value
        doses = []
        for step in (1.01, 1 / 1.01):
            moved = model.with_values({name: value * step})
            found = dose_uncertainty(moved, kinetics={r: 0.0 for r in model.parameters.rows}, **QUIET)
            doses.append(found.spreads["absorbed_dose"]["thyroid"].value)
        slope[name] = math.log(doses[0] / doses[1]) / (2 * math.log(1.01))
    assert slope[IN] > 0 > slope[OUT]
    saved = 2 * 0.9 * slope[IN] * slope[OUT] * SD**2
    relative = [math.log1p((s.sd / s.mean) ** 2) for s in (first, second)]
    assert relative[1] - relative[0] == pytest.approx(saved, rel=0.02)


def test_a_fit_without_a_covariance_has_no_doubts_to_carry():
    study = load_study("astatide_reference")
    psi, none = np.asarray(study.problem.initial_unconstrained), np.zeros(0)
    state = EstimationState(
        psi, 0.0, none, none, np.zeros((0, study.problem.subjects)), np.eye(len(psi)), status="converged"
    )
    with pytest.raises(BadInput, match="no covariance"):
        fitted_kinetics(build_finished_fit(study, get_method("pooled"), state))
