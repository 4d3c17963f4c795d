"""Dosing records that people stumbled over in other programs (data/cases/dosing), against superposition in closed form.

The oracle knows NONMEM's rules and nothing of pbpk: it writes every dose out, those of a steady state 3,000 intervals back,
and adds up their closed forms under one compartment with absorption.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import pbpk
from pbpk.data.events import read_events
from pbpk.errors import BadInput
from pbpk.population.simulate_records import simulate_records
from pbpk.results import ResultCode

CASES = Path(__file__).parents[1] / "data" / "cases"
RUN_IN = 3000
KA, CL, V = 1.0, 1.0, 10.0
K = CL / V

SETTINGS = {
    "D01": {"ALAG2": 1.5}, "D02": {"ALAG1": 1.2}, "D03": {"ALAG2": 1.5}, "D03b": {"ALAG2": 1.5}, "D03c": {"ALAG2": 1.5},
    "D04": {"F2": 0.4}, "D05": {"F1": 0.65, "D1": 4.0}, "D05b": {"F1": 0.65, "R1": 20.0},
    "D06": {"ALAG1": 5.0, "D1": 10.0}, "D07": {}, "D08": {}, "D09": {}, "D09b": {"ALAG2": 3.0}, "D10": {},
    "D11": {"ALAG1": 1.0}, "D11b": {"ALAG1": 1.0}, "D12": {"ALAG1": 15.0}, "D13": {"F2": 0.412}, "D14": {},
    "D14b": {"F2": 0.5}, "D17": {}, "D18": {}, "D20": {}, "D21": {}, "D22": {}, "D23": {"ALAG1": 15.0},
    "D26": {"F1": 0.3, "F2": 0.7, "D2": 6.0, "ALAG1": 2.0}, "D29": {"F1": 0.8, "D1": 5.0, "ALAG1": 1.5}, "D30": {},
    "D31": {},
}  # fmt: skip


def find_case(name):
    (path,) = (CASES / "dosing").glob(f"{name}_*.csv")
    return path


def decayed(u):
    return np.where(u >= 0, np.exp(-K * np.maximum(u, 0)), 0.0)


def bolus(u, into_depot):
    """Concentration u hours after 1 mg."""
    u = np.asarray(u, float)
    if not into_depot:
        return decayed(u) / V
    return np.where(u >= 0, KA / (V * (KA - K)) * (np.exp(-K * np.maximum(u, 0)) - np.exp(-KA * np.maximum(u, 0))), 0.0)


def step(u, into_depot):
    """Concentration u hours into an endless infusion of 1 mg/h: the integral of `bolus`."""
    u = np.maximum(np.asarray(u, float), 0.0)
    if not into_depot:
        return -np.expm1(-K * u) / K / V
    return KA / (V * (KA - K)) * (-np.expm1(-K * u) / K + np.expm1(-KA * u) / KA)


def course(t, begin, amount, length, into_depot):
    """Concentration at t of one dose, or of an infusion over `length` hours."""
    if length <= 0:
        return amount * bolus(t - begin, into_depot)
    return amount / length * (step(t - begin, into_depot) - step(t - begin - length, into_depot))


def superpose(frame, sets):
    """cp at every record of one subject's table."""
    values = {"F1": 1.0, "F2": 1.0, "ALAG1": 0.0, "ALAG2": 0.0, "D1": 0.0, "D2": 0.0, "R1": 0.0, "R2": 0.0} | sets
    active, out = [], []
    times = frame["TIME"].to_numpy(float)
    for row, r in frame.reset_index(drop=True).iterrows():
        own = values | {n: float(r[n]) for n in values if n in frame and pd.notna(r[n])}
        number = "1" if r["CMT"] == "depot" else "2"
        depot, lag, f = number == "1", own[f"ALAG{number}"], own[f"F{number}"]
        if r["EVID"] in (3, 4) or (r["EVID"] == 1 and r["SS"] == 1):
            active = []
        if r["EVID"] in (1, 4):
            amount, rate = f * float(r["AMT"]), float(r["RATE"])
            length = amount / rate if rate > 0 else own[f"D{number}"] if rate == -2 else 0.0
            length = amount / own[f"R{number}"] if rate == -1 else length
            if r["SS"] and amount == 0:  # an endless infusion ends at its record
                active.append((r["TIME"] - 1e4, rate * 1e4, 1e4, depot))
            else:
                back = RUN_IN if r["SS"] else 0
                active += [
                    (r["TIME"] + lag + k * float(r["II"]), amount, length, depot)
                    for k in range(-back, int(r["ADDL"]) + 1)
                ]
        out.append(sum(course(times[row], *dose) for dose in active if dose[0] <= times[row] + 1e-9))
    return np.array(out)


def solve(path, model, solver=None):
    events = read_events(
        path,
        compartments=model.system.held_names,
        parameters=model.system.parameter_names,
        observables=["cp"],
        need_dv=False,
    )
    return simulate_records(model, events, observe=["cp"], solver=solver)


@pytest.mark.parametrize("name", SETTINGS)
def test_doses_are_those_written_out(name):
    path = find_case(name)
    frame = pd.read_csv(path, na_values=".").fillna({"AMT": 0.0})
    model = pbpk.load_model("oral_one_compartment", values={"KA": KA, "CL": CL, "V": V} | SETTINGS[name])
    answer = solve(path, model)
    assert (answer.result == 0).all()
    observed = (frame["EVID"] == 0).to_numpy()
    expected = np.concatenate([superpose(g, SETTINGS[name]) for _, g in frame.groupby("ID", sort=False)])
    found = answer.table["cp"].to_numpy()
    np.testing.assert_allclose(found[observed], expected[observed], rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["D15", "D28"])
def test_doses_that_mean_nothing_are_refused(name):
    """An endless infusion of a modelled duration; a dose of nothing (NONMEM, too, wants AMT or RATE on it)."""
    model = pbpk.load_model("oral_one_compartment")
    with pytest.raises(BadInput, match="row 2"):
        solve(find_case(name), model)


def test_an_infusion_of_no_duration_has_a_code():
    answer = solve(find_case("D27"), pbpk.load_model("oral_one_compartment", values={"D1": 0.0}))
    assert (answer.result & ResultCode.BAD_DOSE).all() and answer.table["cp"].isna().all()


@pytest.mark.parametrize("between", ["nocb", "locf"])
def test_clearance_that_changes_during_an_infusion(between):
    """Interval by interval in closed form: the next record's clearance holds before it, or the last one's after it."""
    path = find_case("D16")
    frame = pd.read_csv(path, na_values=".")
    model = pbpk.load_model("oral_one_compartment", values={"KA": KA, "V": V})
    events = read_events(
        path,
        compartments=model.system.held_names,
        parameters=model.system.parameter_names,
        observables=["cp"],
        need_dv=False,
    )
    found = simulate_records(model, events, observe=["cp"], covariates_over_time=between).table["cp"].to_numpy()
    times, clearance = frame["TIME"].to_numpy(float), frame["CL"].to_numpy(float)
    rate, length, amount, expected = 20.0, 5.0, 0.0, [0.0]
    for k in range(1, len(times)):
        cl = clearance[k if between == "nocb" else k - 1]
        for begin, end, inflow in (
            (times[k - 1], min(times[k], length), rate),
            (max(times[k - 1], length), times[k], 0.0),
        ):
            if end > begin:
                left = np.exp(-cl / V * (end - begin))
                amount = amount * left + inflow * V / cl * (1 - left)
        expected.append(amount / V)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def load_saturable(**values):
    """The cases' saturable model."""
    return pbpk.load_model(CASES / "model_mm", values=values)


def test_a_saturable_steady_state_of_overlapping_infusions():
    """100 mg at 10 mg/h every 8 h with a lag, against LSODA over 200 intervals."""
    path = find_case("D32")
    answer = solve(path, load_saturable(ALAG1=1.5))
    assert (answer.result == 0).all()
    frame = pd.read_csv(path, na_values=".")
    first, lag, ii, length = frame.iloc[0], 1.5, float(frame["II"].iloc[0]), 10.0
    begins = first["TIME"] + lag + ii * np.arange(-200, int(first["ADDL"]) + 1)
    looks = frame.loc[frame["EVID"] == 0, "TIME"].to_numpy(float)
    stops = np.unique(np.concatenate([begins, begins + length, looks]))
    stops = stops[stops <= looks.max()]
    amount, at = 0.0, {}
    for a, b in pairwise(stops):
        inflow = 10.0 * np.sum((begins <= a + 1e-9) & (begins + length > a + 1e-9))
        way = solve_ivp(
            lambda t, y, r=inflow: r - 20 * (y / 10) / (2 + y / 10), (a, b), [amount], "LSODA", rtol=1e-11, atol=1e-12
        )
        amount = way.y[0, -1]
        at[b] = amount / 10
    found = answer.table["cp"].to_numpy()[(frame["EVID"] == 0).to_numpy()]
    np.testing.assert_allclose(found, [at[t] for t in looks], rtol=1e-6)


def test_a_saturable_model_that_is_given_more_than_it_can_clear_has_no_steady_state():
    answer = solve(find_case("D33"), load_saturable())
    assert (answer.result & ResultCode.NO_STEADY_STATE).all()
