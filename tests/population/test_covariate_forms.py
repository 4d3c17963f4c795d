import numpy as np
import pytest

from pbpk.population.covariates import FORMS

# Values at x = 3 with reference 2 and b = 0.5, and at x = 1.
WANTED = {
    "power": (1.5**0.5, 0.5**0.5),
    "linear": (1.5, 0.5),
    "exponential": (np.exp(0.5), np.exp(-0.5)),
    "below": (1.0, 1.5),
    "above": (1.5, 1.0),
    "equals": (1.0, 1.0),
    "linear_below": (1.0, 0.5),
    "linear_above": (1.5, 1.0),
}


@pytest.mark.parametrize("form", FORMS)
def test_values(form):
    found = [float(FORMS[form](np.array(x), 2.0, 0.5)) for x in (3.0, 1.0)]
    np.testing.assert_allclose(found, WANTED[form], rtol=1e-14)


@pytest.mark.parametrize("form", [f for f in FORMS if f != "equals"])
@pytest.mark.parametrize("b", [-0.7, 0.0, 2.0])
def test_every_form_is_one_at_its_reference(form, b):
    assert float(FORMS[form](np.array(70.0), 70.0, b)) == 1.0


def test_equals_is_the_exception():
    """Its reference is the category that differs."""
    np.testing.assert_allclose(FORMS["equals"](np.array([0.0, 1.0]), 1.0, 0.4), [1.0, 1.4])


@pytest.mark.parametrize("form", FORMS)
def test_without_a_coefficient_there_is_no_effect(form):
    np.testing.assert_array_equal(FORMS[form](np.array([1.0, 2.0, 5.0]), 2.0, 0.0), [1.0, 1.0, 1.0])
