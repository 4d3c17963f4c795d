"""The two stages of an individual's parameters against the formula on one line."""

import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.model.load import load_model
from pbpk.population.individual import CovariateFactor, IndividualModel, VaryingParameter

MODEL = load_model("oral_one_compartment")
CONSTANTS = jnp.asarray(MODEL.values)[None, :, None]
THETA = {"CL": jnp.array(3.0), "V": jnp.array(30.0), "KA": jnp.array(1.2), "B": jnp.array(0.6)}
ETA = jnp.array([[0.3, -0.2, 0.0], [4.0, -5.0, 1.0]])  # CL, V


def individual(changes, overrides=()):
    """CL log-normal with the power of WT and an estimated effect of X, V normal with the same X, KA without η."""
    return IndividualModel(
        (VaryingParameter("CL"), VaryingParameter("V", "normal"), VaryingParameter("KA", random=False)),
        (
            CovariateFactor("CL", "WT", "power", 70.0, 0.75),
            CovariateFactor("CL", "X", "exponential", 1.0, "B", changes),
            CovariateFactor("V", "X", "linear", 1.0, 0.1, changes),
        ),
        ("WT", "X"),
        overrides,
    )


def parameters(who, covariates, overrides=None):
    if overrides is None:
        overrides = jnp.zeros((covariates.shape[0], 0, 3))
    u = who.individual_parameters(THETA, ETA, covariates[0])
    return dict(
        zip(
            MODEL.system.parameter_names,
            np.moveaxis(np.asarray(who.system_parameters(MODEL.system, u, CONSTANTS, covariates, overrides)), 1, 0),
            strict=True,
        )
    )


def formula(wt, x):
    cl = 3.0 * (wt / 70) ** 0.75 * np.exp(0.6 * (x - 1)) * np.exp(ETA[0])
    return cl, 30.0 * (1 + 0.1 * (x - 1)) + ETA[1]


WT = np.array([50.0, 70.0, 90.0])


@pytest.mark.parametrize("changes", [False, True])
def test_constant_covariates(changes):
    """Whether declared to change or not: the path through `u` differs, the numbers do not."""
    x = np.array([0.5, 1.0, 2.0])
    found = parameters(individual(changes), jnp.array([WT, x])[None])
    cl, v = formula(WT, x)
    np.testing.assert_allclose(found["CL"], cl[None], rtol=1e-14)
    np.testing.assert_allclose(found["V"], v[None], rtol=1e-14)
    np.testing.assert_allclose(found["KA"], 1.2)
    for name in ("ALAG1", "F1", "ALAG2", "F2"):
        np.testing.assert_array_equal(found[name], np.full((1, 3), MODEL.parameters[name].internal))


def test_covariates_that_change():
    x = np.array([[0.5, 1.0, 2.0], [1.0, 1.5, 2.0], [3.0, 1.0, 0.0]])
    found = parameters(individual(True), jnp.stack([jnp.broadcast_to(WT, (3, 3)), x], axis=1))
    cl, v = formula(WT, x)
    np.testing.assert_allclose(found["CL"], cl, rtol=1e-14)
    np.testing.assert_allclose(found["V"], v, rtol=1e-14)


def test_overrides_win_where_given():
    given = jnp.array([[[jnp.nan, 9.0, jnp.nan]]])
    found = parameters(individual(False, ("CL",)), jnp.array([WT, np.ones(3)])[None], given)
    cl, _ = formula(WT, np.ones(3))
    np.testing.assert_allclose(found["CL"], [[cl[0], 9.0, cl[2]]], rtol=1e-14)


def test_slots():
    """The solver is differentiated in these alone."""
    base = (("base", "CL"), ("base", "V"), ("base", "KA"))
    assert individual(False).slots == base
    assert individual(True).slots == (*base, ("eta", "V"), ("theta", "B"))
    assert individual(False).etas == ("CL", "V")


def test_at_reference_a_typical_patient_is_typical():
    found = individual(False).individual_parameters(THETA, 0 * ETA, jnp.array([[70.0] * 3, [1.0] * 3]))
    np.testing.assert_allclose(found, np.array([3.0, 30.0, 1.2])[:, None] * np.ones(3), rtol=1e-14)
