"""Patients that fail: solved again where a stricter method can help, NaN and counted where not, and never a nuisance."""

import math

import numpy as np

from pbpk.model.load import load_model
from pbpk.population.bands import compute_quantiles
from pbpk.population.patients import virtual_patients
from pbpk.population.simulate import simulate
from pbpk.regimen.dose import dose
from pbpk.results import ResultCode
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock

ORAL = load_model("oral_one_compartment")
T = np.array([0.0, 1.0, 6.0, 24.0])


def closed(ka, clearance, v):
    k = clearance / v
    return 100 * ka / v / (ka - k) * (np.exp(-k * T) - np.exp(-ka * T))


def test_what_no_solver_can_cure_is_tried_once_and_disturbs_nobody():
    who = virtual_patients(ORAL, 5)
    clearance = np.array([2.0, -3.0, 2.5, np.nan, 4.0])
    path = simulate(ORAL, dose("100 mg", into="oral"), T, patients=who, values={"CL": clearance}, integrate=True)
    assert path.result.tolist() == [0, ResultCode.NEGATIVE_RATE, 0, ResultCode.NOT_FINITE, 0]
    assert path.solved_again.tolist() == [0] * 5
    assert path.integral is not None and path.to_infinity is not None
    for values in (path["cp"], path.integral["cp"], path.to_infinity["cp"][None]):
        assert np.isnan(np.asarray(values)).any(axis=0).tolist() == [False, True, False, True, False]
    system = ORAL.system
    for i in (0, 2, 4):
        ka, v = (who.values[system.parameter_index(n), i] for n in ("KA", "V"))
        np.testing.assert_allclose(path["cp"][:, i], closed(ka, clearance[i], v), rtol=1e-9, atol=1e-12)
    good = np.asarray(path["cp"])[:, [0, 2, 4]]
    np.testing.assert_allclose(compute_quantiles(path)["cp"][2], np.median(good, axis=1), rtol=1e-12)


def test_a_zero_volume_ends_at_once():
    """Its rates are not finite, so that the general solver would go on to its last step."""
    path = simulate(ORAL, dose("100 mg", into="oral"), T, values={"V": np.array([0.0])})
    assert path.result.tolist() == [ResultCode.NOT_FINITE] and path.solved_again.tolist() == [0]


def test_an_explicit_method_that_gives_up_is_followed_by_a_stiff_one():
    """KA = 1e5/h: tsit5 would need half a million steps."""
    who = virtual_patients(ORAL, 3)
    path = simulate(
        ORAL, dose("100 mg", into="oral"), T, patients=who, values={"KA": np.array([1.0, 1e5, 2.0])}, solver="tsit5"
    )
    assert path.result.tolist() == [0, 0, 0] and path.solved_again.tolist() == [0, 1, 0]
    clearance, v = (who.values[ORAL.system.parameter_index(n), 1] for n in ("CL", "V"))
    np.testing.assert_allclose(path["cp"][:, 1], closed(1e5, clearance, v), rtol=1e-7, atol=1e-7)


def test_steps_run_out_and_the_next_solver_has_more(saturable, monkeypatch):
    regimen = dose("100 mg", into="oral")
    expected = simulate(saturable, regimen, T, solver="kvaerno5")["cp"]
    monkeypatch.setattr("pbpk.population.simulate.choose_solver", lambda *_: Rosenbrock(max_steps=3))
    path = simulate(saturable, regimen, T)
    assert path.result.tolist() == [0] and path.solved_again.tolist() == [1]
    np.testing.assert_allclose(path["cp"], expected, rtol=1e-6)


def test_a_long_chain_goes_to_the_contour(chain, monkeypatch):
    """Twenty equal compartments are as far from normal as can be: the series says it is INACCURATE. Erlang's formula."""
    who = virtual_patients(chain, 18)
    k = who.values[0]
    path = simulate(chain, dose("1 mg", into="c0"), [4.0, 9.0, 20.0], patients=who, observe=["c19"])
    assert (np.asarray(path.result) == 0).all() and (path.solved_again == 1).any()
    t = path.time[:, None]
    np.testing.assert_allclose(path["c19"], (k * t) ** 19 * np.exp(-k * t) / math.factorial(19), atol=1e-9)
    monkeypatch.setattr(Resolvent, "fallback", lambda self: None)
    alone = simulate(chain, dose("1 mg", into="c0"), [4.0, 9.0, 20.0], patients=who, observe=["c19"])
    assert ((np.asarray(alone.result) == ResultCode.INACCURATE) == (path.solved_again == 1)).all()
    assert np.isnan(np.asarray(alone["c19"])[:, path.solved_again == 1]).all()


def test_observations_at_the_time_of_a_dose(saturable):
    """An interval of no length, and after it the first step must still be one: whether events may move or not."""
    regimen = dose("100 mg", into="oral", ii=6, addl=1)
    other = simulate(saturable, regimen, T, solver="kvaerno5")
    for times in (None, [0.0]):
        path = simulate(saturable, regimen, T, solver="rodas5p", dose_times=times)
        assert path.result.tolist() == [0] and path.solved_again.tolist() == [0]
        np.testing.assert_allclose(path["cp"], other["cp"], rtol=1e-6)
