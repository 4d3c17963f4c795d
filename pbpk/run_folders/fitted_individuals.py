"""`pbpk.fitted_individuals`: the subjects of a finished fit as patients, for doses of those who were measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.run_folders.find import find_run
from pbpk.run_folders.fitted_kinetics import restore_model
from pbpk.run_folders.read import read_run
from pbpk.run_folders.reopen import reopen_fit

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.population.patients import Patients


def fitted_individuals(run: str | Path) -> tuple[Model, Patients]:
    """The fit's model, and its subjects in the order of patab.csv with the parameters at their random effects there.

    `simulate(model, regimen, times, patients=…)` takes them as it takes virtual patients. Their `covariates` have the `ID` of
    each; a covariate of the model that the data do not give has its usual value. Raises `BadInput` for what is no finished
    run, for a mixture, and where parameters change within a subject.
    """
    import jax.numpy as jnp

    from pbpk.population.patients import Patients

    folder = find_run(run)
    fit, table = reopen_fit(folder), read_run(folder).individual
    problem, individual = fit.problem, fit.problem.structure.individual_model
    etas = [f"ETA_{n}" for n in problem.structure.layout.etas]
    if problem.covariates.shape[0] > 1 or any("@" in n for n in etas):
        raise BadInput(
            "parameters change within a subject in this fit",
            where=str(folder),
            hint="doses are of one set of parameters",
        )
    if problem.structure.classes > 1:
        raise BadInput("a mixture's subjects have parameters by class", where=str(folder), hint="fit one population")
    theta, _, _ = problem.unpack(jnp.asarray(fit.psi))
    u = problem.individual_parameters(theta, jnp.asarray(table[etas].to_numpy(float).T))
    rest = (jnp.asarray(a) for a in (problem.constants, problem.covariates, problem.overrides))
    values = np.asarray(individual.system_parameters(problem.structure.system, u, *rest))[0]
    model, usual = restore_model(fit.study), fit.study.model.parameters.covariates
    recorded = dict(zip(individual.covariates, np.asarray(problem.covariates)[0], strict=True))
    covariates = table[["ID"]].assign(**{n: recorded.get(n, row.value) for n, row in usual.items()})
    covariates.index = pd.RangeIndex(1, len(table) + 1)
    return model, Patients(np.arange(1, len(table) + 1), values, covariates)
