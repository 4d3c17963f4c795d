"""Retention of intravenous I-131 iodide, against the tables of the OIR data viewer (ICRP 137; Leggett 2010).

The viewer prints two digits: whole body 0.97, 0.69, 0.32, 0.20 and thyroid 0.052, 0.17, 0.27, 0.19 at 1 h, 6 h, 1 d and
5 d. The third digit here is that of the same tables of transfer coefficients integrated by matrix exponential, as is the
time-integrated activity in the thyroid, 76.65 h.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import pbpk
from pbpk.model.load import load_model
from pbpk.observe.readings import observe_all
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.timeline import build_timeline

HOURS = [1.0, 6.0, 24.0, 120.0]
VIEWER = {"whole_body": ["0.97", "0.69", "0.32", "0.20"], "thyroid": ["0.052", "0.17", "0.27", "0.19"]}
INTEGRATED = {"whole_body": [0.969, 0.694, 0.324, 0.197], "thyroid": [0.0523, 0.169, 0.266, 0.191]}


@pytest.fixture(scope="module")
def retention():
    model = load_model("iodide", nuclide="I-131")
    empty = {"RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "blood"}
    rows = [{"TIME": 0.0, "EVID": 1, "AMT": 1.0, "MDV": 1, **empty}]
    rows += [{"TIME": t, "EVID": 0, "AMT": 0.0, "MDV": 0, **empty} for t in HOURS]
    timeline = build_timeline([pd.DataFrame(rows)], model.system)
    p = jnp.asarray(model.values)[None, :, None]
    amounts = jax.jit(lambda q: Resolvent().solve(model.system, timeline, q))(p).amounts[: len(HOURS)]
    observed = observe_all(model.system, list(VIEWER), amounts, p)
    return np.asarray(amounts)[..., 0], dict(zip(VIEWER, np.asarray(observed)[..., 0], strict=True))


@pytest.mark.parametrize("region", VIEWER)
def test_retention_to_the_printed_digits(retention, region):
    for ours, printed, integrated in zip(retention[1][region], VIEWER[region], INTEGRATED[region], strict=True):
        digits = len(printed.split(".")[1])
        assert f"{ours:.{digits}f}" == printed
        digits = len(str(integrated).split(".")[1])
        assert round(float(ours), digits) == integrated


def test_nothing_is_lost(retention):
    np.testing.assert_allclose(retention[0].sum(axis=1), 1.0, atol=1e-10)


def test_time_integrated_activity_in_the_thyroid():
    path = pbpk.simulate(load_model("iodide"), pbpk.dose("1 MBq", into="blood"), [1.0], integrate=True)
    assert float(path.to_infinity["thyroid"][0]) == pytest.approx(76.65, rel=3e-4)
