"""Mavoglurant's whole-body PBPK (Wendling 2015) as benchmarks/mavoglurant declares it: against the published equations by
SciPy, a FOCEI objective worked out from these alone, and the published fit of the first 20 subjects (Elmokadem 2023, table 1).

The data (nlmixr2data's `mavoglurant`) are not ours to bundle.
"""

import importlib.util
import json
from math import exp, log
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar

from pbpk import units
from pbpk.estimation.methods import get_method
from pbpk.estimation.state import CONVERGED
from pbpk.model.load import load_model
from pbpk.study.load import load_study

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "benchmarks" / "mavoglurant"
DATA = ROOT.parent / "shared" / "data" / "mavoglurant.csv"
FOCEI = get_method("focei")

needs_data = pytest.mark.skipif(not DATA.exists(), reason="the study's data are not here")

# Table 1: posterior median, 5th and 95th percentile of 20 subjects (general ODE solver in Stan/Torsten).
PUBLISHED = {
    "CLint": (1395, 1239, 1604),
    "brain.Kb": (4.83, 3.64, 6.36),
    "muscle.Kb": (1.75, 1.49, 2.04),
    "adipose.Kb": (10.3, 9.31, 11.51),
    "bone.Kb": (1.03, 0.74, 1.47),
    "rest.Kb": (1.77, 1.26, 2.46),
}
OMEGA, SIGMA = (0.358, 0.263, 0.499), (0.32, 0.298, 0.345)  # standard deviations


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("mavoglurant_run", HERE / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(runner, tmp_path_factory):
    return runner.write_study(tmp_path_factory.mktemp("mavo") / "mavoglurant", DATA, 20, priors=True)


def at_published(**more):
    values = {n: str(v[0]) for n, v in PUBLISHED.items()}
    return values | {"parameters.CLint.iiv": str(OMEGA[0] ** 2), "error.cp.add": str(SIGMA[0])} | more


# The published equations, as their authors write them, in litres, hours and mg.
def body(wt, kb):
    co = 187.0 * wt**0.81 * 60 / 1000
    shares = dict(HT=4, BR=12, MU=17, AD=5, SK=5, SP=3, PA=1, LI=25.5, ST=1, GU=14, BO=5, KI=19)
    q = {n: s * co / 100 for n, s in shares.items()}
    q["HA"] = q["LI"] - q["SP"] - q["PA"] - q["ST"] - q["GU"]
    q["RB"] = co - sum(q[n] for n in ("HT", "BR", "MU", "AD", "SK", "LI", "BO", "KI"))
    masses = dict(LU=(0.76, 1.051), HT=(0.47, 1.03), BR=(2, 1.036), MU=(40, 1.041), AD=(21.42, 0.916), SK=(3.71, 1.116))
    masses |= dict(
        SP=(0.26, 1.054), PA=(0.14, 1.045), LI=(2.57, 1.04), ST=(0.21, 1.05), GU=(1.44, 1.043), BO=(14.29, 1.99)
    )
    masses |= dict(KI=(0.44, 1.05), AB=(2.81, 1.04), VB=(5.62, 1.04), RB=(3.86, 1.04))
    v = {n: m * wt / 100 / d for n, (m, d) in masses.items()}
    known = dict(LU=0.8334, HT=1.1205, SK=-0.5238, SP=0.3224, PA=0.3224, LI=1.7604, ST=0.3224, GU=1.2026, KI=1.3171)
    return co, q, v, {n: exp(x) for n, x in known.items()} | kb


ORGANS = (
    "lungs",
    "heart",
    "brain",
    "muscle",
    "adipose",
    "skin",
    "spleen",
    "pancreas",
    "liver",
    "stomach",
    "gut",
    "bone",
)
ORGANS += ("kidneys", "arterial", "venous", "rest")
NAMES = ("LU", "HT", "BR", "MU", "AD", "SK", "SP", "PA", "LI", "ST", "GU", "BO", "KI", "AB", "VB", "RB")


def concentrations(wt, clint, kb, amount, rate, times):
    """Plasma of venous blood in ng/mL after one infusion."""
    co, q, v, kb = body(wt, kb)
    fub = 0.028 / 0.61

    def slope(t, x, rate):
        a = dict(zip(NAMES, x, strict=True))
        c = {n: a[n] / v[n] for n in NAMES}
        out = {n: c[n] / kb[n] for n in NAMES if n not in ("AB", "VB")}
        d = {
            n: q[n] * (c["AB"] - out[n])
            for n in ("HT", "BR", "MU", "AD", "SK", "SP", "PA", "ST", "GU", "BO", "KI", "RB")
        }
        d["LU"] = co * (c["VB"] - out["LU"])
        d["AB"] = co * (out["LU"] - c["AB"])
        portal = sum(q[n] * out[n] for n in ("SP", "PA", "ST", "GU"))
        d["LI"] = q["HA"] * c["AB"] + portal - (clint * fub + q["LI"]) * out["LI"]
        back = sum(q[n] * out[n] for n in ("HT", "BR", "MU", "AD", "SK", "LI", "BO", "KI", "RB"))
        d["VB"] = back - co * c["VB"] + rate
        return [d[n] for n in NAMES]

    end, how = amount / rate, dict(method="LSODA", rtol=1e-10, atol=1e-12)
    during, after = times[times <= end], times[times > end]
    first = solve_ivp(slope, (0, end), np.zeros(16), t_eval=np.append(during, end), args=(rate,), **how)
    second = solve_ivp(slope, (end, times[-1]), first.y[:, -1], t_eval=after, args=(0.0,), **how)
    venous = np.concatenate([first.y[14, : len(during)], second.y[14]])
    return venous / (v["VB"] * 0.61 / 1000)


def records(who):
    frame = pd.read_csv(DATA)
    frame = frame[frame["ID"] == who]
    for _, own in frame.groupby("OCC"):
        dose, seen = own[own["EVID"] == 1].iloc[0], own[own["MDV"] == 0]
        yield dose["WT"], dose["AMT"], float(dose["RATE"]), seen["TIME"].to_numpy(), seen["DV"].to_numpy()


def published_kb():
    short = dict(BR="brain", MU="muscle", AD="adipose", BO="bone", RB="rest")
    return {k: PUBLISHED[f"{n}.Kb"][0] for k, n in short.items()}


def test_the_declaration_balances():
    """Every arrow ends in a compartment, so that nothing is lost; organs share the cardiac output among them."""
    model = load_model(HERE / "model")
    np.testing.assert_array_equal(model.system.stoichiometry.sum(axis=0), 0.0)
    assert model.remarks == () and not model.system.nonlinear
    value = {n: model.parameters[n].value for n in model.parameters}
    into = ("heart", "brain", "muscle", "adipose", "skin", "bone", "kidneys", "rest", "liver")
    assert sum(value[f"{n}.Q"] for n in into) == pytest.approx(value["cardiac_output.Q"], rel=1e-12)
    co, q, v, kb = body(70.0, published_kb())
    assert value["cardiac_output.Q"] / 1000 * 60 == pytest.approx(co, rel=1e-12)  # mL/min
    short = dict(zip(NAMES, ORGANS, strict=True))
    for n, name in short.items():
        assert value[f"{name}.V"] == pytest.approx(v[n], rel=1e-12), name
        if n in q:
            assert value[f"{name}.Q"] / 1000 * 60 == pytest.approx(q[n], rel=1e-12), name
        if n in kb:
            assert value[f"{name}.Kb"] == pytest.approx(kb[n], rel=1e-9), name


@needs_data
@pytest.mark.slow
def test_predictions_are_those_of_the_published_equations(runner, tmp_path):
    """At the published medians, of a subject with one occasion and of one with two."""
    frame = pd.read_csv(DATA)
    frame[frame["ID"].isin([793, 829])].to_csv(tmp_path / "two.csv", index=False)
    study = load_study(runner.write_study(tmp_path / "mavoglurant", tmp_path / "two.csv"), settings=at_published())
    assert study.problem.structure.solver.name == "resolvent"
    problem = study.problem
    theta, _, _ = problem.unpack(problem.initial_unconstrained)
    found, codes = jax.jit(lambda u: problem.predict(u))(problem.individual_parameters(theta, np.zeros((1, 2))))
    assert (np.asarray(codes) == 0).all()
    for i, who in enumerate((793, 829)):
        wanted = [concentrations(wt, 1395.0, published_kb(), a, r, t) for wt, a, r, t, _ in records(who)]
        got = np.asarray(found)[problem.observed_mask[:, i], i] / units.unit_factor("ng/mL")
        np.testing.assert_allclose(got, np.concatenate(wanted), rtol=1e-6)


@pytest.fixture(scope="module")
def twenty(folder):
    return load_study(folder)


@needs_data
@pytest.mark.slow
def test_the_objective_is_focei_of_the_published_equations(folder):
    """Three subjects at the published medians: the mode by SciPy, the slope by differences, the data on the log scale."""
    study = load_study(folder, settings=at_published())
    problem = study.problem
    found = FOCEI.evaluate(problem, problem.initial_unconstrained, np.zeros((1, 20)))
    objective, eta = np.asarray(found.objective), np.asarray(found.eta)
    w, s = OMEGA[0] ** 2, SIGMA[0] ** 2
    for i in range(3):
        (wt, amount, rate, times, dv), *_ = records(int(study.subjects[i]))

        def logs(e, of=(wt, amount, rate, times)):
            wt, amount, rate, times = of
            return np.log(concentrations(wt, 1395.0 * exp(e), published_kb(), amount, rate, times))

        def joint(e, dv=dv, logs=logs):
            return np.sum((np.log(dv) - logs(e)) ** 2) / s + len(dv) * log(s) + e**2 / w + log(w)

        mode = minimize_scalar(joint, bounds=(-2, 2), method="bounded", options={"xatol": 1e-7}).x
        a = (logs(mode + 1e-4) - logs(mode - 1e-4)) / 2e-4
        wanted = joint(mode) + log(1 / w + np.sum(a**2) / s) + 2 * np.sum(np.log(dv))
        assert eta[0, i] == pytest.approx(mode, abs=1e-4)
        assert objective[i] == pytest.approx(wanted, abs=1e-4)


@needs_data
@pytest.mark.slow
def test_the_published_fit_of_twenty_subjects(twenty):
    """FOCEI with the published priors: each estimate within the published 90 % interval, and near its median."""
    problem = twenty.problem
    assert (problem.subjects, problem.observations) == (20, 268)
    state = FOCEI.init(problem)
    while not state.finished:
        state, _ = FOCEI.step(problem, state)
    assert state.status == CONVERGED
    natural = np.asarray(problem.structure.layout.to_natural(state.psi, problem.initial)) / twenty.scale
    found = dict(zip(problem.structure.layout.names, natural, strict=True))
    for name, (median, low, high) in PUBLISHED.items():
        assert low < found[name] < high, name
        assert found[name] == pytest.approx(median, rel=0.05), name
    assert OMEGA[1] < found["OMEGA_CLint"] ** 0.5 < OMEGA[2]
    assert found["add"] == pytest.approx(SIGMA[0], rel=0.03)


@needs_data
@pytest.mark.slow
def test_the_recorded_objective_of_all_subjects_is_found_again(runner, tmp_path):
    recorded = json.loads((HERE / "mavoglurant.json").read_text())
    estimates = recorded["parameter_estimates"]
    settings = {n: repr(v) for n, v in estimates.items() if n in PUBLISHED}
    settings |= {"parameters.CLint.iiv": repr(estimates["OMEGA_CLint"]), "error.cp.add": repr(estimates["add"])}
    problem = load_study(runner.write_study(tmp_path / "mavoglurant", DATA), settings=settings).problem
    found = FOCEI.evaluate(problem, problem.initial_unconstrained, np.zeros((1, problem.columns)))
    assert np.asarray(found.good).all()
    assert float(np.asarray(found.objective).sum()) == pytest.approx(recorded["ofv"], abs=1e-3)
