"""Time-integrated activities of imaged patients by a population fit, and of new ones from a single image."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pbpk.nuclides import load_nuclide

TOML = """
model = "imaged_region"
nuclide = "Lu-177"
[data]
units = { TIME = "h", AMT = "MBq", DV = "MBq" }
observable = "region"
dose_into = "given"
[parameters]
"region.uptake" = { initial = 0.01, iiv = 0.1 }
"region.washout" = { initial = 0.008, iiv = 0.1 }
[error.region]
model = "proportional"
prop = 0.1
"""
PASSING, GIVEN, SD = 0.5, 7400.0, 0.05


def drawn(count, seed):
    """Uptake and washout (1/h) of so many patients, a third either way."""
    return np.array([[0.012], [0.01]]) * np.exp(0.3 * np.random.default_rng(seed).standard_normal((2, count)))


def activity(k, t):
    """Two exponentials, by hand."""
    lam, (uptake, washout) = load_nuclide("Lu-177").decay_constant, k
    fast = uptake + PASSING
    return GIVEN * uptake / (fast - washout) * (np.exp(-(washout + lam) * t) - np.exp(-(fast + lam) * t))


def hours(k):
    lam, (uptake, washout) = load_nuclide("Lu-177").decay_constant, k
    return uptake / (uptake + PASSING + lam) / (washout + lam)


def write(folder, k, times, seed):
    folder.mkdir(parents=True)
    (folder / "fit.toml").write_text(TOML)
    noise, lines, seen = np.random.default_rng(seed), ["ID,TIME,AMT,DV"], []
    for i, one in enumerate(k.T, start=1):
        lines.append(f"{i},0,{GIVEN},.")
        seen.append([activity(one, t) * (1 + SD * noise.standard_normal()) for t in times])
        lines += [f"{i},{t},.,{a:.6g}" for t, a in zip(times, seen[-1], strict=True)]
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return np.array(seen)


@pytest.fixture
def fitted(tmp_path, pbpk):
    k = drawn(24, 1)
    write(tmp_path / "fits" / "kidneys", k, (4.0, 24.0, 72.0, 168.0), 2)
    ran = pbpk("fit", "kidneys", "--json")
    assert ran.code == 0
    return k, ran.json


def mode(seen, at):
    """(uptake, washout) where the posterior of one image at 96 h is highest."""
    names = ("region.uptake", "region.washout")
    typical, spread = (np.array([at[f"{o}{n}"] for n in names]) for o in ("", "OMEGA_"))

    def loss(eta):
        expected = activity(typical * np.exp(eta), 96.0)
        return ((seen - expected) / (at["prop"] * expected)) ** 2 + 2 * np.log(expected) + (eta**2 / spread).sum()

    return typical * np.exp(
        minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}).x
    )


def found(ran):
    assert ran.code == 0, ran.err
    return np.array([p["tiac_h"]["kidneys"] for p in ran.json["individuals"].values()])


@pytest.mark.slow
def test_many_images_and_one(fitted, tmp_path, pbpk):
    (known, fit), ran = fitted, pbpk("dosimetry", "kidneys/001", "--individuals", "--json")
    assert list(ran.json["individuals"]) == [str(i) for i in range(1, 25)] and ran.json["patients"] == 24
    error = found(ran) / hours(known) - 1
    assert np.abs(error).max() < 0.12 and np.median(np.abs(error)) < 0.04  # of images within 5 %
    row = ran.json["individuals"]["7"]
    energy = row["mGy_per_MBq"]["kidneys"] / row["tiac_h"]["kidneys"]
    assert energy == pytest.approx(
        ran.json["absorbed_dose_per_activity"]["kidneys"]["value"] / np.median(found(ran)), rel=1e-6
    )

    fresh = drawn(40, 3)
    seen = write(tmp_path / "fits" / "new", fresh, (96.0,), 4)
    assert pbpk("fit", "new", "--method", "map", "--from", "kidneys/001", "--json").code == 0
    one = found(pbpk("dosimetry", "new/001", "--individuals", "--json"))
    by_hand = np.array([hours(mode(a, fit["parameter_estimates"])) for a in seen[:, 0]])
    assert one == pytest.approx(by_hand, rel=2e-3)
    assert np.median(np.abs(one / hours(fresh) - 1)) < 0.08


def test_whose_individuals(pbpk):
    ran = pbpk("dosimetry", "iodide", "--individuals")
    assert ran.code == 2 and "a fit's subjects" in ran.err
    ran = pbpk("dosimetry", "iodide", "--individuals", "--patients", "3")
    assert ran.code == 2 and "leave --patients" in ran.err
