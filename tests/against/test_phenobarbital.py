"""Phenobarbital in 59 neonates (Grasela & Donn 1985) against the NONMEM run that ships with PsN and pharmpy."""

import pytest

from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import load_study

PUBLISHED = {  # estimate and standard error, which is NONMEM's default: the sandwich
    "CL": (4.69555e-3, 2.10e-4),
    "V": (0.984258, 0.0269),
    "V_APGR": (0.15892, 0.0838),
    "OMEGA_CL": (0.0293508, 0.0134),
    "OMEGA_V": (0.027906, 0.0075),
    "prop": (0.013241**0.5, 0.00228 / (2 * 0.013241**0.5)),  # NONMEM's is the variance
}


@pytest.fixture(scope="module")
def fit():
    return run_fit(load_study("phenobarbital"), get_method("focei"))


def test_objective(fit):
    assert (fit.subjects, fit.observations) == (59, 155)
    assert fit.successful, fit.verdict
    assert fit.ofv == pytest.approx(586.276056, abs=1e-3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_estimates(fit, name):
    assert fit.estimates[name] == pytest.approx(PUBLISHED[name][0], rel=0.005)


@pytest.mark.parametrize("name", PUBLISHED)
def test_standard_errors(fit, name):
    assert fit.printed_matrix == "sandwich"
    assert fit.standard_errors["sandwich"][name] == pytest.approx(PUBLISHED[name][1], rel=0.01)
    assert fit.standard_errors["R"][name] == pytest.approx(PUBLISHED[name][1], rel=0.15)  # the same but for robustness
