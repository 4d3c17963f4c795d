"""Draws from a posterior as a `Fit`: medians, standard deviations, quantile intervals in shown units, and what was assumed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pbpk.estimation.bayes.default_priors import AssumedPrior
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.parameter_layout import ParameterLayout
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

QUANTILES = (0.025, 0.05, 0.25, 0.75, 0.95, 0.975)
POSTERIOR = "posterior"  # the name of its covariance matrix in a result


@partial(jax.jit, static_argnames="layout")
def _convert_to_natural(layout: ParameterLayout, psi: jax.Array, initial: jax.Array) -> jax.Array:
    """Natural vectors (S, names) of draws ψ (S, P)."""
    return jax.vmap(lambda x: layout.to_natural(x, initial))(psi)


def convert_draws(study: Study, problem: Problem, psi: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The free natural parameters of draws (..., P), in shown units, and their names."""
    layout = problem.structure.layout
    free = np.flatnonzero(~layout.fixed_mask)
    flat = np.asarray(
        _convert_to_natural(layout, jnp.asarray(psi.reshape(-1, psi.shape[-1])), np.asarray(problem.initial))
    )
    values = flat[:, free] / np.asarray(study.scale)[free]
    return values.reshape(*psi.shape[:-1], len(free)), [layout.names[i] for i in free]


def describe_posterior(
    study: Study,
    problem: Problem,
    fit: Fit,
    psi: np.ndarray,
    more_columns: pd.DataFrame | None,
    assumed_priors: tuple[AssumedPrior, ...],
    extra: dict[str, Any],
    notes: list[str],
) -> Fit:
    """`fit` with estimates, errors and intervals from the draws `psi` (S, P), and posterior.csv beside it. `more_columns` of
    that table have a row for each free parameter; `extra` and `notes` are what else the method has to say."""
    values, names = convert_draws(study, problem, psi)
    median, sd = np.median(values, axis=0), values.std(axis=0, ddof=1)
    quantiles = np.quantile(values, QUANTILES, axis=0)
    unit = fit.parameters.set_index("name")["unit"]
    table = pd.DataFrame(
        {"name": names, "unit": [unit[n] for n in names], "mean": values.mean(axis=0), "median": median, "sd": sd}
    )
    table = table.assign(**{f"q{100 * p:g}": q for p, q in zip(QUANTILES, quantiles, strict=True)})
    if more_columns is not None:
        table = pd.concat([table, more_columns], axis=1)
    by_name = {n: float(x) for n, x in zip(names, median, strict=True)}
    errors = {n: float(x) for n, x in zip(names, sd, strict=True)}
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {
            n: {"estimate": float(np.log(values[:, i]).mean()), "se": float(np.log(values[:, i]).std(ddof=1))}
            for i, n in enumerate(names)
            if n in fit.log_estimates
        }
    assumed = {a.name: a.statement for a in assumed_priors}
    sources = {n: p.source for n, p in study.spec.priors.items()}
    priors = [f"Assumed prior of {n}: {w}." for n, w in assumed.items()]
    return replace(
        fit,
        estimates=fit.estimates | by_name,
        standard_errors={POSTERIOR: errors},
        printed_matrix=POSTERIOR,
        covariance=pd.DataFrame(np.atleast_2d(np.cov(values.T)), index=pd.Index(names), columns=pd.Index(names)),
        parameters=_replace_intervals(
            fit.parameters, problem, by_name, errors, dict(zip(names, quantiles[[0, -1]].T, strict=True))
        ),
        log_estimates=logs,
        extra={
            **fit.extra,
            "assumed": assumed,
            "priors": sources,
            "posterior": {
                row["name"]: {k: v for k, v in row.items() if k != "name"} for row in table.to_dict("records")
            },
            **extra,
            "notes": [*notes, *priors],
        },
        files={**fit.files, "posterior.csv": table},
    )


def _replace_intervals(
    parameters: pd.DataFrame,
    problem: Problem,
    estimates: dict[str, float],
    errors: dict[str, float],
    ends: dict[str, np.ndarray],
) -> pd.DataFrame:
    """The table of parameters with estimates, errors and intervals from the draws; a held parameter keeps its value."""
    rows = []
    for row, is_fixed in zip(parameters.to_dict("records"), problem.structure.layout.fixed_mask, strict=True):
        name = str(row["name"])
        if name in estimates:
            value, se = estimates[name], errors[name]
            row |= {"estimate": value, "se": se, "rse": 100 * se / abs(value) if value else np.nan}
            row |= {"ci_low": ends[name][0], "ci_high": ends[name][1]}
            if np.isfinite(row["cv"]):
                row["cv"] = 100 * np.sqrt(np.expm1(value)) if value < 50 else np.nan
        rows.append(row | {"fixed": bool(is_fixed)})
    return pd.DataFrame(rows, columns=parameters.columns)
