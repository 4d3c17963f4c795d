import pytest

from pbpk.errors import BadInput
from pbpk.model import OUT, Block, Compartment, conc, flux, saturable
from pbpk.model.load import list_models, load_model
from pbpk.model.system import build_system
from pbpk.solve.choose import choose_solver, list_solver_names
from pbpk.solve.contour import Contour
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock

body = Compartment("body", "mg", volume="V")
nonlinear = build_system(Block((body,), (flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM"),)))
linear = load_model("iv_two_compartment").system


@pytest.mark.parametrize("name", list_models())
def test_a_linear_model_is_solved_exactly(name):
    system = load_model(name).system
    chosen = choose_solver(system)
    assert isinstance(chosen, Resolvent) == (Resolvent().unsupported_reason(system) == "")


def test_a_nonlinear_model_goes_to_the_stiff_solver():
    assert choose_solver(nonlinear) == Rosenbrock("rodas5p")
    assert choose_solver(nonlinear, "auto") == Rosenbrock("rodas5p")


def test_a_name_overrides():
    assert choose_solver(linear, "tsit5") == General("tsit5")
    assert choose_solver(linear, "Kvaerno5").name == "kvaerno5"
    assert choose_solver(linear, "RESOLVENT") == Resolvent()
    assert choose_solver(linear, "contour") == Contour()
    assert choose_solver(linear, "rosenbrock") == Rosenbrock()
    assert choose_solver(linear, "rodas4") == Rosenbrock("rodas4")


def test_every_name_is_taken():
    names = list_solver_names()
    assert names[:5] == ["resolvent", "contour", "rosenbrock", "rodas4", "rodas5p"]
    assert len(set(names)) == len(names)
    for name in names:
        assert choose_solver(linear, name).name == {"rosenbrock": "rodas5p"}.get(name, name)


@pytest.mark.parametrize("name", ["resolvent", "contour", "rodas4", "rodas5p"])
def test_what_is_stricter_ends(name):
    """Solving what failed by something stricter comes to an end, and each solver is another than the last."""
    solver, met = choose_solver(linear, name), []
    while solver is not None:
        assert solver not in met
        assert solver.unsupported_reason(linear) == ""
        met.append(solver)
        solver = solver.fallback()
    assert 2 <= len(met) <= 5
    assert isinstance(met[-1], General)


def test_a_shared_grid_is_followed_by_steps_of_ones_own():
    assert Rosenbrock(grid=(0.1, 8.0)).fallback() == Rosenbrock()


def test_an_unknown_name():
    with pytest.raises(BadInput, match="no solver `kvarno5`") as caught:
        choose_solver(linear, "kvarno5")
    assert caught.value.exit_code == 3
    assert "did you mean `kvaerno5`" in caught.value.hint


@pytest.mark.parametrize("name", ["resolvent", "contour"])
def test_a_solver_that_cannot(name):
    with pytest.raises(BadInput, match=f"{name} cannot be used on this model") as caught:
        choose_solver(nonlinear, name)
    assert caught.value.exit_code == 3
    assert "body -> out (saturable, test_choose.py:" in caught.value.why
    assert "--solver" in caught.value.hint
