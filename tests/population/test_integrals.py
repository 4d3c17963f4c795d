"""Time-integrals against closed forms and quadrature, to a time and to infinity; and when there is none."""

import numpy as np
import pytest
from scipy.integrate import quad

from pbpk.model.load import load_model
from pbpk.population.patients import virtual_patients
from pbpk.population.simulate import simulate
from pbpk.regimen.dose import dose
from pbpk.regimen.void import void

ORAL = load_model("oral_one_compartment", values={"CL": 3.0, "V": 30.0, "KA": 1.5})
KA, K = 1.5, 0.1


def cp(t, amount=100.0):
    return amount / 30 * KA / (KA - K) * (np.exp(-K * t) - np.exp(-KA * t))


def test_a_dose_and_an_infusion_have_their_closed_forms():
    regimen = dose("100 mg", into="oral", at=1.0) + dose("60 mg", into="iv", at=5.0, over="2 h")
    times = [0.0, 2.0, 6.0, 30.0]
    path = simulate(ORAL, regimen, times, integrate=True)
    assert path.integral is not None and path.to_infinity is not None

    def curve(t):
        infused = 30 / 3 * (1 - np.exp(-K * np.clip(t - 5, 0, 2))) * np.exp(-K * np.clip(t - 7, 0, None))
        return (cp(t - 1) if t > 1 else 0.0) + infused

    expected = [quad(curve, 0, t, points=[1, 5, 7], limit=200)[0] for t in times]
    np.testing.assert_allclose(path.integral["cp"][:, 0], expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(path.to_infinity["cp"], [160 / 3], rtol=1e-9)


def test_to_infinity_does_not_depend_on_the_last_time():
    """That is the total of all that is to come, computed from different states; and nearly that to a late time."""
    iodide = load_model("iodide", nuclide="I-131")
    who = virtual_patients(iodide, 4)
    found, to_last = [], []
    for last in (72.0, 3000.0):
        path = simulate(iodide, dose("1 MBq", into="blood"), [0.0, 1.0, 24.0, last], patients=who, integrate=True)
        assert path.to_infinity is not None and path.integral is not None
        found.append(path.to_infinity)
        to_last.append(path.integral["thyroid"][-1])
    np.testing.assert_allclose(found[0]["thyroid"], found[1]["thyroid"], rtol=1e-9)
    np.testing.assert_allclose(to_last[1], found[0]["thyroid"], rtol=1e-4)
    assert (to_last[0] < 0.9 * found[0]["thyroid"]).all()
    assert np.isinf(np.asarray(found[0]["decayed"])).all(), "what never empties has no finite integral"


def test_a_nonlinear_models_integral_is_that_of_its_curve(saturable):
    fine = np.linspace(0, 24, 4001)
    path = simulate(saturable, dose("100 mg", into="iv"), fine, integrate=True)
    assert path.integral is not None
    y = np.asarray(path["cp"])[:, 0]
    simpson = (fine[1] / 3) * (y[0] + y[-1] + 4 * y[1:-1:2].sum() + 2 * y[2:-1:2].sum())
    np.testing.assert_allclose(path.integral["cp"][-1, 0], simpson, rtol=1e-7)
    assert path.to_infinity is None and "nonlinear" in path.no_infinity


@pytest.mark.parametrize(
    ("regimen", "reason"),
    [
        (dose("100 mg", into="oral", ii=12, addl=3), "comes after the last time"),
        (dose("100 mg", into="iv", over=10), "is not over"),
        (dose("100 mg", into="oral") + void("depot", at=[7.0]), "comes after the last time"),
        (dose("100 mg", into="oral") + void("depot", every=2.0), "go on for ever"),
        (dose("100 mg", into="oral") + void("depot", at=[5.0]), ""),
        (dose("100 mg", into="oral", ii=3, addl=2), ""),
    ],
)
def test_nothing_may_come_after_the_last_time(regimen, reason):
    path = simulate(ORAL, regimen, [0.0, 6.0], integrate=True)
    assert (path.to_infinity is None) == bool(reason)
    assert reason in path.no_infinity
    assert path.integral is not None and np.isfinite(np.asarray(path.integral["cp"])).all()


def test_a_lag_counts():
    late = ORAL.with_values({"ALAG1": 7.0})
    assert simulate(late, dose("100 mg", into="oral"), [6.0], integrate=True).to_infinity is None
    path = simulate(late, dose("100 mg", into="oral"), [7.0], integrate=True)
    assert path.to_infinity is not None
    np.testing.assert_allclose(path.to_infinity["cp"], [100 / 3], rtol=1e-9)


def test_nothing_is_integrated_unless_asked_for():
    path = simulate(ORAL, dose("100 mg", into="oral"), [6.0])
    assert path.integral is None and path.to_infinity is None and path.no_infinity == ""
