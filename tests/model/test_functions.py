"""Functions in laws: their units, their symbols, their numbers; and what no law can be, named with its line."""

import math

import numpy as np
import pytest

from pbpk import units
from pbpk.errors import BadInput
from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    conc,
    cos,
    exp,
    flux,
    functions,
    log,
    maximum,
    minimum,
    observe,
    sin,
    sqrt,
    total,
    where,
)
from pbpk.model.check import check_model
from pbpk.model.equations import write_equations
from pbpk.model.system import build_system

central = Compartment("central", "mg", volume="V")
store = Compartment("store", "mg", volume="V")


def quantity(value, unit):
    return units.get_registry().Quantity(value, unit)


def test_functions_of_numbers_know_units():
    half = quantity(500.0, "ug/L") / quantity(1.0, "mg/L")
    assert exp(half).magnitude == pytest.approx(math.exp(0.5))
    assert log(half).magnitude == pytest.approx(math.log(0.5))
    assert cos(half).magnitude == pytest.approx(math.cos(0.5))
    assert sin(half).magnitude == pytest.approx(math.sin(0.5))
    assert sqrt(quantity(9.0, "mg^2")) == quantity(3.0, "mg")
    assert minimum(quantity(1.0, "h"), quantity(30.0, "min")) == quantity(0.5, "h")
    assert maximum(quantity(1.0, "h"), 0) == quantity(1.0, "h")
    assert where(quantity(1, "h") > quantity(2, "min"), 0, quantity(3, "mg")) == quantity(0, "mg")


@pytest.mark.parametrize("law", [lambda x, y: exp(x), lambda x, y: minimum(x, y), lambda x, y: where(True, x, y)])
def test_units_that_do_not_fit_are_refused(law):
    import pint

    with pytest.raises(pint.DimensionalityError):
        law(quantity(1.0, "mg"), quantity(1.0, "h"))


def test_functions_of_arrays_are_numpys():
    x = np.array([0.1, 0.2])
    for name in ("exp", "log", "cos", "sin", "sqrt"):
        assert np.array_equal(getattr(functions, name)(x), getattr(np, name)(x))
    assert isinstance(exp(x), np.ndarray)


def waves(c, vmax, half, t):
    return where(c > half, vmax * exp(-c / half), minimum(vmax, 2 * vmax) * sqrt(c / half)) * cos(t)


def test_equations_show_functions():
    block = Block(
        (central,),
        (flux(central >> OUT, waves, c=conc(central), vmax="VM", half="KM", t="T"),),
    )
    assert write_equations(build_system(block))[0] == (
        "d(central)/dt = −where(central/V > KM, VM·exp((−central/V)/KM), minimum(VM, 2·VM)·sqrt(central/V/KM))·cos(T)"
    )


def choosing(c, vmax, half):
    if c > half:
        return vmax
    return vmax * c / half


def by_python(c, vmax, half):
    return vmax * min(c / half, 1.0)


def by_numpy(c, vmax, half):
    return vmax * np.asarray(c / half).sum()


def by_math(c, vmax, half):
    return vmax * math.exp(-c / half)


def no_return(c, vmax, half):
    _ = vmax * c / half


ROWS = {"V": "10 L", "VM": "2 mg/h", "KM": "1 mg/L", "T": "1", "CL": "3 L/h"}


@pytest.mark.parametrize(
    ("law", "words"),
    [
        (choosing, ("decides by the size of an argument", "where(condition, value, otherwise)")),
        (by_python, ("decides by the size", "minimum(a, b)")),
        (by_numpy, ("by_numpy", "exp, log, sqrt")),
        (by_math, ("by_math", "exp, log, sqrt")),
        (no_return, ("gives None", "return")),
    ],
)
@pytest.mark.parametrize("observed", [False, True])
def test_slips_in_laws_are_named_with_their_line(table, law, words, observed):
    arguments = {"c": conc(central), "vmax": "VM", "half": "KM"}
    out = flux(central >> OUT, law, **arguments)
    block = Block((central,), (out,))
    if observed:
        plain = flux(central >> OUT, lambda c, cl: cl * c, c=conc(central), cl="CL")
        block = Block((central,), (plain,), observables=(observe("x", law, **arguments),))
    with pytest.raises(BadInput) as caught:
        check_model(block, table(ROWS))
    message = caught.value.render()
    assert "test_functions.py:" in message
    for word in words:
        assert word in message


def test_slips_in_bindings_are_named():
    with pytest.raises(BadInput, match=r"conc\(central\)") as caught:
        total(conc(central), conc(store))
    assert "test_functions.py:" in caught.value.render()
    law = waves
    for wrong, word in (
        (total(central, store), "a total"),
        (central, "the compartment `central`"),
        (2.0, "2.0"),
        (amount, "the function amount"),
    ):
        with pytest.raises(BadInput, match=word):
            flux(central >> OUT, law, c=wrong, vmax="VM", half="KM", t="T")
    with pytest.raises(BadInput, match="needs an arrow"):
        flux(central, law)
    with pytest.raises(BadInput, match="cannot observe"):
        observe("x", central)
    with pytest.raises(BadInput, match="only a law takes"):
        observe("x", amount(central), unit="mg")
