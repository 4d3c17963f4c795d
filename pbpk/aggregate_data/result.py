"""A fit to aggregates as a `Fit`: the same tables, and one of each published number beside what the model makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.aggregate_data.blocks import find_unit_factor
from pbpk.aggregate_data.method import evaluate_rows
from pbpk.estimation.result import Fit

if TYPE_CHECKING:
    from pbpk.aggregate_data.problem import SummaryProblem
    from pbpk.aggregate_data.rows import SummaryRow


@dataclass(frozen=True)
class SummaryFit(Fit):
    """A `Fit` with `summary`: a table with one line for each row of summary.csv; see `build_summary_table`."""

    summary: pd.DataFrame = field(default_factory=pd.DataFrame)

    def to_json(self) -> dict[str, Any]:
        """The content of results.json, with the table of rows."""
        rows = self.summary.astype(object).where(self.summary.notna(), None)
        return super().to_json() | {"summary": rows.to_dict("records")}


def build_summary_table(problem: SummaryProblem, rows: tuple[SummaryRow, ...], psi: np.ndarray) -> pd.DataFrame:
    """Each published number beside the prediction, in the row's unit.

    `sampling_sd`: what n patients, and rounding, let the published number be off; `residual`: their difference over it, on
    the logarithm for geometric statistics.
    """
    predicted, spread = (np.asarray(a) for a in evaluate_rows(problem, jnp.asarray(psi))[2:])
    lines = []
    for i, row in enumerate(rows):
        factor = find_unit_factor(row, problem.structure.measured, "")
        value, model, sd = float(problem.numbers.value[i]), float(predicted[i]), float(spread[i])
        if row.statistic == "proportion":
            value /= row.n
        residual = (value - model) / sd
        if row.statistic == "geometric_mean":
            model, sd = np.exp(model), np.exp(model) * sd
        elif row.statistic == "geometric_cv":
            cv = np.sqrt(np.expm1(model**2))
            model, sd = cv, sd * model * (1 + cv**2) / cv
        what = f"quantile {row.p:g}" if row.statistic == "quantile" else row.statistic.replace("_", " ")
        lines.append(
            {
                "group": row.group,
                "quantity": row.quantity + (f" ~ {row.other}" if row.other else ""),
                "statistic": what,
                "n": row.n,
                "unit": row.unit,
                "published": row.value,
                "model": model / factor,
                "sampling_sd": sd / factor,
                "residual": residual,
                "used": row.used,
                "status": row.status,
                "source": row.source,
            }
        )
    return pd.DataFrame(lines)
