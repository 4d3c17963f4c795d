"""A simulation made by hand: curves with closed forms, so that what is measured has one too."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.nuclides import load_nuclide

TIMES = np.array([1.0, 2.0, 4.0, 8.0, 24.0])


@pytest.fixture
def simulated():
    """`simulated()` has activities of two patients in MBq, decay of At-211 included; arguments replace curves or times."""

    def make(times=TIMES, patients=(1, 2), unit="MBq", **curves):
        t, rate = np.asarray(times)[:, None], load_nuclide("At-211").decay_constant
        left, size = np.exp(-rate * t), 1.0 + np.arange(len(patients))
        usual = {
            "thyroid": 10 * size * (1 - np.exp(-0.3 * t)) * left,
            "glands": 4 * size * np.exp(-0.1 * t) * left,
            "blood": 50 * size * np.exp(-0.5 * t) * left,
            "whole_body": 100 * size * np.exp(-0.05 * t) * left,
            "urine": 100 * size * (1 - np.exp(-0.05 * t)) * left,
        }
        found = {k: jnp.asarray(v) for k, v in (usual | curves).items()}
        units = dict.fromkeys(found, unit)
        return SimpleNamespace(
            time=np.asarray(times, dtype=float),
            observables=found,
            unit=units,
            patients=SimpleNamespace(ids=np.asarray(patients)),
        )

    return make
