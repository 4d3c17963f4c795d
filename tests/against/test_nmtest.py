"""Dosing events against NONMEM 7.4.3: all cases of mrgsolve's and nlmixr2's nmtests, through the command a user would type."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT.parent / "shared" / "data" / "nmtest_part.csv"
if not FILE.is_file():
    pytest.skip("nmtest_part.csv is not in ../shared/data", allow_module_level=True)

THEIRS = pd.read_csv(FILE)
SETTINGS = ("--set", "KA=1.5", "--set", "CL=1.1", "--set", "V=20")
COLUMNS = ("ALAG2=lagt", "F2=bioav", "R2=rat2", "D2=dur2")


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> pd.DataFrame:
    """What `pbpk simulate` prints for the file."""
    words = [*SETTINGS, *(w for c in COLUMNS for w in ("--column", c))]
    command = [sys.executable, str(ROOT / "cli.py"), "simulate", "oral_one_compartment", "--data", str(FILE), *words]
    env = {k: v for k, v in os.environ.items() if k != "PBPK_DEBUG"}
    ran = subprocess.run(command, cwd=tmp_path_factory.mktemp("nmtest"), env=env, capture_output=True, text=True)
    assert ran.returncode == 0 and "warning" not in ran.stderr, ran.stderr
    return pd.read_csv(io.StringIO(ran.stdout))


def test_every_record_of_every_case_is_predicted(ours):
    assert len(ours) == len(THEIRS) and THEIRS["id"].nunique() == 26
    assert (ours["ID"] == THEIRS["id"]).all() and (ours["TIME"] == THEIRS["time"]).all()


@pytest.mark.parametrize("case", THEIRS["id"].unique())
def test_prediction(ours, case):
    """Within half a unit of the last of NONMEM's five printed digits; NONMEM's cp is A2/(V/1000)."""
    mine = THEIRS["id"] == case
    got, wanted = 1000 * ours["cp"][mine], THEIRS["cp"][mine]
    digit = 10.0 ** (np.floor(np.log10(np.maximum(wanted, 1e-300))) - 4)
    off = (got - wanted).abs() > 0.5 * digit + 1e-6
    assert not off.any(), THEIRS[mine][off].assign(OURS=got[off])
