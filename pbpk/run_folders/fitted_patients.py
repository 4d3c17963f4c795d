"""New patients of a finished run's population: its Ω, its covariates, and if asked for the uncertainty of its estimates.

A patient's covariates, and columns that replace parameters, are those of one of the study's subjects, drawn with
replacement: so they go together as they do in the study. Parameters that change within a subject are those of its first
record, and what varies between occasions that of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.run_folders.fitted_vectors import check_uncertainty, draw_normal, draw_uniform, draw_vectors

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients
    from pbpk.uncertainty.finished_fit import FinishedFit


@dataclass(frozen=True, eq=False)
class FittedPatients:
    """`patients` of the fit's `model`; all θ and σ of each by name, (N,) coherent; `source` of the vectors in words. `names`
    are the parameters that the fit speaks of."""

    model: Model
    patients: Patients
    values: dict[str, Any]
    source: str
    names: tuple[str, ...]


def draw_fitted_patients(
    run: str | Path | FittedStudy | FinishedFit,
    fit: FittedStudy | FinishedFit,
    patients: int | None,
    seed: int,
    uncertainty: str = "none",
    values: Mapping[str, float | str] | None = None,
) -> FittedPatients:
    """Patients 1 to N, or one typical patient (η = 0, the covariates' usual values, the estimates) where `patients` is None.

    `values` replace estimates, constants of the model and covariates for all, in their own units. Raises `BadInput`, and
    `WrongUsage` for an uncertainty that is not known.
    """
    import jax
    import jax.numpy as jnp

    from pbpk.population.patients import Patients

    check_uncertainty(uncertainty)
    if patients is not None and patients < 1:
        raise BadInput(f"cannot draw {patients} patients", hint="ask for at least one")
    problem, model = fit.problem, fit.study.model
    individual, layout = problem.structure.individual_model, problem.structure.layout
    fixed = _sort_values(fit, values or {})
    ids = np.zeros(1, int) if patients is None else np.arange(1, patients + 1)
    vectors = draw_vectors(run, fit, ids, seed, uncertainty if patients is not None else "none")
    theta, omega, sigma = jax.vmap(problem.unpack)(jnp.asarray(vectors.psi))
    theta |= {n: jnp.full(len(ids), x) for n, x in fixed["theta"].items()}
    sigma |= {n: jnp.full(len(ids), x) for n, x in fixed["sigma"].items()}
    z = draw_normal(seed, ids, [f"eta of {n}" for n in layout.etas]) * (patients is not None)
    eta = jnp.einsum("nij,jn->in", jnp.linalg.cholesky(omega), jnp.asarray(z)) if len(z) else jnp.zeros((0, len(ids)))
    subject = None if patients is None else _choose_subjects(fit, ids, seed)
    table = _tabulate_covariates(fit, subject, len(ids), fixed["covariate"])
    if problem.structure.classes > 1:
        table[_class_covariate(fit)] = _draw_classes(fit, theta, ids, seed, typical=patients is None)
    if individual.occasion:
        table[individual.occasion] = 0.0
    x = jnp.asarray(table[list(individual.covariates)].to_numpy(float).T)
    u = individual.individual_parameters(theta, eta, x)
    overrides = np.full((1, len(individual.overrides), len(ids)), np.nan)
    if subject is not None:
        overrides = np.array(problem.overrides)[:1][:, :, subject]
        overrides[:, [name in fixed["constant"] for name in individual.overrides]] = np.nan  # what is set holds for all
    constants = _find_constants(fit, model.with_values(fixed["constant"]), table)
    p = individual.system_parameters(
        problem.structure.system, u, jnp.asarray(constants), x[None], jnp.asarray(overrides)
    )
    drawn = Patients(ids, np.asarray(p)[0], table.set_axis(ids))
    names = tuple(v.name for v in individual.varying)
    return FittedPatients(model, drawn, theta | sigma, vectors.source, names)


def _sort_values(fit: FittedStudy | FinishedFit, values: Mapping[str, float | str]) -> dict[str, dict[str, Any]]:
    """`values` by what they replace: "theta" and "sigma", coherent; "covariate", in the data's unit; "constant", as given.
    Raises `BadInput` for a name that is none of them."""
    layout, parameters = fit.problem.structure.layout, fit.study.model.parameters
    names = fit.study.problem.structure.layout.names
    individual = fit.problem.structure.individual_model
    covariates = {*individual.covariates, *parameters.covariates, *fit.study.events.covariates}
    kinds: dict[str, dict[str, Any]] = {k: {} for k in ("theta", "sigma", "covariate", "constant")}
    for name, value in values.items():
        if name in layout.names and not name.startswith("OMEGA_"):
            kind = "sigma" if name in layout.sigmas else "theta"
            place = names.index(name)
            kinds[kind][name] = _read_value(name, value, fit.study.units[place], float(fit.study.scale[place]))
        elif name in fit.study.events.categories:
            kinds["covariate"][name] = _find_category(name, value, fit.study.events.categories[name])
        elif name in covariates:
            unit = parameters.covariates[name].unit if name in parameters.covariates else "1"
            kinds["covariate"][name] = _read_value(name, value, unit, units.unit_factor(unit)) / units.unit_factor(unit)
        elif name in parameters:
            kinds["constant"][name] = value
        else:
            hint = did_you_mean(name, [*layout.names, *covariates, *parameters])
            raise BadInput(f"the fit has no parameter or covariate `{name}`", where=fit.study.name, hint=hint)
    return kinds


def _find_category(name: str, value: float | str, words: tuple[str, ...]) -> float:
    """The number of a category in the table. Raises `BadInput` for one that no subject has."""
    if str(value) not in words:
        raise BadInput(f"no subject of the study has the {name} `{value}`", hint=f"there are {', '.join(words[:8])}")
    return float(words.index(str(value)))


def _read_value(name: str, value: float | str, unit: str, factor: float) -> float:
    """A value in `unit`, of which one is `factor` coherent ones, or text with a unit; coherent."""
    from pbpk.model.parameters import read_number

    if not isinstance(value, str):
        return float(value) * factor
    try:
        number, text_unit = read_number(value)
    except ValueError:
        raise BadInput(f'"{value}" is not a number', where=f"`{name}`", hint=f"its unit is {unit}") from None
    return number * (units.require_dimension(text_unit, unit, f"the value given for `{name}`") if text_unit else factor)


def _choose_subjects(fit: FittedStudy | FinishedFit, ids: np.ndarray, seed: int) -> np.ndarray:
    """(N,): the subject of the study whose covariates each patient has."""
    count = fit.problem.subjects
    return np.minimum((draw_uniform(seed, ids, "subject") * count).astype(int), count - 1)


def _tabulate_covariates(
    fit: FittedStudy | FinishedFit, subject: np.ndarray | None, count: int, fixed: Mapping[str, float]
) -> pd.DataFrame:
    """Every covariate of the fit and of its model, a row for each patient: the chosen subjects', or without any the model's
    usual value or the study's median."""
    known, individual = fit.study.model.parameters.covariates, fit.problem.structure.individual_model
    names = dict.fromkeys([*known, *individual.covariates, *fit.study.events.covariates])
    first = fit.study.events.frame.groupby("ID", sort=False).first()
    columns = {}
    for name in names:
        if name in fixed:
            columns[name] = np.full(count, fixed[name])
        elif name not in first:
            columns[name] = np.full(count, known[name].value if name in known else 0.0)
        elif subject is not None:
            columns[name] = first[name].to_numpy(float)[subject]
        else:
            columns[name] = np.full(count, known[name].value if name in known else float(first[name].median()))
    return pd.DataFrame(columns, index=range(count))


def _class_covariate(fit: FittedStudy | FinishedFit) -> str:
    mixture = fit.study.spec.mixture
    assert mixture is not None
    return mixture.covariate


def _draw_classes(
    fit: FittedStudy | FinishedFit, theta: dict[str, Any], ids: np.ndarray, seed: int, *, typical: bool
) -> np.ndarray:
    """The class of each patient, from 1; the most probable of a typical one."""
    from pbpk.likelihood.mixture import class_probability_names

    shares = [np.asarray(theta[n]) for n in class_probability_names(fit.problem.structure.classes)]
    shares = np.stack([*shares, 1 - sum(shares)])
    if typical:
        return shares.argmax(axis=0) + 1.0
    return 1.0 + (draw_uniform(seed, ids, "class") >= np.cumsum(shares, axis=0)[:-1]).sum(axis=0)


def _find_constants(fit: FittedStudy | FinishedFit, model: Model, table: pd.DataFrame) -> np.ndarray:
    """The model's own values (1, m, N), with the effects of its table of those covariates that the study speaks of."""
    from pbpk.population.patients import apply_covariate_effects
    from pbpk.population.records import find_covariates_used

    spoken_of = find_covariates_used(model, fit.study.events) | set(fit.study.spec.values)
    values = np.repeat(model.values[:, None], len(table), axis=1)
    return apply_covariate_effects(model, values, table, spoken_of)[None]
