"""A population's curves as quantile bands, over the patients that were solved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pbpk.population.simulate import Simulation

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
QUANTILE_NAMES = tuple(f"q{q * 100:02.0f}" for q in QUANTILES)


def compute_quantiles(simulation: Simulation) -> dict[str, np.ndarray]:
    """The `QUANTILES` of each observable over the patients, (quantiles, T); NaN where no patient was solved."""
    good = np.asarray(simulation.result) == 0
    if not good.any():
        return {k: np.full((len(QUANTILES), len(simulation.time)), np.nan) for k in simulation.observables}
    return {k: np.quantile(np.asarray(v)[:, good], QUANTILES, axis=1) for k, v in simulation.observables.items()}


def compute_medians(simulation: Simulation, values: dict[str, Any]) -> dict[str, np.ndarray]:
    """The median of each array (..., N) in `values` over the patients that were solved; NaN where none was."""
    good = np.asarray(simulation.result) == 0
    if not good.any():
        return {k: np.full(np.shape(v)[:-1], np.nan) for k, v in values.items()}
    return {k: np.median(np.asarray(v)[..., good], axis=-1) for k, v in values.items()}


def tabulate_bands(simulation: Simulation, time: np.ndarray) -> pd.DataFrame:
    """The bands as a long table: `time` (T,) in any unit, observable, and a column for each quantile."""
    parts = [
        pd.DataFrame({"time": time, "observable": k} | dict(zip(QUANTILE_NAMES, q, strict=True)))
        for k, q in compute_quantiles(simulation).items()
    ]
    return pd.concat(parts, ignore_index=True)
