"""Quantities that follow from the estimates, `t_half = log(2)*V/CL`, with what the estimates' uncertainty makes of them.

Twice: by the delta method, from the covariance and the quantity's slopes; and by working it out for every vector of a sample,
drawn from the covariance on ψ (whose vectors are all valid models) or kept by a bootstrap or by SIR. Where they disagree the
quantity is far from linear in the estimates, and the sample is the one to trust.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.uncertainty.expression import read_expression
from pbpk.uncertainty.expression_units import compile_with_units

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import FinishedFit

QuantityDefinition = str | Callable[[dict[str, float]], float]
COVARIANCE_DRAWS = 10_000


@dataclass(frozen=True, eq=False)
class DerivedOptions:
    """`quantities` by name: an expression, or a function of all parameters by name in shown units, whose result has no unit.
    Names in an expression are those of the fit, estimated or held, and of the model's other constants. `seed` of the sample
    drawn from the covariance; `level` of the intervals, a fraction."""

    quantities: Mapping[str, QuantityDefinition]
    seed: int = 1
    level: float = 0.95

    def check(self) -> None:
        """Raises `WrongUsage` where no quantity is asked for, or the level is no probability."""
        if not self.quantities:
            raise WrongUsage("no quantity is asked for", hint='--quantity "t_half=log(2)*V/CL"')
        if not 0 < self.level < 1:
            raise WrongUsage(f"a level of {self.level:g} is no probability", hint="0.95 is usual")


@dataclass(frozen=True, eq=False)
class ParameterSample:
    """Vectors of the free parameters (R, P) in shown units, and in words where they come from."""

    values: np.ndarray
    source: str


@dataclass(frozen=True, eq=False)
class DerivedResult:
    """`table`: a row for each quantity: name, expression, unit, estimate; se, ci_low, ci_high by the delta method; median,
    sample_se, sample_low, sample_high of the sample, of which `invalid` vectors gave no finite value."""

    study: str
    level: float
    source: str
    matrix: str
    table: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """The result as derived.json has it."""
        return {
            "study": self.study,
            "level": self.level,
            "matrix": self.matrix,
            "sample": self.source,
            "quantities": self.table.set_index("name").to_dict("index"),
        }


def derive_quantities(
    fit: FinishedFit, options: DerivedOptions, sample: ParameterSample | None = None
) -> DerivedResult:
    """The quantities with their uncertainty, by the delta method and from `sample`, or one of the covariance.

    Raises `WrongUsage` for the options, `BadInput` for an expression that cannot be worked out, and for a fit that has neither
    a covariance nor a sample.
    """
    options.check()
    if fit.covariance is None and sample is None:
        raise BadInput(
            "the fit has no covariance matrix",
            where=fit.study.name,
            hint="run pbpk bootstrap first: its sample will do",
        )
    sample = sample or draw_from_covariance(fit, options.seed)
    names = ExpressionNames.from_fit(fit)
    rows = [
        _evaluate_quantity(fit, names, name, quantity, sample, options.level)
        for name, quantity in options.quantities.items()
    ]
    return DerivedResult(fit.study.name, options.level, sample.source, fit.matrix, pd.DataFrame(rows))


def draw_from_covariance(fit: FinishedFit, seed: int, count: int = COVARIANCE_DRAWS) -> ParameterSample:
    """Vectors drawn from the covariance on ψ, whose vectors are all valid models. Raises `BadInput` where a parameter is on
    its edge."""
    covariance = fit.psi_covariance
    if covariance is None:
        raise BadInput(
            "no vectors can be drawn from this fit's covariance: a parameter is on its edge",
            where=fit.study.name,
            hint="run pbpk bootstrap first: its sample will do",
        )
    z = np.random.default_rng(seed).standard_normal((count, len(fit.psi)))
    psis = fit.psi + z @ np.linalg.cholesky(covariance).T
    return ParameterSample(
        np.array([fit.to_shown_units(x) for x in psis]), f"{count} vectors drawn from the covariance ({fit.matrix})"
    )


@dataclass(frozen=True, eq=False)
class ExpressionNames:
    """Every number that an expression may use: its unit, the size of that in coherent ones (`scale`), its value in that unit
    where the fit does not estimate it (`constants`)."""

    units: dict[str, str]
    scale: dict[str, float]
    constants: dict[str, float]

    @classmethod
    def from_fit(cls, fit: FinishedFit) -> ExpressionNames:
        """The model's constants, replaced by the fit's where it has them; without those that the data give by subject."""
        from pbpk import units

        overridden = set(fit.problem.structure.individual_model.overrides)
        model = {n: p for n, p in fit.study.model.parameters.items() if n not in overridden}
        unit = {n: p.unit for n, p in model.items()}
        scale = {n: units.unit_factor(u) for n, u in unit.items()}
        constants = {n: p.internal / scale[n] for n, p in model.items()}
        names, fixed_mask = fit.layout.names, fit.layout.fixed_mask
        study_names = fit.study.problem.structure.layout.names
        initial = np.asarray(fit.problem.initial)
        for k, (name, fixed) in enumerate(zip(names, fixed_mask, strict=True)):
            at = study_names.index(name)
            unit[name], scale[name] = fit.study.units[at], float(fit.study.scale[at])
            constants.pop(name, None)
            if fixed:
                constants[name] = float(initial[k] / scale[name])
        return cls(unit, scale, constants)


def _evaluate_quantity(
    fit: FinishedFit,
    names: ExpressionNames,
    name: str,
    quantity: QuantityDefinition,
    sample: ParameterSample,
    level: float,
) -> dict[str, Any]:
    """The row of one quantity. Raises `BadInput` where it has no finite value at the estimates or in the sample."""
    function, text, unit = _compile_quantity(fit, names, name, quantity)
    estimates = fit.estimates
    estimate = function(estimates)
    if not math.isfinite(estimate):
        raise BadInput(f"`{name}` is {estimate} at the estimates", where=fit.study.name)
    drawn = np.array([function(row) for row in sample.values])
    finite = drawn[np.isfinite(drawn)]
    if len(finite) < 2:
        raise BadInput(f"`{name}` has a finite value for {len(finite)} of {len(drawn)} vectors", where=fit.study.name)
    tail = (1 - level) / 2
    low, median, high = np.quantile(finite, [tail, 0.5, 1 - tail])
    se = _compute_delta_error(fit, function, estimates)
    ends = _compute_delta_interval(estimate, se, level, by_logarithm=estimate > 0 and bool((finite > 0).all()))
    return {
        "name": name,
        "expression": text,
        "unit": unit,
        "estimate": estimate,
        "se": se,
        "rse": 100 * se / abs(estimate) if estimate else math.nan,
        "ci_low": ends[0],
        "ci_high": ends[1],
        "median": float(median),
        "sample_se": float(finite.std(ddof=1)),
        "sample_low": float(low),
        "sample_high": float(high),
        "invalid": len(drawn) - len(finite),
    }


def _compile_quantity(
    fit: FinishedFit, names: ExpressionNames, name: str, quantity: QuantityDefinition
) -> tuple[Callable[[np.ndarray], float], str, str]:
    """A quantity as a function of the free parameters (P,) in shown units, NaN where arithmetic fails; its text; its unit."""
    if callable(quantity):
        evaluate, text, unit = quantity, getattr(quantity, "__name__", "function"), ""
        sizes = dict.fromkeys(names.scale, 1.0)
        used = list(names.scale)
    else:
        expression = read_expression(quantity)
        for used_name in expression.names:
            if used_name not in names.scale:
                hint = did_you_mean(used_name, names.scale)
                raise BadInput(f"`{name}`: no parameter `{used_name}`", where=fit.study.name, hint=hint)
        at_estimates = names.constants | dict(zip(fit.names, map(float, fit.estimates), strict=True))
        evaluate, unit = compile_with_units(expression, at_estimates, names.units)
        text, used, sizes = expression.text, list(expression.names), names.scale
    constants = {n: names.constants[n] * sizes[n] for n in used if n in names.constants}
    free = [(k, n, sizes[n]) for k, n in enumerate(fit.names) if n in used]

    def function(row: np.ndarray) -> float:
        values = constants | {n: float(row[k]) * size for k, n, size in free}
        try:
            value = evaluate(values)
            return math.nan if isinstance(value, complex) else float(value)
        except (ArithmeticError, ValueError):
            return math.nan

    return function, text, unit


def _compute_delta_error(fit: FinishedFit, function: Callable[[np.ndarray], float], estimates: np.ndarray) -> float:
    """The standard error √(g'Cg), slopes g by central differences over a thousandth of each parameter's standard error."""
    if fit.covariance is None:
        return math.nan
    covariance = fit.covariance / np.outer(fit.scale, fit.scale)
    slopes = np.zeros(len(estimates))
    for k, size in enumerate(1e-3 * np.sqrt(np.diag(covariance))):
        step = np.zeros(len(estimates))
        step[k] = size
        if size > 0:
            slopes[k] = (function(estimates + step) - function(estimates - step)) / (2 * size)
    return float(np.sqrt(slopes @ covariance @ slopes))


def _compute_delta_interval(estimate: float, se: float, level: float, by_logarithm: bool) -> tuple[float, float]:
    """Both ends of the delta method's interval; by the logarithm for what is positive in every vector of the sample, as a fit's
    table has it for its parameters."""
    from scipy.special import ndtri

    if not math.isfinite(se):
        return math.nan, math.nan
    wide = float(ndtri((1 + level) / 2)) * se
    if not by_logarithm:
        return estimate - wide, estimate + wide
    factor = math.exp(min(wide / estimate, 700.0))
    return estimate / factor, estimate * factor
