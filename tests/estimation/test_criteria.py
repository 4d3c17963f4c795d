"""AIC, BIC, weights and tails against numbers worked out by hand and scipy's χ²."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from pbpk.estimation import criteria


def test_aic_and_bic_by_hand():
    assert criteria.aic(359.40319, 7) == pytest.approx(373.40319, rel=1e-15)
    assert criteria.bic(100.0, 3, 50) == pytest.approx(100 + 3 * 3.912023005428146, rel=1e-15)
    assert criteria.bicc(100.0, 2, 1, 5, 50) == pytest.approx(
        100 + 2 * 1.6094379124341003 + 3.912023005428146, rel=1e-15
    )


def test_bicc_is_bic_where_nothing_varies_or_each_subject_gave_one_observation():
    assert criteria.bicc(100.0, 0, 4, 5, 50) == criteria.bic(100.0, 4, 50)
    assert criteria.bicc(100.0, 3, 1, 50, 50) == pytest.approx(criteria.bic(100.0, 4, 50), rel=1e-15)


def test_weights():
    """Burnham & Anderson's: Δ of 0, 2 and 10 weigh as 1, e⁻¹ and e⁻⁵."""
    found = criteria.akaike_weights([1002.0, 1000.0, 1010.0])
    parts = np.array([math.exp(-1), 1, math.exp(-5)])
    np.testing.assert_allclose(found, parts / parts.sum(), rtol=1e-14)
    assert criteria.akaike_weights([7.0]) == [1.0] and criteria.akaike_weights([]) == []
    assert criteria.akaike_weights([0.0, 1e6]) == [1.0, 0.0], "no overflow"


@pytest.mark.parametrize("degrees", [1, 2, 7])
@pytest.mark.parametrize("statistic", [1e-6, 0.5, 3.841458820694124, 60.0])
def test_tails_are_scipys(statistic, degrees):
    assert criteria.chi2_tail(statistic, degrees) == pytest.approx(chi2.sf(statistic, degrees), rel=1e-12)
    below = chi2.sf(statistic, degrees - 1) if degrees > 1 else 0.0
    wanted = (below + chi2.sf(statistic, degrees)) / 2
    assert criteria.chi2_mixture_tail(statistic, degrees) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("statistic", [0.0, -0.004])
def test_no_better_is_no_evidence(statistic):
    assert criteria.chi2_tail(statistic, 2) == criteria.chi2_mixture_tail(statistic, 1) == 1.0
