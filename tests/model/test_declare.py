import pytest

from pbpk.errors import BadInput
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe, total

depot = Compartment("depot", "mg")
central = Compartment("central", "mg", volume="V")


def test_an_arrow_names_its_ends():
    assert str(depot >> central) == "depot -> central"
    assert str(central >> OUT) == "central -> out"


def test_a_flux_remembers_the_line_it_was_written_on():
    made = flux(depot >> central, first_order, a=amount(depot), k="KA")
    assert made.where.startswith("test_declare.py:")
    assert str(made).startswith("depot -> central (first_order, test_declare.py:")


def test_where_a_flux_was_written_is_no_part_of_what_it_is():
    first = flux(depot >> central, first_order, a=amount(depot), k="KA")
    second = flux(depot >> central, first_order, a=amount(depot), k="KA")
    assert first.where != second.where
    assert first == second


def test_a_concentration_needs_a_volume():
    with pytest.raises(BadInput) as caught:
        conc(depot)
    assert caught.value.exit_code == 3
    assert "`depot` has no volume" in str(caught.value)
    assert caught.value.where.startswith("test_declare.py:")
    assert 'volume="V"' in caught.value.hint


def test_blocks_join_and_share_equal_compartments():
    absorption = Block((depot, central), (flux(depot >> central, first_order, a=amount(depot), k="KA"),))
    loss = Block(
        (Compartment("central", "mg", volume="V"),),
        (flux(central >> OUT, first_order, a=amount(central), k="K"),),
        observables=(observe("body", total(depot, central), "all of it"),),
        routes={"iv": central},
    )
    whole = absorption + loss
    assert whole.compartments == (depot, central)
    assert len(whole.fluxes) == 2
    assert [o.name for o in whole.observables] == ["body"]
    assert whole.routes == {"iv": central}


def test_blocks_may_not_give_one_route_two_meanings():
    one, other = Block((depot,), routes={"oral": depot}), Block((central,), routes={"oral": central})
    with pytest.raises(BadInput, match="the route `oral` different compartments") as caught:
        one + other
    assert caught.value.exit_code == 3
    assert one + Block((depot,), routes={"oral": depot}) == Block((depot,), routes={"oral": depot})
