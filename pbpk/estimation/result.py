"""A finished fit: numbers in shown units, tables, a verdict in words, and the JSON that scripts rely on.

Field names follow pharmpy's ModelfitResults where one exists. `ofv` is on NONMEM's scale (−2 log-likelihood without
n·ln 2π); `minus2ll` has the constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.estimation import criteria

if TYPE_CHECKING:
    from pbpk.estimation.state import IterationRecord
    from pbpk.likelihood.parameter_layout import ParameterLayout

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Fit:
    """The result of a fit, in shown units.

    `estimates` by name; `standard_errors` by matrix, then by name, and `covariance` by the matrix `printed_matrix`;
    `parameters` has one row per parameter (name, label, unit, estimate, se, rse, ci_low, ci_high, cv, shrinkage, fixed);
    `individual` is patab and `table` sdtab (docs/fitting.md). `cause` is why the search ended, and `successful` whether that
    is convergence. `log_estimates` has the estimate and SE of the logarithm of positive θ. `extra`: what only its method has to
    say, as fields of the JSON; `files`: tables, and arrays by name, that are written beside it.
    """

    study: str
    model: str
    method: str
    ofv: float
    subjects: int
    observations: int
    quantified: int
    estimates: dict[str, float]
    standard_errors: dict[str, dict[str, float]]
    printed_matrix: str
    covariance: pd.DataFrame
    parameters: pd.DataFrame
    eta_shrinkage: dict[str, float]
    epsilon_shrinkage: float
    individual: pd.DataFrame
    table: pd.DataFrame
    iterations: tuple[IterationRecord, ...]
    successful: bool
    cause: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    solver: str
    seed: int
    condition_number: float
    log_estimates: dict[str, dict[str, float]]
    observable_units: dict[str, str]
    options: Mapping[str, str] = field(default_factory=dict)
    ofv_units: Mapping[str, str] = field(default_factory=dict)
    lost_modes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, pd.DataFrame | Mapping[str, np.ndarray]] = field(default_factory=dict)

    @property
    def minus2ll(self) -> float:
        """−2 ln likelihood with its constant, one ln 2π for each observation with a density: not for censored values, counts,
        grades or events."""
        return self.ofv + self.quantified * math.log(2 * math.pi)

    @property
    def free(self) -> int:
        """How many parameters are estimated."""
        return int((~self.parameters["fixed"]).sum())

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return criteria.aic(self.minus2ll, self.free)

    @property
    def bic(self) -> float:
        """The Bayesian information criterion, with ln of the number of observations, as nlmixr2 has it."""
        return criteria.bic(self.minus2ll, self.free, self.observations)

    def _repr_html_(self) -> str:
        """What a notebook shows: the objective and the table of parameters."""
        from html import escape

        heading = f"{self.study} · {self.method.upper()} · OFV {self.ofv:.3f} · {self.verdict}"
        return f"<p>{escape(heading)}</p>\n{self.parameters.to_html(index=False, float_format='{:.4g}'.format, na_rep='–')}"

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        if not self.successful:
            return f"NOT CONVERGED ({self.cause}): do not use these estimates."
        concerns = list(self.warnings)
        shrunk = [k for k, v in self.eta_shrinkage.items() if v > 0.3]
        if shrunk:
            concerns.append(f"η-shrinkage above 30 % for {', '.join(shrunk)}: individual estimates lean on the mean")
        se = self.standard_errors.get(self.printed_matrix, {})
        vague = {
            k: v / abs(self.estimates[k]) for k, v in se.items() if not k.startswith("OMEGA_") and self.estimates[k]
        }
        for name, relative in vague.items():
            if relative > 1:
                concerns.append(f"the standard error of {name} is {100 * relative:.0f} % of it")
        return "Converged; no problems detected." if not concerns else "Converged, but: " + "; ".join(concerns) + "."

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints, without the run folder."""
        se = self.standard_errors.get(self.printed_matrix, {})
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "model": self.model,
            "options": dict(self.options),
            "method": self.method,
            "ofv": self.ofv,
            "minus2ll": self.minus2ll,
            "aic": self.aic,
            "bic": self.bic,
            "subjects": self.subjects,
            "observations": self.observations,
            "quantified": self.quantified,
            "parameter_estimates": self.estimates,
            "parameter_units": dict(zip(self.parameters["name"], self.parameters["unit"], strict=True)),
            "standard_errors": se,
            "standard_errors_matrix": self.printed_matrix,
            "standard_errors_by_matrix": self.standard_errors,
            "relative_standard_errors": {k: v / abs(self.estimates[k]) for k, v in se.items() if self.estimates[k]},
            "log_estimates": self.log_estimates,
            "observable_units": self.observable_units,
            "ofv_units": dict(self.ofv_units),
            "lost_modes": list(self.lost_modes),
            "covariance_matrix": self.covariance.to_dict(),
            "condition_number": self.condition_number,
            "eta_shrinkage": self.eta_shrinkage,
            "epsilon_shrinkage": self.epsilon_shrinkage,
            "individual_estimates": self.individual.set_index("ID").to_dict("index"),
            "minimization_successful": self.successful,
            "termination_cause": self.cause,
            "verdict": self.verdict,
            "warnings": list(self.warnings),
            "iterations": len(self.iterations),
            "function_evaluations": self.iterations[-1].evaluations if self.iterations else 0,
            "solver": self.solver,
            "seed": self.seed,
            "seconds": self.seconds,
            **self.extra,
        }


def build_parameter_table(
    layout: ParameterLayout,
    estimates: np.ndarray,
    se: dict[str, float],
    units: tuple[str, ...],
    labels: tuple[str, ...],
    shrinkage: dict[str, float],
    lognormal: set[str],
    all_fixed: bool = False,
) -> pd.DataFrame:
    """The table of a fit. CV % is √(e^ω² − 1) for log-normal η; intervals are 95 %, by the logarithm where positive."""
    rows = []
    positive = {t.name for t in layout.thetas if t.positive} | set(layout.sigmas)
    for name, value, unit, label, fixed in zip(layout.names, estimates, units, labels, layout.fixed_mask, strict=True):
        error = se.get(name, math.nan)
        on = name.removeprefix("OMEGA_").removeprefix("IOV_")
        diagonal = [e for b in layout.blocks for e in b.etas]
        variance = name in (f"OMEGA_{on}", f"OMEGA_IOV_{on}") and on in diagonal
        by = name.removeprefix("OMEGA_")
        positively = (name in positive or variance) and value > 0
        spread = 1.959964 * error
        factor = math.exp(spread / value) if positively and math.isfinite(error) and spread / value < 700 else math.nan
        low, high = (value / factor, value * factor) if positively else (value - spread, value + spread)
        rows.append(
            {
                "name": name,
                "label": label,
                "unit": unit,
                "estimate": value,
                "se": error,
                "rse": 100 * error / abs(value) if value else math.nan,
                "ci_low": low,
                "ci_high": high,
                "cv": 100 * math.sqrt(math.expm1(value)) if variance and on in lognormal and value < 50 else math.nan,
                "shrinkage": 100 * shrinkage[by] if variance and by in shrinkage else math.nan,
                "fixed": bool(fixed) or all_fixed,
            }
        )
    return pd.DataFrame(rows)
