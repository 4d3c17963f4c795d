"""Faults found before any number is computed: each names the line, what came, and what was wanted."""

import jax.numpy as jnp
import pytest

from pbpk.errors import BadInput
from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    clearance,
    conc,
    first_order,
    flux,
    observe,
    physical_decay,
    saturable,
    total,
)
from pbpk.model.check import check_model

depot = Compartment("depot", "mg")
central = Compartment("central", "mg", volume="V")
absorb = flux(depot >> central, first_order, a=amount(depot), k="KA")
lose = flux(central >> OUT, clearance, c=conc(central), cl="CL")
GOOD = {"KA": "1 1/h", "CL": "2 L/h", "V": "10 L"}


def refused(block, table, *words):
    with pytest.raises(BadInput) as caught:
        check_model(block, table)
    assert caught.value.exit_code == 3
    text = caught.value.render()
    for word in words:
        assert word in text, (word, text)
    return caught.value


def test_a_good_model_has_no_remarks(table):
    assert check_model(Block((depot, central), (absorb, lose), routes={"oral": depot}), table(GOOD)) == []


def test_a_clearance_where_a_rate_constant_is_wanted(table):
    error = refused(
        Block((depot, central), (absorb, lose)),
        table(GOOD, KA="30 mL/min"),
        '"mL/min"',
        '"1/h"',
        "`KA`",
        "depot -> central",
    )
    assert error.where.startswith("test_check.py:")
    assert "clearance" in error.hint


def test_a_rate_constant_where_a_clearance_is_wanted(table):
    refused(Block((depot, central), (absorb, lose)), table(GOOD, CL="2 1/h"), '"1/h"', '"L/h"', "first_order")


def test_dimensions_that_cannot_be_added(table):
    mixed = flux(central >> OUT, saturable, c=amount(central), vmax="VM", km="KM")
    error = refused(
        Block((central,), (mixed,)), table(GOOD, VM="1 mg/h", KM="1 mg/L"), "saturable mixes", "milligram / liter"
    )
    assert "km = `KM`" in error.why


def test_activity_is_no_rate_constant(table):
    """One becquerel is one decay per second, and pint's own registry would let MBq stand for 1/h."""
    organ = Compartment("organ", "MBq")
    decay = Block((organ,), physical_decay(organ))
    assert check_model(decay, table({"decay.k": "0.1 1/d"})) == ["`organ` is entered by no flux and no route"]
    refused(decay, table({"decay.k": "1 MBq"}), "organ -> out", '"MBq"', "MBq/time")


def test_compartments_of_different_kinds_are_not_joined(table):
    organ = Compartment("organ", "MBq")
    refused(
        Block((depot, organ), (flux(depot >> organ, first_order, a=amount(depot), k="KA"),)), table(GOOD), "mg to MBq"
    )


def test_same_kind_in_other_units_is_fine(table):
    grams = Compartment("grams", "g")
    block = Block((depot, grams), (flux(depot >> grams, first_order, a=amount(depot), k="KA"),), routes={"oral": depot})
    assert "joins" not in str(check_model(block, table(KA="1 1/h")))


def test_a_missing_parameter_with_a_near_match_and_its_line(table):
    error = refused(
        Block((depot, central), (absorb, lose)), table(Ka="1 1/h", CL="2 L/h", V="10 L"), "no parameter `KA`"
    )
    assert "did you mean `Ka`?" in error.hint
    assert error.where == f"{absorb.where}: depot -> central"


def test_a_missing_volume(table):
    refused(Block((depot, central), (absorb, lose)), table(KA="1 1/h", CL="2 L/h"), "no parameter `V`", "central")


@pytest.mark.parametrize(("role", "unit"), [("volume", "mg"), ("lag", "L"), ("bioavailability", "h")])
def test_roles_of_a_compartment_have_units(table, role, unit):
    odd = Compartment("odd", "mg", **{role: "X"})
    block = Block((odd,), (flux(odd >> OUT, first_order, a=amount(odd), k="KA"),))
    refused(block, table(GOOD, X=f"1 {unit}"), "compartment `odd`", f'"{unit}"')


def test_a_law_given_other_arguments(table):
    wrong = flux(central >> OUT, clearance, c=conc(central), k="CL")
    error = refused(Block((central,), (wrong,)), table(GOOD), "clearance takes ['c', 'cl'], given ['c', 'k']")
    assert error.where.startswith("test_check.py:")


def test_a_law_that_is_no_arithmetic(table):
    odd = flux(depot >> OUT, lambda a, k: k * jnp.exp(a), a=amount(depot), k="KA")
    refused(Block((depot,), (odd,)), table(GOOD), "test_check.py:", "fails on numbers with units", "plain arithmetic")


def test_a_law_without_units(table):
    refused(Block((depot,), (flux(depot >> OUT, lambda a: 1.0, a=amount(depot)),)), table(GOOD), "dimensionless")


def test_an_arrow_from_nowhere_to_nowhere(table):
    refused(Block((depot,), (flux(OUT >> OUT, first_order, a=amount(depot), k="KA"),)), table(GOOD), "leads nowhere")


def test_names_are_not_used_twice(table):
    twin = Compartment("central", "mg", volume="V2")
    refused(Block((central, twin), (lose,)), table(GOOD, V2="1 L"), "two different compartments", "`central`")
    block = Block(
        (central,), (lose,), observables=(observe("cp", conc(central), ""), observe("cp", amount(central), ""))
    )
    refused(block, table(GOOD), "two different observables", "`cp`")


def test_a_compartment_must_be_listed(table):
    refused(Block((depot,), (absorb,)), table(GOOD), "`central` is not among the model's compartments")
    refused(Block((central,), (lose,), routes={"oral": depot}), table(GOOD), "`depot`", "route `oral`")
    stray = observe("stray", amount(depot), "")
    refused(Block((central,), (lose,), observables=(stray,)), table(GOOD), "`depot`", "observable `stray`")


def test_an_empty_model(table):
    refused(Block(), table(GOOD), "at least one compartment")


def test_totals_add_one_unit(table):
    organ = Compartment("organ", "MBq")
    block = Block((depot, organ), physical_decay(depot, organ), observables=(observe("all", total(depot, organ), ""),))
    refused(block, table({"decay.k": "1 1/h"}), "observable `all`", "different units")


def test_a_unit_that_cannot_be_read(table):
    odd = Compartment("odd", "blobs")
    refused(Block((odd,), physical_decay(odd)), table({"decay.k": "1 1/h"}), '"blobs" cannot be read', "`odd`")


def test_remarks(table):
    block = Block((depot, central), (absorb, lose))
    assert check_model(block, table(GOOD, SPARE="1 h")) == [
        "parameter `SPARE` is used by no flux",
        "`depot` is entered by no flux and no route",
    ]
