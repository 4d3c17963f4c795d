"""SAEM and importance sampling against the exact maximum of the marginal likelihood, which they are to find.

Theophylline: maximised over a 15³ Gauss–Hermite grid, OFV 118.1010; estimates and standard errors, of θ those of its logarithm.
 Other programs' SAEM on the same data: nlmixr2 .458812, 1.010967, 3.454311, σ .697863; pynlme .453383, 1.01115,
3.452508, σ .695558. Tolerances are in standard errors of the estimates: sampling leaves a few hundredths of one.
"""

import math

import numpy as np
import pytest

from pbpk.estimation.importance import minus2ll_by_sampling
from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import load_study

pytestmark = pytest.mark.optimised
EXACT = {  # estimate (θ as its logarithm) and standard error
    "KA": (0.45930, 0.1930),
    "CL": (1.01167, 0.0843),
    "V": (3.45385, 0.0463),
    "OMEGA_KA": (0.40509, 0.192),
    "OMEGA_CL": (0.07032, 0.035),
    "OMEGA_V": (0.01849, 0.0109),
    "add": (0.69591, 0.0497),
}
THETAS = ("KA", "CL", "V")


@pytest.fixture(scope="module")
def fits():
    made = {}

    def fit(method, study="theophylline", **settings):
        key = (method, study, tuple(settings))
        if key not in made:
            made[key] = run_fit(load_study(study, settings=settings), get_method(method))
        return made[key]

    return fit


@pytest.mark.slow(seconds=110)
@pytest.mark.parametrize(("method", "within"), [("saem", 0.1), ("imp", 0.02)])
def test_theophylline(fits, method, within):
    fit = fits(method)
    assert fit.successful, fit.verdict
    assert fit.ofv == pytest.approx(118.1010, abs=0.1)
    for name, (estimate, error) in EXACT.items():
        found = math.log(fit.estimates[name]) if name in THETAS else fit.estimates[name]
        assert found == pytest.approx(estimate, abs=within * error), name


@pytest.mark.slow
@pytest.mark.parametrize("method", ["saem", "imp"])
def test_standard_errors_of_theophylline(fits, method):
    fit = fits(method)
    for name, (_, error) in EXACT.items():
        found = fit.log_estimates[name]["se"] if name in THETAS else fit.standard_errors["R"][name]
        assert found == pytest.approx(error, rel=0.05), name


# Where our quadrature has the maximum (its fits, by BFGS): OFV, estimates and standard errors, which are second differences.
SOUGHT = {
    "a theta without an eta": (
        ("theophylline", {"parameters.KA.iiv": "none"}),
        176.235445,
        {
            "KA": (1.531439, 0.121097),
            "CL": (2.679300, 0.270744),
            "V": (32.411393, 1.815365),
            "OMEGA_CL": (0.08907881, 0.0469692),
            "OMEGA_V": (0.02370314, 0.0129039),
            "add": (1.0202244, 0.0694459),
        },
    ),
    "covariates": (
        ("phenobarbital", {}),
        585.903087,
        {
            "CL": (0.004616859, 0.000211282),
            "V": (0.9752421, 0.0278626),
            "V_APGR": (0.1586747, 0.0784867),
            "OMEGA_CL": (0.02896663, 0.0144333),
            "OMEGA_V": (0.02786746, 0.0072172),
            "prop": (0.11506423, 0.00949856),
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SOUGHT)
def test_saem_ends_where_quadrature_does(fits, case):
    """The maximum found by quadrature, in its own standard errors; its OFV; and standard errors that are no artefact."""
    (study, settings), ofv, exact = SOUGHT[case]
    problem = load_study(study, settings=settings).problem
    assert tuple(exact) == problem.structure.layout.names
    psi = problem.structure.layout.to_unconstrained(np.array([estimate for estimate, _ in exact.values()]))
    there = get_method("agq").evaluate(problem, psi, np.zeros((2, problem.subjects)))
    assert float(np.sum(there.objective)) == pytest.approx(ofv, abs=1e-5)
    assert (
        np.abs(np.sum(there.gradient, axis=1)).max() < 0.01
    )  # hundredths of a standard error at most from the maximum

    found = fits("saem", study, **settings)
    assert found.successful
    assert found.ofv == pytest.approx(ofv, abs=0.15)
    for name, (value, error) in exact.items():
        assert found.estimates[name] == pytest.approx(value, abs=0.15 * error), name
        assert found.standard_errors["R"][name] == pytest.approx(error, rel=0.05), name


@pytest.mark.slow
def test_a_likelihood_for_any_fit(fits):
    """At FOCEI's estimates of phenobarbital, the integral that a NumPy oracle gives is 586.2667."""
    problem = load_study("phenobarbital").problem
    published = np.array([4.69555e-3, 0.984258, 0.15892, 0.0293508, 0.027906, 0.013241**0.5])
    assert problem.structure.layout.names == ("CL", "V", "V_APGR", "OMEGA_CL", "OMEGA_V", "prop")
    found = minus2ll_by_sampling(problem, problem.structure.layout.to_unconstrained(published), samples=4096)
    assert found.ofv == pytest.approx(586.2667, abs=0.05)
    assert found.error < 0.2
