"""Extremes and durations over a course, against closed forms: after doses, over many patients, with derivatives."""

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

import pbpk
from pbpk.errors import BadInput, Note

STRUCTURE = """
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, highest, lowest, observe
from pbpk.model import time_above, time_below

depot = Compartment("depot", "mg")
central = Compartment("central", "mg", volume="V")


def count(c, base, half):
    return base / (1 + c / half)


model = Block(
    (depot, central),
    (
        flux(depot >> central, first_order, a=amount(depot), k="KA"),
        flux(central >> OUT, first_order, a=amount(central), k="K"),
    ),
    observables=(
        observe("cp", conc(central), "concentration"),
        observe("count", count, "cells", c=conc(central), base="BASE", half="HALF"),
        observe("peak", highest("cp"), "highest so far"),
        observe("trough", lowest("cp"), "lowest so far"),
        observe("nadir", lowest("count"), "lowest count so far"),
        observe("low", time_below("count", "LEVEL"), "time with a low count"),
        observe("effective", time_above("cp", "MEC"), "time above the least effective concentration"),
    ),
    routes={"oral": depot, "iv": central},
)
"""
NUMBERS = {
    **{"V": (10.0, "L"), "KA": (1.2, "1/h"), "K": (0.15, "1/h"), "BASE": (5.0, "Gcell/L"), "HALF": (2.0, "mg/L")},
    **{"LEVEL": (2.0, "Gcell/L"), "MEC": (1500.0, "ug/L")},
}
V, KA, K, HALF = 10.0, 1.2, 0.15, 2.0


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "structure.py").write_text(STRUCTURE)
    rows = (
        f'{n} = {{ value = {x}, unit = "{u}", about = "of a test", source = "assumed: a test" }}\n'
        for n, (x, u) in NUMBERS.items()
    )
    (folder / "parameters.toml").write_text("".join(rows) + '[model]\ntime = "d"\n')
    return pbpk.load_model(folder)


def oral(t, dose=100.0):
    t = np.maximum(np.asarray(t, float), 0.0)
    return dose * KA / (V * (KA - K)) * (np.exp(-K * t) - np.exp(-KA * t))


T_PEAK = np.log(KA / K) / (KA - K)


def hours_above(level, end):
    up, down = brentq(lambda t: oral(t) - level, 0, T_PEAK), brentq(lambda t: oral(t) - level, T_PEAK, 200)
    return max(min(end, down) - min(end, up), 0.0)


def test_one_dose_against_closed_forms(model):
    times = np.array([0.5, T_PEAK + 0.4, 12.0, 30.0])
    path = pbpk.simulate(model, pbpk.parse_dose("100 mg oral"), times)
    peak = [oral(min(t, T_PEAK)) for t in times]
    np.testing.assert_allclose(path["peak"][:, 0], peak, rtol=1e-5)
    np.testing.assert_allclose(path["nadir"][:, 0], 5 / (1 + np.array(peak) / HALF), rtol=1e-5)
    np.testing.assert_allclose(path["trough"][:, 0], 0.0, atol=1e-12)
    low = [hours_above(HALF * (5 / 2 - 1), t) / 24 for t in times]
    np.testing.assert_allclose(path["low"][:, 0], low, rtol=2e-5, atol=1e-6)
    assert path.unit["low"] == "d" and path.unit["peak"] == "mg/L"
    np.testing.assert_allclose(path["effective"][:, 0], [hours_above(1.5, t) / 24 for t in times], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(path["cp"][:, 0], oral(times), rtol=1e-8)


def test_troughs_and_times_over_repeated_boluses(model):
    """The trough is that just before a dose, though values at its time are after it; times add up over the doses."""
    path = pbpk.simulate(model, pbpk.parse_dose("100 mg iv every 12 h x 4"), [0.0, 12.0, 36.0, 60.0])
    share = np.exp(-12 * K)
    before = np.array([10.0, 10 * share, 10 * share, 10 * (share + share**2 + share**3 + share**4)])
    before[-1] = 10 * (share + share**2 + share**3 + share**4) * np.exp(-12 * K)
    np.testing.assert_allclose(path["trough"][:, 0], np.minimum.accumulate(before), rtol=1e-5)
    peaks = 10 * np.array([1, 1 + share, 1 + share + share**2 + share**3, 1 + share + share**2 + share**3])
    np.testing.assert_allclose(path["peak"][:, 0], peaks, rtol=1e-8)
    starts = np.array([10 * sum(share**k for k in range(n + 1)) for n in range(4)])
    above = [min(12.0, np.log(s / 1.5) / K) for s in starts[:3]] + [np.log(starts[3] / 1.5) / K]
    expected = [0.0, above[0], sum(above[:3]), sum(above[:3]) + min(above[3], 24.0)]
    np.testing.assert_allclose(24 * path["effective"][:, 0], expected, rtol=1e-4)


def test_each_patient_has_its_own_and_derivatives_follow(model):
    """The nadir's derivative in the dose is that of the count at the peak; the time's that of its crossings."""
    regimen, many = pbpk.parse_dose("100 mg oral"), np.array([50.0, 100.0])
    path = pbpk.simulate(model, regimen, [24.0], patients=pbpk.virtual_patients(model, 2), values={"HALF": many / 50})
    np.testing.assert_allclose(path["nadir"][0], 5 / (1 + oral(T_PEAK) / (many / 50)), rtol=1e-5)

    def read(name):
        return lambda dose: pbpk.simulate(model, regimen, [24.0], dose_amounts=dose[None])[name][0, 0]

    at = np.float64(100.0)
    peak = oral(T_PEAK)
    slope = -5 / (1 + peak / HALF) ** 2 / HALF * peak / 100
    assert float(jax.grad(read("nadir"))(at)) == pytest.approx(slope, rel=1e-4)

    def hours(dose):
        return 100 / dose * 1.5

    step = 0.01
    expected = (hours_above(hours(100 + step), 24) - hours_above(hours(100 - step), 24)) / (2 * step) / 24
    assert float(jax.grad(read("effective"))(at)) == pytest.approx(expected, rel=1e-3)


def test_what_a_course_cannot_be_asked_for(model):
    regimen = pbpk.parse_dose("100 mg oral")
    with pytest.raises(BadInput, match="dose_times"):
        pbpk.simulate(model, regimen, [1.0], dose_times=[0.0])
    from pbpk.population.simulate import simulate

    with pytest.raises(BadInput, match="read of a course"):
        simulate(model, regimen, [1.0], observe=["nadir"])


def test_a_course_that_is_read_roughly_says_so(model):
    """Absorbed within minutes and looked at once in a month: the peak lies between values far apart."""
    fast = model.with_values({"KA": 400.0, "K": 20.0})
    with pytest.warns(Note, match="read roughly"):
        pbpk.simulate(fast, pbpk.parse_dose("100 mg oral"), [700.0], observe=["peak"])
