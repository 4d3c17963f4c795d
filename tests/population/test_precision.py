"""Single precision against double, for every solver: values, integrals, and that nothing is promoted on the way.

Rounding is 6e-8 and grows some tens of times in a solution; solvers in steps add their tolerance, 20 roundings a step.
"""

import numpy as np
import pytest

from pbpk.errors import BadInput
from pbpk.model.load import load_model
from pbpk.population.patients import virtual_patients
from pbpk.population.simulate import simulate
from pbpk.regimen.dose import dose

BUNDLED = {"oral_one_compartment": "oral", "iv_one_compartment": "iv", "iv_two_compartment": "iv", "iodide": "blood"}
WITHIN = 2e-5  # of the largest value; measured: 8e-6 at most, in iodide's integrals to infinity


def both(model, regimen, **more):
    """(by float64, by float32)"""
    who, times = virtual_patients(model, 12), more.pop("times", [0.0, 0.5, 2.0, 6.0, 24.0])
    double = simulate(model, regimen, times, patients=who, integrate=True, **more)
    return double, simulate(model, regimen, times, patients=who, integrate=True, dtype="float32", **more)


def agree(double, single):
    assert (np.asarray(single.result) == 0).all()
    pairs = [(double.observables, single.observables), (double.integral, single.integral)]
    pairs += [(double.to_infinity, single.to_infinity)] if double.to_infinity else []
    for exact, rough in pairs:
        for name, x in exact.items():
            assert x.dtype == np.float64 and rough[name].dtype == np.float32, name
            x, y = np.asarray(x), np.asarray(rough[name], float)
            finite = np.isfinite(x)
            assert (np.isinf(y) == ~finite).all(), name
            np.testing.assert_allclose(
                y[finite], x[finite], rtol=0, atol=WITHIN * np.max(x[finite], initial=0), err_msg=name
            )


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models(name):
    model = load_model(name)
    if name == "iodide":
        regimen = dose("1 MBq", into="blood")
    else:
        regimen = dose("100 mg", into=BUNDLED[name]) + dose("30 mg", into=BUNDLED[name], at=8, over=2)
    agree(*both(model, regimen, times=[0.0, 1.0, 24.0, 72.0]))


@pytest.mark.parametrize("solver", ["contour", "rodas5p", "tsit5"])
def test_the_other_solvers_on_a_linear_model(solver):
    model = load_model("oral_one_compartment")
    agree(*both(model, dose("100 mg", into="oral"), solver=solver))


@pytest.mark.parametrize("solver", ["rodas4", "rodas5p"])
def test_a_saturable_model(saturable, solver):
    """The same bound: measured 4e-6, a hundred steps of up to 2.4e-6 whose errors do not add up, as the system contracts."""
    regimen = dose("100 mg", into="oral") + dose("30 mg", into="iv", at=8, over=2)
    agree(*both(saturable, regimen, solver=solver))


def test_another_precision_is_refused():
    with pytest.raises(BadInput, match="float16"):
        simulate(load_model("iodide"), dose("1 MBq", into="blood"), [1.0], dtype="float16")  # type: ignore[arg-type]
