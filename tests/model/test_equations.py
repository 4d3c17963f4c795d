import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    clearance,
    competitive,
    conc,
    first_order,
    flux,
    observe,
    total,
    zero_order,
)
from pbpk.model.equations import EquationTerm, write_equations
from pbpk.model.load import load_model
from pbpk.model.system import build_system

a, b, c = EquationTerm("a"), EquationTerm("b"), EquationTerm("c")
depot = Compartment("depot", "mg")
central = Compartment("central", "mg", volume="V")


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (a + b * c, "a + b·c"),
        ((a + b) * c, "(a + b)·c"),
        (a * (b / c), "a·b/c"),
        (a / (b * c), "a/(b·c)"),
        (a / (b / c), "a/(b/c)"),
        (a - (b - c), "a − (b − c)"),
        (a - b - c, "a − b − c"),
        (2 * a, "2·a"),
        (np.float64(0.5) * a, "0.5·a"),
        (1 + a / b, "1 + a/b"),
        (1 - a, "1 − a"),
        (1 / (a + b), "1/(a + b)"),
        (a**b, "a^b"),
        ((a * b) ** 2, "(a·b)^2"),
        (a * b**2, "a·b^2"),
        (2**a, "2^a"),
        (-a * b, "(−a)·b"),
        (a / -2, "a/(-2)"),
    ],
)
def test_terms_need_only_the_brackets_they_need(term, text):
    assert term.text == text


def test_oral_model():
    assert write_equations(load_model("oral_one_compartment").system) == [
        "d(depot)/dt = −KA·depot",
        "d(central)/dt = KA·depot − CL·central/V",
        "cp = central/V",
    ]


def test_laws_observables_and_a_compartment_that_stays():
    still = Compartment("still", "mg")
    system = build_system(
        Block(
            (central, depot, still),
            (
                flux(central >> OUT, competitive, c=conc(central), rival=conc(central), vmax="VM", km="KM", ki="KI"),
                flux(OUT >> central, zero_order, rate="R"),
                flux(depot >> OUT, lambda a, k: k * a + 1.0, a=amount(depot), k="K"),
            ),
            observables=(observe("body", total(central, depot), ""), observe("left", amount(still), "")),
        )
    )
    assert write_equations(system) == [
        "d(central)/dt = −VM·central/V/(KM·(1 + central/V/KI) + central/V) + R",
        "d(depot)/dt = −(K·depot + 1)",
        "d(still)/dt = 0",
        "body = central + depot",
        "left = still",
    ]


def test_a_law_beyond_arithmetic_prints_as_a_call():
    def steep(c, k):
        return k * jnp.exp(c)

    def capped(c, k):
        return jnp.where(c > 1, k, k * c)

    fluxes = (flux(central >> OUT, law, c=conc(central), k="K") for law in (steep, capped))
    system = build_system(Block((central,), tuple(fluxes)))
    assert write_equations(system) == ["d(central)/dt = −steep(central/V, K) − capped(central/V, K)"]


def test_every_line_means_what_is_computed():
    """The text, read back by Python, gives the vector field."""
    system = build_system(
        Block(
            (depot, central),
            (
                flux(depot >> central, first_order, a=amount(depot), k="KA"),
                flux(central >> depot, lambda c, q, k: q * c / (k + c) - (c - k) * q**2, c=conc(central), q="Q", k="K"),
                flux(central >> OUT, clearance, c=conc(central), cl="CL"),
            ),
        )
    )
    values = {"KA": 1.3, "V": 7.0, "Q": 0.4, "K": 0.9, "CL": 2.1}
    y, p = jnp.array([3.0, 5.0]), jnp.array([values[n] for n in system.parameter_names])
    names = values | dict(zip(system.names, y, strict=True))
    for line, slope in zip(write_equations(system), system.vector_field(0.0, y, p), strict=False):
        right = line.split(" = ")[1].translate({ord("·"): "*", ord("−"): "-"}).replace("^", "**")
        assert eval(right, names) == pytest.approx(float(slope), rel=1e-13)
