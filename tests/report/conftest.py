"""A finished run written by hand: what `pbpk fit` leaves, without fitting anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_run import COLUMNS, FIT, PARAMETERS, individuals, observations


@pytest.fixture
def parameters() -> pd.DataFrame:
    return pd.DataFrame(PARAMETERS, columns=COLUMNS)


@pytest.fixture
def results() -> dict:
    free = [p for p in PARAMETERS if not p[-1]]
    return {
        "schema_version": 1,
        "study": "theophylline",
        "model": "oral_one_compartment",
        "method": "focei",
        "run": "theophylline-001",
        "ofv": 116.80341,
        "minus2ll": 359.40319,
        "aic": 373.40319,
        "bic": 393.58275,
        "subjects": 12,
        "observations": 132,
        "standard_errors": {p[0]: p[4] for p in free},
        "standard_errors_matrix": "R",
        "standard_errors_by_matrix": {m: {p[0]: p[4] for p in free} for m in ("R", "S")},
        "condition_number": 1.7231036,
        "epsilon_shrinkage": 0.117677,
        "minimization_successful": True,
        "termination_cause": "converged",
        "verdict": "Converged; no problems detected.",
        "iterations": 6,
        "function_evaluations": 9,
        "solver": "resolvent",
        "seconds": {"first evaluation": 4.0198, "iterations": 0.27318, "standard errors": 2.0312},
    }


@pytest.fixture
def make_run(tmp_path: Path, results: dict, parameters: pd.DataFrame) -> Callable[..., Path]:
    """`make_run(study="…", table=…, individual=…, iterations=…)` writes a run folder; keywords change its parts."""

    def make(
        table: pd.DataFrame | None = None,
        individual: pd.DataFrame | None = None,
        iterations: int = 6,
        covariance: bool = True,
        **changes,
    ) -> Path:
        folder = tmp_path / "theophylline-001"
        folder.mkdir(exist_ok=True)
        (folder / "results.json").write_text(json.dumps({**results, **changes}))
        parameters.to_csv(folder / "parameters.csv", index=False)
        (observations() if table is None else table).to_csv(folder / "sdtab.csv", index=False)
        (individuals() if individual is None else individual).to_csv(folder / "patab.csv", index=False)
        free = parameters[~parameters["fixed"].astype(bool)]
        square = np.diag(free["se"].to_numpy(dtype=float) ** 2)
        square[0, 1] = square[1, 0] = 0.5 * np.sqrt(square[0, 0] * square[1, 1])
        square = square if covariance else np.full_like(square, np.nan)
        pd.DataFrame(square, index=free["name"], columns=free["name"]).to_csv(folder / "covariance.csv")
        counted = np.arange(1, iterations + 1)
        steps = {"ofv": 116 + 50.0 / counted, "change": -1.0 / counted, "gradient": 100.0 / counted**3}
        pd.DataFrame({"iteration": counted, **steps, "step": 1.0, "evaluations": counted}).to_csv(
            folder / "iterations.csv", index=False
        )
        record = {"versions": {"pbpk": "0.1.0", "jax": "0.10.2"}, "machine": "cpu", "sha256": {"data.csv": "ab" * 32}}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "command.txt").write_text("pbpk fit theophylline --method focei\n")
        (folder / "fit.toml").write_text(FIT)
        return folder

    return make
