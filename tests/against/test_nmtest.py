"""Dosing events against NONMEM 7.4.3: the cases of mrgsolve's and nlmixr2's nmtests that the engine takes today.

Steady-state doses (SS) and modelled rates (RATE < 0) are refused, so those cases are not here.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pbpk.errors import BadInput
from pbpk.model.load import load_model
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.timeline import build_timeline, moves_events

FILE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nmtest_part.csv"
if not FILE.is_file():
    pytest.skip("nmtest_part.csv is not in ../shared/data", allow_module_level=True)

CASES = {int(str(i)): g for i, g in pd.read_csv(FILE).rename(columns=str.upper).groupby("ID")}
REFUSED = [i for i, g in CASES.items() if (g["SS"] > 0).any() or (g["RATE"] < 0).any()]
TAKEN = [i for i in CASES if i not in REFUSED]
V = 20.0
MODEL = load_model("oral_one_compartment", values={"KA": 1.5, "CL": 1.1, "V": V})


def records(case: pd.DataFrame) -> pd.DataFrame:
    """Every row is an observation as well: NONMEM predicts at all of them."""
    return case.assign(DUR=0.0, MDV=0, CMT=case["CMT"].map({1: "depot", 2: "central"}))


def parameters(case: pd.DataFrame) -> np.ndarray:
    """p (rows, m, 1): the lag of the central compartment and its bioavailability are columns of the data."""
    p = np.repeat(MODEL.values[None, :, None], len(case), axis=0)
    p[:, MODEL.system.parameter_index("ALAG2"), 0] = case["LAGT"]
    p[:, MODEL.system.parameter_index("F2"), 0] = case["BIOAV"]
    return p[:1] if (p == p[0]).all() else p


@jax.jit
def central(timeline, p):
    return Resolvent().solve(MODEL.system, timeline, p).amounts[:, MODEL.system.index("central"), 0]


@pytest.mark.parametrize("i", TAKEN)
def test_prediction(i):
    """Within half a unit of the last of NONMEM's five printed digits."""
    case, p = records(CASES[i]), parameters(CASES[i])
    moving = moves_events(MODEL.system, p, set(), bool((case["RATE"] > 0).any()))
    timeline = build_timeline([case], MODEL.system, moving=moving)
    ours = np.asarray(central(timeline, jnp.asarray(p)))[: len(case)] / (V / 1000)
    theirs = case["CP"].to_numpy()
    digit = 10.0 ** (np.floor(np.log10(np.maximum(theirs, 1e-300))) - 4)
    off = np.abs(ours - theirs) > 0.5 * digit + 1e-6
    assert not off.any(), case[off].assign(OURS=ours[off])


def test_enough_cases_are_compared():
    assert len(TAKEN) >= 12


@pytest.mark.parametrize("i", REFUSED)
def test_what_is_not_supported_is_refused(i):
    with pytest.raises(BadInput, match="not supported yet") as caught:
        build_timeline([records(CASES[i])], MODEL.system)
    assert caught.value.exit_code == 3
