"""Draws: their mean and variance, and that they depend on nothing but seed, patient, measurement and time."""

import numpy as np
import pytest

from pbpk.nuclides import load_nuclide
from pbpk.observe.counting import CountingNoise
from pbpk.observe.counts import CountMeasurement
from pbpk.observe.measure import measure
from pbpk.observe.noise import VARIANCES, GaussianNoise
from pbpk.observe.voi import Voi

AT = load_nuclide("At-211").decay_constant
MANY = 40_000


def voi(**how):
    return Voi(**{"name": "v", "region": "thyroid", "decay_corrected": False} | how)


@pytest.fixture
def many(simulated):
    """One time, and the same activity (MBq) in many patients."""

    def make(activity):
        return simulated(times=[1.0], patients=tuple(range(1, MANY + 1)), thyroid=np.full((1, MANY), float(activity)))

    return make


def check(drawn, mean, sd, fourth=3.0):
    """Mean and variance within four standard errors; `fourth` is the kurtosis, 3 + 1/mean for Poisson."""
    drawn = np.asarray(drawn).ravel()
    assert drawn.mean() == pytest.approx(mean, abs=4 * sd / np.sqrt(len(drawn)))
    assert drawn.var() == pytest.approx(sd**2, abs=4 * sd**2 * np.sqrt((fourth - 1) / len(drawn)))


@pytest.mark.parametrize("activity", [1e-4, 0.01, 1.0, 300.0])
def test_poisson_mean_and_variance(many, activity):
    """From a fraction of a count to many, in a Poisson distribution both are the mean of the counts."""
    counting = CountingNoise("10 s", "70 cps/MBq")
    path = many(activity)
    found = measure(path, [voi(noise=counting)], seed=3)
    counts = activity * 700
    drawn = np.asarray(found["v"]) * 700
    check(drawn, counts, np.sqrt(counts), 3 + 1 / counts)
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-8)
    np.testing.assert_allclose(found.sd["v"], np.sqrt(counts) / 700, rtol=1e-12)


@pytest.mark.parametrize("ratio", [None, 0.5, 4.0])
def test_background_and_scatter_add_noise_and_no_bias(many, ratio):
    counting = CountingNoise("20 min", "70 cps/MBq", background="9 cps", scatter=0.4, background_ratio=ratio)
    found = measure(many(0.2), [voi(noise=counting)], seed=3, nuclide="At-211")
    per = 70 * 3600 * (1 - np.exp(-AT / 3)) / AT
    own = 0.2 * per
    others = 0.4 * own + 9 * 1200
    sd = np.sqrt(own + others + (others / ratio if ratio else 0)) / per
    np.testing.assert_allclose(found.sd["v"], sd, rtol=1e-12)
    check(found["v"], 0.2, sd)


def test_longer_counting_is_less_noisy_by_the_root(simulated):
    short, long = (
        measure(simulated(), [voi(noise=CountingNoise(f"{d} min", "70 cps/MBq", background="9 cps"))]).sd["v"]
        for d in (5, 20)
    )
    np.testing.assert_allclose(short, 2 * np.asarray(long), rtol=1e-12)


def test_scale_widens_counting_noise(many):
    plain, wide = (CountingNoise("10 s", "70 cps/MBq", scale=s) for s in (1.0, 2.5))
    sds = [measure(many(1.0), [voi(noise=n)]).sd["v"][0, 0] for n in (plain, wide)]
    assert float(sds[1]) == pytest.approx(2.5 * float(sds[0]))
    check(measure(many(1.0), [voi(noise=wide)], seed=1)["v"], 1.0, float(sds[1]))


def test_counts_have_the_noise_of_their_own_counting(many):
    counting = CountingNoise("1 min", "5 cps/MBq", background="2 cps")
    m = CountMeasurement(name="c", region="thyroid", counting=counting, noise=True, decay_corrected=False)
    found = measure(many(1.0), [m], seed=1)
    np.testing.assert_allclose(found.sd["c"], np.sqrt(300 + 120), rtol=1e-12)
    check(found["c"], 300, np.sqrt(420))


def test_decay_correction_scales_the_noise_too(many):
    counting = CountingNoise("10 s", "70 cps/MBq")
    both = (voi(noise=counting), voi(name="w", noise=counting, decay_corrected=True, reference=0.0))
    found = measure(many(1.0), both, nuclide="At-211")
    np.testing.assert_allclose(found.sd["w"], np.asarray(found.sd["v"]) * np.exp(AT), rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "sizes", "expected"),
    [
        ("additive", {"add": 0.3}, 0.3),
        ("proportional", {"prop": 0.1}, 0.5),
        ("combined1", {"add": 0.3, "prop": 0.1}, 0.8),
        ("combined2", {"add": 0.3, "prop": 0.1}, np.hypot(0.3, 0.5)),
    ],
)
def test_error_models(many, model, sizes, expected):
    assert model in VARIANCES
    found = measure(many(5.0), [voi(noise=GaussianNoise(model, **sizes))], seed=2)
    np.testing.assert_allclose(found.sd["v"], expected, rtol=1e-12)
    check(found["v"], 5.0, expected)


NOISES = {"poisson": CountingNoise("1 min", "70 cps/MBq"), "additive": GaussianNoise("additive", add=1.0)}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_a_draw_depends_on_seed_patient_name_and_time_alone(simulated, noise):
    asked = [voi(noise=noise), voi(name="other", noise=noise)]
    path = simulated()
    found = measure(path, asked, seed=7)
    np.testing.assert_array_equal(found["v"], measure(path, asked[:1], seed=7)["v"])
    alone = simulated(times=path.time[2:4], patients=(2,))
    alone.observables["thyroid"] = path.observables["thyroid"][2:4, 1:]
    np.testing.assert_array_equal(measure(alone, asked, seed=7)["v"][:, 0], found["v"][2:4, 1])
    at = measure(path, [voi(noise=noise, at=[4.0])], seed=7)
    np.testing.assert_array_equal(at["v"][0], found["v"][2])
    assert not np.array_equal(found["v"], found["other"])
    assert not np.array_equal(found["v"], measure(path, asked, seed=8)["v"])
    residual = (np.asarray(found["v"]) - np.asarray(found.expected["v"])) / np.asarray(found.sd["v"])
    assert len(np.unique(residual)) == residual.size


def test_without_a_seed_nothing_is_drawn(simulated):
    found = measure(simulated(), [voi(noise=NOISES["poisson"])])
    np.testing.assert_array_equal(found["v"], found.expected["v"])
    assert found.sd["v"] is not None
    assert measure(simulated(), [voi()], seed=1).sd["v"] is None


def test_a_failed_patient_stays_unknown(simulated):
    path = simulated()
    path.observables["thyroid"] = path.observables["thyroid"].at[:, 0].set(np.nan)
    for noise in NOISES.values():
        found = measure(path, [voi(noise=noise)], seed=1)
        assert np.isnan(found["v"][:, 0]).all() and np.isfinite(found["v"][:, 1]).all()
        assert np.isnan(found.sd["v"][:, 0]).all()


def test_a_rounding_below_zero_is_no_activity(many):
    found = measure(many(-1e-17), [voi(noise=CountingNoise("1 min", "70 cps/MBq", background="1 cps"))], seed=1)
    assert np.isfinite(found["v"]).all()
    check(found["v"], 0.0, np.sqrt(60) / 4200)


def test_the_table_has_one_line_for_each_value(simulated):
    found = measure(simulated(), [voi(noise=NOISES["additive"], at=[2, 8]), voi(name="w")], seed=1)
    frame = found.frame()
    assert len(frame) == 2 * 2 + 5 * 2
    row = frame[(frame["patient"] == 2) & (frame["measurement"] == "v") & (frame["time_h"] == 8)].iloc[0]
    assert row["value"] == float(found["v"][1, 1]) and row["sd"] == 1.0 and row["unit"] == "MBq"
    assert frame[frame["measurement"] == "w"]["sd"].isna().all()
