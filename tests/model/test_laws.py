"""Each law's value by hand, and what the unit check lets through and refuses."""

import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.errors import BadInput
from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    clearance,
    competitive,
    conc,
    emax,
    first_order,
    flow,
    flux,
    inhibited_first_order,
    perfusion,
    radiation_loss,
    saturable,
    symport,
    trace_symport,
    zero_order,
)
from pbpk.model.check import check_model

# law, arguments, its value by hand, and its arguments' units
LAWS = [
    (first_order, {"a": 3.0, "k": 0.5}, 1.5, {"k": "0.5 1/h"}),
    (clearance, {"c": 3.0, "cl": 2.0}, 6.0, {"cl": "2 L/h"}),
    (flow, {"c": 3.0, "q": 2.0}, 6.0, {"q": "2 mL/min"}),
    (perfusion, {"c": 3.0, "q": 2.0, "kp": 4.0}, 1.5, {"q": "2 L/h", "kp": "4"}),
    (saturable, {"c": 3.0, "vmax": 8.0, "km": 1.0}, 6.0, {"vmax": "8 mg/h", "km": "1 mg/L"}),
    (
        competitive,
        {"c": 3.0, "rival": 4.0, "vmax": 15.0, "km": 1.0, "ki": 2.0},
        7.5,
        {"vmax": "15 mg/h", "km": "1 mg/L", "ki": "2 ug/L"},
    ),
    (emax, {"a": 3.0, "vmax": 8.0, "half": 1.0}, 6.0, {"vmax": "8 mg/h", "half": "1 mg"}),
    (
        inhibited_first_order,
        {"a": 3.0, "rival": 2.0, "k": 0.5, "half": 2.0},
        0.75,
        {"rival": "4 nmol", "k": "0.5 1/h", "half": "2 nmol"},
    ),
    (radiation_loss, {"level": 2.0, "c": 3.0, "k": 0.5}, 3.0, {"level": "2", "k": "0.5 L/h"}),
    (
        trace_symport,
        {"c": 6.0, "vmax": 8.0, "km": 2.0, "crowd": 4.0},
        6.0,
        {"vmax": "8 nmol/h", "km": "2 nmol/L", "crowd": "4"},
    ),
    (
        symport,
        {
            **{"c": 6.0, "level": 2.0, "own": 0.5, "vmax": 8.0, "km": 2.0, "iodide": 3.0, "km_iodide": 3.0},
            **{"perchlorate": 1.0, "ki_perchlorate": 2.0, "thiocyanate": 10.0, "ki_thiocyanate": 20.0},
        },
        2 * 8 * 6 / (2 * 3 + 3),
        {
            **{"level": "2", "own": "0.5 nmol/mg", "vmax": "8 nmol/h", "km": "2 nmol/L", "iodide": "3 umol/L"},
            **{"km_iodide": "3 umol/L", "perchlorate": "1 nmol/L", "ki_perchlorate": "2 nmol/L"},
            **{"thiocyanate": "10 nmol/L", "ki_thiocyanate": "20 umol/L"},
        },
    ),
    (zero_order, {"rate": 0.7}, 0.7, {"rate": "0.7 mg/h"}),
]
WRONG = [
    (first_order, {"k": "1 L/h"}, ["first_order"]),
    (clearance, {"cl": "1 1/h"}, ["clearance"]),
    (flow, {"q": "1 mg/h"}, ["flow"]),
    (perfusion, {"q": "1 L/h", "kp": "1 L"}, ["perfusion"]),
    (saturable, {"vmax": "1 1/h", "km": "1 mg/L"}, ["saturable"]),
    (saturable, {"vmax": "1 mg/h", "km": "1 mg"}, ["saturable mixes", "milligram", "liter"]),
    (competitive, {"vmax": "1 mg/h", "km": "1 mg/L", "ki": "1 nmol/L"}, ["competitive mixes", "dimensionless"]),
    (zero_order, {"rate": "1 mg"}, ["zero_order"]),
]
body = Compartment("body", "mg", volume="V")


def in_a_model(law, units):
    path = OUT >> body if law is zero_order else body >> OUT
    state = {"a": amount(body), "c": conc(body), "rival": conc(body)}
    names = law.__code__.co_varnames[: law.__code__.co_argcount]
    return Block((body,), (flux(path, law, **{n: n if n in units else state[n] for n in names}),))


@pytest.mark.parametrize(("law", "arguments", "value", "units"), LAWS, ids=lambda x: getattr(x, "__name__", ""))
def test_value(law, arguments, value, units):
    assert law(**arguments) == pytest.approx(value, rel=1e-15)
    many = {name: jnp.full(3, x) for name, x in arguments.items()}
    np.testing.assert_allclose(law(**many), np.full(3, value), rtol=1e-15)


@pytest.mark.parametrize(("law", "arguments", "value", "units"), LAWS, ids=lambda x: getattr(x, "__name__", ""))
def test_units_that_fit(law, arguments, value, units, table):
    check_model(in_a_model(law, units), table(units, V="1 L"))


@pytest.mark.parametrize(("law", "units", "words"), WRONG, ids=lambda x: getattr(x, "__name__", ""))
def test_units_that_do_not_fit(law, units, words, table):
    with pytest.raises(BadInput) as caught:
        check_model(in_a_model(law, units), table(units, V="1 L"))
    assert caught.value.exit_code == 3
    assert "test_laws.py:" in caught.value.where
    assert all(word in caught.value.render() for word in words)
