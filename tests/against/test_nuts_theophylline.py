"""The posterior of theophylline against maximum likelihood by quadrature.

With weak priors the posterior of what the data determine lies around the maximum, as wide as its standard error; variances of
twelve subjects are skewed, so theirs lies above. Calibration by simulation takes minutes: benchmarks/nuts_calibration.py.
"""

import numpy as np
import pytest

from pbpk.estimation.bayes.convergence import ess_mean
from pbpk.estimation.methods import get_method
from pbpk.estimation.run import run_fit
from pbpk.study.load import load_study

pytest.importorskip("numpyro")
pytestmark = [pytest.mark.slow(seconds=45), pytest.mark.optimised]
LEAST = (
    118.1010  # over a 15³ Gauss–Hermite grid, to which test_theophylline.py and test_saem_theophylline.py hold our own
)
MAXIMUM = {  # estimate (θ as its logarithm) and standard error (of θ that of its logarithm)
    "KA": (0.45930, 0.1930),
    "CL": (1.01167, 0.0843),
    "V": (3.45385, 0.0463),
    "OMEGA_KA": (0.40509, 0.192),
    "OMEGA_CL": (0.07032, 0.035),
    "OMEGA_V": (0.01849, 0.0109),
    "add": (0.69591, 0.0497),
}


@pytest.fixture(scope="module")
def bayes():
    study = load_study("theophylline", settings={"estimation.warmup": "500", "estimation.draws": "500"})
    return run_fit(study, get_method("nuts"), seed=1)


@pytest.mark.timeout(1800)
def test_what_the_data_determine_is_where_likelihood_has_it(bayes):
    assert bayes.successful and bayes.extra["divergences"] == 0
    draws = bayes.files["draws.npz"]
    for i, name in enumerate(bayes.extra["posterior"]):
        mle, se = MAXIMUM[name]
        at, relative = (mle, se) if name in ("KA", "CL", "V") else (np.log(mle), se / mle)
        x = np.log(draws["parameters"][:, :, i])
        error = x.std() / np.sqrt(ess_mean(x))
        if name.startswith(
            "OMEGA_"
        ):  # a variance from N subjects: its posterior is skewed upwards, by about 2/N and more
            assert -3 * error < x.mean() - at < 0.6
            assert 0.8 < x.std() / relative < 1.5
        else:
            assert abs(x.mean() - at) < 3 * error + 0.25 * relative
            assert 0.85 < x.std() / relative < 1.5


@pytest.mark.timeout(1800)
def test_ofv_at_the_medians_is_above_the_least(bayes):
    assert LEAST - 0.2 < bayes.ofv < LEAST + 6
