"""A population's curves as quantile bands, over the patients that were solved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pbpk.population.simulate import Simulation

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
QUANTILE_NAMES = tuple(f"q{q * 100:02.0f}" for q in QUANTILES)


def compute_quantiles(path: Simulation) -> dict[str, np.ndarray]:
    """(quantiles, T) for each observable; NaN where no patient was solved."""
    good = np.asarray(path.result) == 0
    if not good.any():
        return {k: np.full((len(QUANTILES), len(path.time)), np.nan) for k in path.observables}
    return {k: np.quantile(np.asarray(v)[:, good], QUANTILES, axis=1) for k, v in path.observables.items()}


def compute_medians(path: Simulation, values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Of each array (..., N), over the patients that were solved; one patient's own. NaN where none was."""
    good = np.asarray(path.result) == 0
    if not good.any():
        return {k: np.full(np.shape(v)[:-1], np.nan) for k, v in values.items()}
    return {k: np.median(np.asarray(v)[..., good], axis=-1) for k, v in values.items()}


def tabulate_bands(path: Simulation, time: np.ndarray) -> pd.DataFrame:
    """A long table: time (as given, T), observable, and a column for each quantile."""
    parts = [
        pd.DataFrame({"time": time, "observable": k} | dict(zip(QUANTILE_NAMES, q, strict=True)))
        for k, q in compute_quantiles(path).items()
    ]
    return pd.concat(parts, ignore_index=True)
