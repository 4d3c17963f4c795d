"""The diffrax solvers on what the exact one refuses, against SciPy."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flow, flux, saturable
from pbpk.model.load import load_model
from pbpk.model.system import build_system
from pbpk.results import ResultCode, explain
from pbpk.solve.general import DIFFRAX_SOLVERS, General

depot = Compartment("depot", "mg")
central = Compartment("central", "mg", volume="V")
tissue = Compartment("tissue", "mg", volume="VT")
saturating = build_system(
    Block(
        (depot, central, tissue),
        (
            flux(depot >> central, first_order, a=amount(depot), k="KA"),
            flux(central >> tissue, flow, c=conc(central), q="Q"),
            flux(tissue >> central, flow, c=conc(tissue), q="Q"),
            flux(central >> OUT, saturable, c=conc(central), vmax="VM", km="KM"),
        ),
    )
)
VALUES = {"KA": 1.2, "Q": 3.0, "VM": 9.0, "KM": 0.5, "V": 5.0, "VT": 12.0}
T = np.array([0.5, 1.0, 2.0, 6.0, 8.0, 9.0, 12.0, 24.0])


def by_scipy(v, first, rate, length):
    """A dose into the depot at 0 and an infusion into central from 8 h, with LSODA at its tightest."""

    def slope(t, y, inflow):
        c, ct = y[1] / v["V"], y[2] / v["VT"]
        lost, moved = v["VM"] * c / (v["KM"] + c), v["Q"] * (c - ct)
        return [-v["KA"] * y[0], v["KA"] * y[0] - moved - lost + inflow, moved]

    y, begin, seen = np.array([first, 0.0, 0.0]), 0.0, []
    for end, inflow in ((8.0, 0.0), (8.0 + length, rate), (24.0, 0.0)):
        times = T[(begin < T) & (end >= T)]
        how = {"method": "LSODA", "rtol": 1e-12, "atol": 1e-12, "t_eval": np.union1d(times, end)}
        done = solve_ivp(slope, (begin, end), y, args=(inflow,), **how)
        seen.append(done.y[:, : len(times)])
        y, begin = done.y[:, -1], end
    return np.concatenate(seen, axis=1).T


@pytest.fixture
def patient(dose, seen):
    records = [dose(0, 100, "depot"), dose(8, 30, "central", RATE=20.0), *seen(*T)]
    return sorted(records, key=lambda r: r["TIME"])


@pytest.mark.parametrize("name", ["kvaerno5", "tsit5", "dopri8"])
def test_saturable_elimination_against_lsoda(solve, patient, name):
    """To 1e-7 of the dose: a tolerance of 1e-9 a step, some hundred steps."""
    values = VALUES | {"VM": np.array([9.0, 2.0]), "KM": np.array([0.5, 0.05])}
    amounts, result = solve(saturating, [patient, patient], values, General(name))
    assert result.tolist() == [ResultCode.OK, ResultCode.OK]
    for i in range(2):
        expected = by_scipy({k: np.broadcast_to(v, 2)[i] for k, v in values.items()}, 100.0, 20.0, 1.5)
        np.testing.assert_allclose(amounts[i], expected, atol=1e-7 * 100, rtol=0)


def test_giving_up_is_a_value(solve, patient):
    _, result = solve(saturating, [patient], VALUES, General("tsit5", max_steps=3))
    assert result.tolist() == [ResultCode.GAVE_UP]
    assert "step limit" in explain(ResultCode.GAVE_UP)


def test_a_patient_without_numbers_does_not_disturb_the_others(solve, patient):
    values = VALUES | {"KM": np.array([0.5, np.nan, 0.4])}
    amounts, result = solve(saturating, [patient] * 3, values, General("tsit5"))
    assert result.tolist() == [ResultCode.OK, ResultCode.NOT_FINITE, ResultCode.OK]
    assert np.isnan(amounts[1]).all()
    for i in (0, 2):
        expected = by_scipy(VALUES | {"KM": values["KM"][i]}, 100.0, 20.0, 1.5)
        np.testing.assert_allclose(amounts[i], expected, atol=1e-5, rtol=0)


def test_intervals_of_no_length(solve, dose, seen):
    records = [dose(1, 10, "central"), *seen(1, 1), dose(1, 5, "central"), *seen(1)]
    (amounts,), result = solve(saturating, [records], VALUES, General("tsit5"))
    assert result.tolist() == [ResultCode.OK]
    np.testing.assert_allclose(amounts[:, 1], [10, 10, 15], rtol=1e-14)


def test_every_listed_method_takes_a_plain_ode_with_an_error_estimate():
    import diffrax

    assert {"kvaerno5", "tsit5", "dopri8", "kvaerno3"} <= set(DIFFRAX_SOLVERS)
    assert all(issubclass(m, diffrax.AbstractAdaptiveSolver) for m in DIFFRAX_SOLVERS.values())
    assert General().unsupported_reason(load_model("iodide").system) == ""


def test_forward_mode_gives_the_same_numbers_and_takes_jvp(patient):
    import jax
    import jax.numpy as jnp
    import pandas as pd

    from pbpk.solve.timeline import build_timeline

    timeline = build_timeline([pd.DataFrame(patient)], saturating)
    p = jnp.array([VALUES[n] for n in saturating.parameter_names])[None, :, None]
    at, step, solver = saturating.parameter_index("VM"), 1e-3, General("tsit5").forward_mode()

    def amounts(vm):
        return solver.solve(saturating, timeline, p.at[:, at].set(vm)).amounts[: len(T), 1, 0]

    _, slope = jax.jit(lambda vm: jax.jvp(amounts, (vm,), (1.0,)))(9.0)
    high, low = (by_scipy(VALUES | {"VM": 9.0 + s}, 100.0, 20.0, 1.5)[:, 1] for s in (step, -step))
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-5, atol=1e-5)


def test_integrals(solve, dose, seen, graph):
    """Of a bolus and an infusion that leave the first compartment, in closed form."""
    system, k, t = graph(2, [(0, 1), (1, 2)]), 0.7, np.array([1.0, 2.0, 5.0])
    records = sorted([dose(0, 10, "c0"), dose(1, 4, "c0", RATE=4.0), *seen(*t)], key=lambda r: r["TIME"])
    _, result, (areas,) = solve(system, [records], {"k0": k, "k1": 0.2}, General("tsit5"), integrals=True)
    assert result.tolist() == [ResultCode.OK]
    of_bolus = 10 / k * (1 - np.exp(-k * t))

    def of_inflow(s):
        return np.where(s > 0, 4.0 / k * (s - (1 - np.exp(-k * s)) / k), 0.0)

    np.testing.assert_allclose(areas[:, 0], of_bolus + of_inflow(t - 1) - of_inflow(t - 2), rtol=1e-7)
