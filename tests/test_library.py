"""The library as it is imported: names, derivatives through a simulation, and fits that repeat without compiling again."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk

TIMES = np.array([0.5, 2.0, 6.0, 24.0])


@pytest.fixture(scope="module")
def oral():
    return pbpk.load_model("oral_one_compartment")


def cp(model, forward=False, **values):
    """Concentrations at TIMES after one oral dose."""
    regimen = pbpk.dose("100 mg", into="oral")
    return pbpk.simulate(model, regimen, TIMES, values=values or None, forward=forward)["cp"][:, 0]


def test_every_name_of_the_contract_is_there():
    for name in ("load_model", "dose", "simulate", "virtual_patients", "fit", "parse_dose"):
        assert callable(getattr(pbpk, name)), name
        assert name in dir(pbpk)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = pbpk.simulat
    assert issubclass(pbpk.PbpkError, Exception)


def test_fit_stays_callable_when_its_files_are_imported():
    for name in ("pbpk.study.load", "pbpk.estimation.run"):
        importlib.import_module(name)
    assert callable(pbpk.fit)
    assert pbpk.fit.METHODS[0] == "focei"


def test_doses_in_words_and_by_name_are_the_same():
    words = pbpk.parse_dose("2.5 MBq/kg to blood at 1 h every 8 week x 3")
    assert words == pbpk.dose("2.5 MBq/kg", into="blood", at=1, ii="8 weeks", addl=2)
    assert pbpk.parse_dose("1 mg oral; 2 mg iv") == pbpk.dose("1 mg", into="oral") + pbpk.dose("2 mg", into="iv")


def test_six_lines_from_a_model_to_a_population():
    model = pbpk.load_model("iv_one_compartment")
    regimen = pbpk.dose("20 mg", into="iv")
    who = pbpk.virtual_patients(model, 3, seed=1)
    path = pbpk.simulate(model, regimen, [0.0, 24.0], patients=who, observe=["cp"])
    assert path["cp"].shape == (2, 3) and path.unit["cp"] == "mg/L"
    np.testing.assert_allclose(path["cp"][0], 20 / who.values[model.system.parameter_index("V")], rtol=1e-10)
    assert (np.asarray(path.result) == 0).all()


@pytest.mark.parametrize("name", ["KA", "CL", "V", "F1", "ALAG1"])
def test_gradients_agree_with_differences(oral, name):
    """In a parameter of the equations, of a dose, and of its time."""
    at = oral.parameters[name].value or 0.1
    step = 1e-4 * at
    expected = (cp(oral, **{name: at + step}) - cp(oral, **{name: at - step})) / (2 * step)
    reverse = [jax.grad(lambda v, i=i: cp(oral, **{name: v})[i])(at) for i in (0, 3)]
    forward = jax.jacfwd(lambda v: cp(oral, forward=True, **{name: v}))(at)
    np.testing.assert_allclose(forward, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(reverse, forward[np.array([0, 3])], rtol=1e-10)


def test_vmap_and_jit_give_what_a_loop_gives(oral):
    clearances = jnp.array([1.0, 2.751, 8.0])
    one_by_one = jnp.stack([cp(oral, CL=c) for c in clearances])
    at_once = jax.jit(jax.vmap(lambda c: cp(oral, CL=c)))(clearances)
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-12)
    slopes = jax.vmap(jax.grad(lambda c: cp(oral, CL=c).sum()))(clearances)
    step = 1e-5
    differences = [(cp(oral, CL=c + step).sum() - cp(oral, CL=c - step).sum()) / (2 * step) for c in clearances]
    np.testing.assert_allclose(slopes, differences, rtol=1e-7)


def test_values_are_in_the_parameters_own_unit(oral):
    np.testing.assert_allclose(cp(oral, CL=3.0), cp(oral.with_values({"CL": "50 mL/min"})), rtol=1e-12)
    assert cp(oral).dtype == jnp.float64


@pytest.fixture
def compilations():
    """The names of programs compiled while the test runs."""
    seen: list[str] = []

    def note(event: str, seconds: float, **about) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(str(about.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield seen
    jax.monitoring.unregister_event_duration_listener(note)


def test_a_second_fit_is_bit_identical_and_compiles_nothing(compilations):
    first = pbpk.fit("theophylline")
    jax.jit(lambda x: x + 1.2345)(1.0)
    assert compilations, "what is compiled is seen"
    compilations.clear()
    second = pbpk.fit("theophylline")
    assert compilations == []
    assert second.ofv == first.ofv
    assert second.estimates == first.estimates
    assert second.standard_errors == first.standard_errors
    np.testing.assert_array_equal(second.covariance.to_numpy(), first.covariance.to_numpy())
    np.testing.assert_array_equal(second.table["CWRES"], first.table["CWRES"])
    assert second.iterations == first.iterations


def test_a_second_simulation_compiles_nothing_whatever_its_numbers(oral, compilations):
    cp(oral)
    compilations.clear()
    cp(oral.with_values({"CL": 4.0, "V": 20.0}))
    assert compilations == []


def test_the_library_raises_where_the_command_line_prints():
    with pytest.raises(pbpk.PbpkError, match="did you mean `theophylline`"):
        pbpk.fit("theophyline")
    with pytest.raises(pbpk.PbpkError, match="no estimation method"):
        pbpk.fit("theophylline", method="guess")
    with pytest.raises(pbpk.PbpkError, match="did you mean `blood`"):
        pbpk.simulate(pbpk.load_model("iodide"), pbpk.dose("1 MBq", into="blod"), [1.0])
    for times in ([], [-1.0], [2.0, 1.0], [float("nan")]):
        with pytest.raises(pbpk.PbpkError, match="times must"):
            pbpk.simulate(pbpk.load_model("iodide"), pbpk.dose("1 MBq", into="blood"), times)
