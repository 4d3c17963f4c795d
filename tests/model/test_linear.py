"""Which laws are called linear. A false "linear" is a wrong answer; a false "nonlinear" only costs time."""

import jax.numpy as jnp
import pytest

from pbpk.model import OUT, Compartment, amount, conc, flux
from pbpk.model import laws as library
from pbpk.model.linear import is_linear

body = Compartment("body", "mg", volume="V")
other = Compartment("other", "mg", volume="V")
one = {"x": amount(body), "k": "K"}
two = {"x": amount(body), "z": conc(other), "k": "K"}

LAWS = [
    ("proportional", lambda x, k: k * x, one, True),
    ("affine", lambda x, k: k * x + 2.0, one, True),
    ("sum of two states", lambda x, z, k: k * (x - 3 * z), two, True),
    ("square of the parameter", lambda x, k: k * k * x / (1 + k), one, True),
    ("constant", lambda x, k: k, one, True),
    ("square over itself", lambda x, k: k * x * x / x, one, False),  # linear, and no harm in not seeing it
    ("product of states", lambda x, z, k: k * x * z, two, False),
    ("where on the state", lambda x, k: jnp.where(x > 1, k * x, 2 * k * x), one, False),
    ("maximum", lambda x, k: jnp.maximum(k * x, 1.0), one, False),
    ("sign: its tangent is zero", lambda x, k: k * jnp.sign(x - 1), one, False),
    ("step: its tangent is zero", lambda x, k: k * (x > 1), one, False),
    ("floor: its tangent is zero", lambda x, k: k * jnp.floor(x), one, False),
    ("power", lambda x, k: k * x**1.01, one, False),
    ("saturation", lambda x, k: x / (k + x), one, False),
    ("exponential", lambda x, k: k * jnp.exp(-x), one, False),
]


@pytest.mark.parametrize(("law", "bindings", "linear"), [case[1:] for case in LAWS], ids=[case[0] for case in LAWS])
def test_laws(law, bindings, linear):
    assert is_linear(flux(body >> OUT, law, **bindings)) is linear


@pytest.mark.parametrize("name", ["first_order", "clearance", "flow", "perfusion"])
def test_linear_laws_of_the_library(name):
    law = getattr(library, name)
    first, *rest = law.__code__.co_varnames[: law.__code__.co_argcount]
    assert is_linear(flux(body >> OUT, law, **{first: amount(body)}, **{r: r.upper() for r in rest}))


def test_other_laws_of_the_library():
    concentrations = {"c": conc(body), "vmax": "VM", "km": "KM"}
    assert is_linear(flux(OUT >> body, library.zero_order, rate="R"))
    assert not is_linear(flux(body >> OUT, library.saturable, **concentrations))
    assert not is_linear(flux(body >> OUT, library.competitive, rival=conc(other), ki="KI", **concentrations))


def test_a_state_bound_to_a_parameter_makes_a_law_linear():
    """Michaelis–Menten at a fixed concentration is a constant: the binding decides, not the law."""
    assert is_linear(flux(body >> OUT, library.saturable, c="C", vmax="VM", km="KM"))
