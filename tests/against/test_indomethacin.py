"""Indomethacin (Kwan 1976) against SciPy on the biexponential: what naive pooling must find.

No published fit has this parametrisation; its FOCEI objective is checked in tests/estimation/test_objective.py.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import load_study


@pytest.fixture(scope="module")
def study():
    return load_study("indomethacin")


def biexponential(t, dose, CL, V1, Q, V2):
    k10, k12, k21 = CL / V1, Q / V1, Q / V2
    middle, product = (k10 + k12 + k21) / 2, k10 * k21
    fast = middle + np.sqrt(middle**2 - product)
    slow = product / fast
    return dose / V1 * ((fast - k21) * np.exp(-fast * t) + (k21 - slow) * np.exp(-slow * t)) / (fast - slow)


def test_pooled_fit_is_the_weighted_fit_of_all_samples(study):
    rows = pd.read_csv(study.folder / "data.csv", na_values=".").dropna(subset="DV")

    def minus_two_log_likelihood(x):
        f = biexponential(rows["TIME"].to_numpy(), 25.0, *np.exp(x[:4]))
        sd = np.exp(x[4]) * f
        return np.sum(2 * np.log(sd) + ((rows["DV"] - f) / sd) ** 2)

    start = np.log([8.0, 8.0, 6.0, 12.0, 0.3])
    best = minimize(
        minus_two_log_likelihood,
        start,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 20000, "maxfev": 20000},
    )
    fit = run_fit(study, get_method("pooled"))
    assert fit.successful, fit.verdict
    assert fit.ofv == pytest.approx(best.fun, abs=1e-6)
    found = [fit.estimates[n] for n in ("CL", "V1", "Q", "V2", "prop")]
    np.testing.assert_allclose(found, np.exp(best.x), rtol=1e-4)


def test_the_best_two_compartments_of_six_subjects(study):
    """A regression: what our FOCEI finds, from the declared start and from a poor one."""
    first = run_fit(study, get_method("focei"))
    assert first.successful
    poor = load_study("indomethacin", settings={"V1": "20", "Q": "2", "V2": "5"})
    second = run_fit(poor, get_method("focei"))
    assert second.ofv == pytest.approx(first.ofv, abs=1e-4)
    assert second.estimates == pytest.approx(first.estimates, rel=2e-3)
