import pytest

from pbpk.errors import BadInput
from pbpk.model import OUT, Block, Compartment, conc, flux, saturable
from pbpk.model.load import list_models, load_model
from pbpk.model.system import build_system
from pbpk.solve.choose import choose_solver, solver_names
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent

body = Compartment("body", "mg", volume="V")
nonlinear = build_system(Block((body,), (flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM"),)))
linear = load_model("iv_two_compartment").system


@pytest.mark.parametrize("name", list_models())
def test_a_linear_model_is_solved_exactly(name):
    system = load_model(name).system
    chosen = choose_solver(system)
    assert isinstance(chosen, Resolvent) == (Resolvent().refuses(system) == "")


def test_a_nonlinear_model_goes_to_the_stiff_solver():
    assert choose_solver(nonlinear) == General("kvaerno5")
    assert choose_solver(nonlinear, "auto").name == "kvaerno5"


def test_a_name_overrides():
    assert choose_solver(linear, "tsit5") == General("tsit5")
    assert choose_solver(linear, "Kvaerno5").name == "kvaerno5"
    assert choose_solver(linear, "RESOLVENT") == Resolvent()


def test_every_name_is_taken():
    assert solver_names()[0] == "resolvent"
    assert [choose_solver(linear, n).name for n in solver_names()] == solver_names()


def test_an_unknown_name():
    with pytest.raises(BadInput, match="no solver `kvarno5`") as caught:
        choose_solver(linear, "kvarno5")
    assert caught.value.exit_code == 3
    assert "did you mean `kvaerno5`" in caught.value.hint


def test_a_solver_that_cannot():
    with pytest.raises(BadInput, match="resolvent cannot be used on this model") as caught:
        choose_solver(nonlinear, "resolvent")
    assert caught.value.exit_code == 3
    assert "body -> out (saturable, test_choose.py:" in caught.value.why
    assert "--solver" in caught.value.hint
