"""The example of docs/from_nonmem.md, read from the page and run: its objective is the control stream's by hand."""

import re
from pathlib import Path

import numpy as np
import oracle
import pandas as pd
import pytest

from pbpk.estimation.methods import get_method

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from_nonmem.md"
TIMES = [0.5, 1.0, 2.0, 5.0, 9.0]


def test_the_example(make, evaluate):
    [study] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    rng, rows = np.random.default_rng(8), []
    for i, weight in enumerate((55.0, 70.0, 92.0), start=1):
        rows.append((i, 0.0, 100.0, ".", 1, weight, 1))
        c = oracle.oral(np.array(TIMES), [(0.0, 100.0)], 1.5, 3.0 * (weight / 70) ** 0.75, 30.0)
        rows += [
            (i, t, ".", y * np.exp(0.2 * rng.standard_normal()), 0, weight, 1) for t, y in zip(TIMES, c, strict=True)
        ]
        rows.append((i, 12.0, ".", 99.0, 0, weight, 0))  # which IGNORE=(SD.EQ.0) leaves out
    lines = ["ID,TIME,AMT,DV,MDV,WT,SD", *(",".join(map(str, row)) for row in rows)]
    found = float(evaluate(get_method("focei"), make(study, *lines).problem).objective.sum())

    frame = pd.DataFrame(rows, columns=lines[0].split(","))
    total = 0.0
    for _, records in frame[(frame["SD"] == 1) & (frame["MDV"] == 0)].groupby("ID"):
        y, clearance = records["DV"].astype(float).to_numpy(), 3.0 * (records["WT"].iloc[0] / 70) ** 0.75

        def predict(eta, clearance=clearance):
            return oracle.oral(np.array(TIMES), [(0.0, 100.0)], 1.5, clearance * np.exp(eta[0]), 30.0 * np.exp(eta[1]))

        omega = np.array([[0.09, 0.01], [0.01, 0.04]])
        total += oracle.subject_objective("focei", y, predict, lambda f: 0.04 * f**2 + 0.01, omega)
    assert found == pytest.approx(total, abs=1e-5)
