import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.fit.residual import MODELS, Endpoint, variance

F = jnp.array([0.0, 0.5, 4.0])

# Var(y | f) at f = 0, 0.5 and 4 with add = 0.3 and prop = 0.2
WANTED = {
    "additive": [0.09, 0.09, 0.09],
    "proportional": [0.0, 0.01, 0.64],
    "combined1": [0.09, 0.16, 1.21],
    "combined2": [0.09, 0.10, 0.73],
}


@pytest.mark.parametrize("model", MODELS)
def test_variance_of_each_model(model):
    names = MODELS[model][0]
    sigma = {"add": 0.3, "prop": 0.2}
    found = variance((Endpoint("cp", model, names),), jnp.zeros(3, int), F, sigma)
    np.testing.assert_allclose(found, WANTED[model], rtol=1e-14)


def test_each_endpoint_has_its_own():
    endpoints = (Endpoint("cp", "proportional", ("prop_cp",)), Endpoint("ct", "additive", ("add_ct",)))
    found = variance(endpoints, jnp.array([1, 0, 1]), F, {"prop_cp": 0.2, "add_ct": 0.5})
    np.testing.assert_allclose(found, [0.25, 0.01, 0.25], rtol=1e-14)
