"""NPDE of theophylline from the R package npde's own replicates, against what its user guide prints (version 3.0, §5).

The replicates (simtheopp: 100 simulations by NONMEM of 12 subjects, GPL) are not ours to carry, so they are read from
../shared/data: columns ID, TIME, DV (empty where missing) and S1 … S100, a row for each record.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pbpk.diagnostics.normality import check_normality
from pbpk.diagnostics.npde import score_subject

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "npde_theophylline.csv"


@pytest.mark.skipif(not FILE.exists(), reason="needs ../shared/data/npde_theophylline.csv")
def test_npde_of_theophylline_are_the_packages():
    table = pd.read_csv(FILE)
    table = table[table["DV"].notna()]
    found = []
    for _, g in table.groupby("ID", sort=False):
        n = len(g)
        drawn = g.filter(regex=r"^S\d+$").to_numpy().T
        free = np.full(n, -np.inf), np.full(n, np.inf)
        found.append(score_subject(g["DV"].to_numpy(), drawn, free, np.random.default_rng(1))[0][0])
    tested = check_normality(np.concatenate(found))
    assert tested.count == 120
    assert round(tested.mean, 4) == 0.0668 and round(tested.mean_se, 3) == 0.095
    assert round(tested.variance, 3) == 1.074 and round(tested.variance_se, 2) == 0.14
    assert round(tested.skewness, 3) == 0.511
    assert round(tested.kurtosis, 4) == 0.2912
    assert tested.p_mean == tested.p_variance == 1
    assert round(tested.p_normality, 5) == round(tested.p_global, 5) == 0.00819
