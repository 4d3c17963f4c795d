"""Dose sizes and times as arrays: the same as in the regimen's words, and derivatives against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.errors import BadInput
from pbpk.model.load import load_model
from pbpk.population.doses import replace_doses, scale_doses_by_weight
from pbpk.population.simulate import simulate
from pbpk.regimen.dose import dose
from pbpk.regimen.void import void
from pbpk.solve.timeline import build_timeline

ORAL = load_model("oral_one_compartment")
T = np.array([0.5, 2.0, 6.0, 24.0])
# Not in the order of time; the first has additional doses.
REGIMEN = dose("100 mg", into="oral", at=3.0, ii=4, addl=2) + dose("0.05 g", into="iv", at=1.0, over="2 h")


def cp(model, amounts=None, times=None, regimen=REGIMEN, **more):
    return simulate(model, regimen, T, dose_amounts=amounts, dose_times=times, **more)["cp"][:, 0]


def test_they_are_those_of_the_regimen_in_its_own_units_and_order():
    np.testing.assert_allclose(cp(ORAL, [100, 0.05], [3.0, 1.0]), cp(ORAL), rtol=1e-12)
    swapped = dose("70 mg", into="oral", at=0.5, ii=4, addl=2) + dose("20 mg", into="iv", at=5.0, over="2 h")
    np.testing.assert_allclose(cp(ORAL, [70, 0.02], [0.5, 5.0]), cp(ORAL, regimen=swapped), rtol=1e-10, atol=1e-12)


def test_additional_doses_come_forward_with_theirs():
    """As given the third is after the last observation; moved, it is not."""
    late = dose("10 mg", into="iv", at=15.0, ii=6, addl=2)
    early = dose("10 mg", into="iv", at=1.0, ii=6, addl=2)
    np.testing.assert_allclose(cp(ORAL, times=[1.0], regimen=late), cp(ORAL, regimen=early), rtol=1e-10)


def test_a_dose_moved_to_an_observation_comes_before_it():
    moved = cp(ORAL, times=[2.0], regimen=dose("10 mg", into="iv", at=5.0))
    v = ORAL.parameters["V"].value
    np.testing.assert_allclose(moved[:2], [0.0, 10 / v], rtol=1e-12)


def test_voids_stay_where_they_are_when_a_dose_moves():
    """A void belongs to no dose, though it stands before the first record."""
    habit = void("depot", at=[4.0])
    moved = cp(ORAL, times=[2.0], regimen=dose("10 mg", into="oral") + habit)
    np.testing.assert_allclose(moved, cp(ORAL, regimen=dose("10 mg", into="oral", at=2.0) + habit), rtol=1e-10)


def test_the_sum_of_doses_is_that_of_the_replaced_amounts():
    """Also where the regimen's own amount is 0, in the regimen's unit."""
    regimen = dose("0 g", into="oral", ii=4, addl=2) + dose("5 mg", into="iv")
    path = simulate(ORAL, regimen, T, dose_amounts=[0.1, 2.0])
    np.testing.assert_allclose(path.administered, [302.0])


def test_a_dose_per_kg_is_still_multiplied_by_the_weight():
    regimen = dose("10 mg", into="iv", at=1.0) + dose("1 mg/kg", into="iv", at=0.5)
    timeline = build_timeline([regimen.to_frame(ORAL, T)], ORAL.system)
    replaced = replace_doses(timeline, regimen, ORAL, amounts=jnp.array([20.0, 3.0]))
    weighed = scale_doses_by_weight(replaced, regimen, np.array([50.0, 80.0]))
    assert np.sort(weighed.amount, axis=0)[-2:].tolist() == [[20.0, 20.0], [150.0, 240.0]]


def test_a_steady_states_dose():
    steady = dose("10 mg", into="iv", ii=6, ss=1)
    np.testing.assert_allclose(cp(ORAL, amounts=[25.0], regimen=steady), 2.5 * cp(ORAL, regimen=steady), rtol=1e-12)


@pytest.mark.parametrize("name", ["oral", "saturable"])
def test_gradients_agree_with_differences(name, saturable):
    """Reverse mode, and forward where it is asked for; a linear model, and a saturable one by rodas5p."""
    model = ORAL if name == "oral" else saturable
    at, step = (jnp.array([100.0, 0.05]), jnp.array([2.7, 1.1])), (1e-3, 1e-4)

    def final(amounts, times, **more):
        return cp(model, amounts, times, **more) @ jnp.array([1.0, -2.0, 3.0, 50.0])

    reverse = jax.jit(jax.grad(final, argnums=(0, 1)))(*at)
    for which in (0, 1):
        for k in range(2):
            e = jnp.zeros(2).at[k].set(step[which] * float(at[which][k]))
            high, low = (final(*(x + s * e * (w == which) for w, x in enumerate(at))) for s in (1, -1))
            np.testing.assert_allclose(reverse[which][k], (high - low) / (2 * float(e[k])), rtol=2e-5)
    if name == "oral":  # compiling both for both models would double the test
        forward = jax.jacfwd(lambda *x: final(*x, forward=True), argnums=(0, 1))(*at)
        np.testing.assert_allclose(forward, reverse, rtol=1e-6)


def test_the_whole_may_be_compiled_and_integrated():
    """∫cp to infinity is linear in the doses, whenever they are given; where they come too late it is NaN, not wrong."""

    def area(amounts, times):
        path = simulate(ORAL, REGIMEN, T, dose_amounts=amounts, dose_times=times, integrate=True)
        assert path.to_infinity is not None
        return path.to_infinity["cp"][0]

    slope = jax.jit(jax.grad(area))(jnp.array([100.0, 0.05]), jnp.array([3.0, 1.0]))
    clearance = ORAL.parameters["CL"].value
    np.testing.assert_allclose(slope, [3 / clearance, 1000 / clearance], rtol=1e-8)
    assert np.isnan(jax.jit(area)(jnp.array([100.0, 0.05]), jnp.array([3.0, 23.0])))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"amounts": [1.0]}, "the regimen 2 doses"),
        ({"amounts": [1.0, -1.0]}, "from 0 on"),
        ({"times": [1.0, np.nan]}, "from 0 on"),
        ({"times": [1.0], "regimen": dose("1 mg", into="iv", ii=6, ss=1)}, "steady state"),
    ],
)
def test_refused(more, words):
    with pytest.raises(BadInput) as caught:
        cp(ORAL, **more)
    assert words in str(caught.value)
