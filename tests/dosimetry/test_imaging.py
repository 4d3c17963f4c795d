"""Time-integrated activities from images: exponentials and single time points, in closed form."""

import math

import numpy as np
import pytest

from pbpk.dosimetry.imaging import fit_tac, hanscheid, hanscheid_error, madsen
from pbpk.errors import BadInput
from pbpk.nuclides import load_nuclide

LAM = load_nuclide("Lu-177").decay_constant
TIMES = np.array([2.0, 5.0, 24.0, 48.0, 96.0, 168.0])


def test_one_exponential_is_found_and_chosen():
    rate = LAM + 0.01
    best = fit_tac(TIMES, 100 * np.exp(-rate * TIMES), "Lu-177", sd=np.full(6, 1.0))[0]
    assert best.function == "mono"
    assert best.tia == pytest.approx(100 / rate, rel=1e-6)


def test_two_exponentials_are_found_and_chosen():
    a, b = (60.0, LAM + 0.15), (40.0, LAM + 0.004)
    points = np.array([0.5, 2.0, 5.0, 10.0, 24.0, 48.0, 96.0, 168.0, 240.0])
    curve = sum(x * np.exp(-r * points) for x, r in (a, b))
    best = fit_tac(points, curve, "Lu-177", sd=0.01 * curve)[0]
    assert best.function == "bi" and best.tia == pytest.approx(sum(x / r for x, r in (a, b)), rel=1e-4)


def test_uptake_is_found():
    points = np.array([0.5, 2.0, 6.0, 24.0, 48.0, 96.0])
    curve = 50 * (np.exp(-(LAM + 0.005) * points) - np.exp(-(LAM + 0.505) * points))
    best = fit_tac(points, curve, "Lu-177", sd=np.full(6, 0.1))[0]
    assert best.function == "uptake and mono"
    assert best.tia == pytest.approx(50 / (LAM + 0.005) - 50 / (LAM + 0.505), rel=1e-4)


def test_the_standard_error_is_what_repeated_measurement_gives():
    rng, rate = np.random.default_rng(4), LAM + 0.01
    curve = 100 * np.exp(-rate * TIMES)
    fits = [
        fit_tac(TIMES, curve + rng.normal(0, 3.0, 6), "Lu-177", sd=np.full(6, 3.0), functions=["mono"])[0]
        for _ in range(200)
    ]
    spread = np.std([f.tia for f in fits])
    assert np.median([f.se for f in fits]) == pytest.approx(spread, rel=0.15)


def test_no_curve_falls_slower_than_the_nuclide():
    rising = fit_tac([1.0, 24.0, 72.0], [50.0, 52.0, 51.0], "Lu-177", sd=[1.0, 1.0, 1.0])
    assert all(f.tia < 60 / LAM for f in rising)


def test_akaike_weights_add_up():
    found = fit_tac(TIMES, 100 * np.exp(-(LAM + 0.01) * TIMES) + 0.5, "Lu-177")
    assert sum(f.weight for f in found) == pytest.approx(1.0) and found[0].weight == max(f.weight for f in found)


@pytest.mark.parametrize("time, half_life, ratio", [(96.0, 51.0, 1.0211), (24.0, 51.0, 0.6792)])
def test_hanscheids_error_for_one_exponential(time, half_life, ratio):
    rate = math.log(2) / half_life
    estimate, _ = hanscheid(time, 10 * math.exp(-rate * time))
    assert estimate / (10 / rate) == pytest.approx(ratio, abs=5e-5)
    assert hanscheid_error(time, half_life) == pytest.approx(ratio, abs=5e-5)


def test_madsen_is_exact_at_the_populations_half_life_and_errs_least_at_its_mean_life():
    rate = math.log(2) / 51.0
    assert madsen(24.0, 10 * math.exp(-rate * 24), 51.0)[0] == pytest.approx(10 / rate, rel=1e-12)
    errors = [madsen(t, 10 * math.exp(-rate * t), 51.0, sd_half_life=5.0)[1] for t in (24.0, 51.0 / math.log(2), 150.0)]
    assert errors[1] == pytest.approx(0.0, abs=1e-9) and min(errors[0], errors[2]) > 1.0


def test_what_cannot_be_fitted():
    with pytest.raises(BadInput, match="too few"):
        fit_tac([1.0, 2.0], [5.0, 4.0], "Lu-177")
    with pytest.raises(BadInput, match="must not be negative"):
        fit_tac([1.0, 2.0, 3.0], [5.0, -4.0, 1.0], "Lu-177")
    with pytest.raises(BadInput, match="time above 0"):
        hanscheid(0.0, 5.0)
